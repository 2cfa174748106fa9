"""A probe in a process of its own (`python -m lab.noise.probe wake|sleep|loop|step SECONDS [CPU ...]`): times it, prints JSON.

On its own so that neither progress nor other threads of the command are what it measures."""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import msgspec

from lab.noise.readings import Times

WORK = range(1000)  # about 20 microseconds: shorter than any slice of the scheduler
LEAST_S, MOST_S = 0.001, 0.005  # between two wake-ups: as between arrivals of a driver at a few hundred per second
now = time.monotonic


def wake(seconds: float) -> Times:
    """How late the driver's own clock is."""
    from lab.load.transport import Clock

    return _late(Clock().until, seconds)


def sleep(seconds: float) -> Times:
    """How late clock_nanosleep is, which time.sleep calls."""
    return _late(lambda at_s: time.sleep(max(0.0, at_s - now())), seconds)


def _late(until: Callable[[float], None], seconds: float) -> Times:
    """The waits differ, or they would keep step with something periodic and see all of it or nothing."""
    waits, end_s = random.Random(1), now() + seconds
    late: list[float] = []
    while (at_s := now() + waits.uniform(LEAST_S, MOST_S)) < end_s or not late:
        until(at_s)
        late.append(now() - at_s)
    return Times.of(late)


def loop(seconds: float) -> Times:
    """One piece of work after the other; a pause in between counts to the piece that it follows."""
    marks = [time.perf_counter()]
    end_s = marks[0] + seconds
    while marks[-1] < end_s:
        for _ in WORK:
            pass
        marks.append(time.perf_counter())
    return Times.of([b - a for a, b in pairwise(marks)])


def step(seconds: float) -> Times:
    """The steps in which the clock goes on."""
    steps, end_s, last = [], now() + seconds, now()
    while last < end_s:
        at_s = now()
        if at_s != last:
            steps.append(at_s - last)
            last = at_s
    return Times.of(steps)


PROBES: dict[str, Callable[[float], Times]] = {"wake": wake, "sleep": sleep, "loop": loop, "step": step}


def main(argv: list[str]) -> int:
    name, seconds, cpus = argv[0], float(argv[1]), [int(cpu) for cpu in argv[2:]]
    if cpus:
        os.sched_setaffinity(0, cpus)
    gc.collect()
    gc.disable()
    sys.stdout.write(msgspec.json.encode(PROBES[name](seconds)).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
