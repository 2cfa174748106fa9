"""The windows of a search: each asks for the rate that those before it lead to, and begins when the queue they left has drained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Protocol

import gevent
import numpy as np

from lab.analysis import search
from lab.contracts import Workload
from lab.load import schedule, shots
from lab.load.closed import Sender
from lab.load.job import RECOVER_S, DriveJob, Window
from lab.load.shots import Shot
from lab.load.start import LEAD_S
from lab.load.transport import Connections
from lab.load.watch import Watch
from lab.model import Probe, Sample

CALM = 3  # answers in a row, each within the SLO's limit, after which a queue has drained
PAUSE_S = 0.1  # between them
now = time.monotonic


class Prober(Sender, Protocol):
    """`heard`: samples of windows, as they come."""

    job: DriveJob
    workload: Workload
    connections: Connections
    sequence: Iterator[int]
    heard: list[Sample]

    def enter_drain(self) -> None: ...
    def launch(self, shot: Shot, begin_s: float, number: int) -> None: ...


def windows(prober: Prober, watch: Watch) -> tuple[tuple[Window, ...], tuple[Probe, ...]]:
    """One window and one probe for each rate. `watch` was just made."""
    asked = prober.load.search
    assert asked is not None
    made: list[Window] = []
    probes: list[Probe] = []
    sent = 0
    while (rate := search.next_rate(asked, probes)) is not None:
        step = len(probes)
        arrivals = schedule.probe(prober.load, prober.workload.operations, prober.job.seed, step, rate, sent)
        window = _window(prober, arrivals, step, rate, watch)
        probe = _judged(prober, step, rate, window)
        sent += len(arrivals)
        made.append(window)
        probes.append(probe if probe.verdict == "passed" else replace(probe, recovered=_recovers(prober, asked.limit_ms, sent)))
        sent += 1000  # payloads that waiting for the queue may have used
    return tuple(made), tuple(probes)


def _window(prober: Prober, arrivals: schedule.Arrivals, step: int, rate: float, watch: Watch) -> Window:
    """Returns when all its requests have ended, each by its own time-out at the latest."""
    loaded = shots.load("window", arrivals, prober.workload, prober.job.seed, prober.connections.address)
    prober.enter_window(step, len(loaded), rate)
    prober.heard.clear()
    begin_s = now() + LEAD_S
    watch.window(step, 0.0, 0.0)  # what was used between windows belongs to none
    for shot in loaded:
        prober.launch(shot, begin_s, next(prober.sequence))
    prober.clock.until(begin_s + prober.load.window_s)
    start_s = begin_s - prober.origin_s
    window = watch.window(step, start_s, start_s + prober.load.window_s)
    prober.flights.join()
    return window


def _judged(prober: Prober, step: int, rate: float, window: Window) -> Probe:
    """Wrong answers are left out of the latencies, as everywhere; how many they are is the cell's own rule."""
    asked, headline = prober.load.search, {o.name for o in prober.workload.operations if o.headline}
    assert asked is not None
    heard = sorted(prober.heard, key=lambda s: s.intended_s)
    timed = [_latency_ms(s, prober.load.timeout_s) for s in heard if s.operation in headline and not (s.ok and s.correct is False)]
    return search.judge(
        asked,
        step=step,
        rate_per_s=rate,
        latency_ms=np.asarray(timed),
        failed=sum(not s.ok for s in heard),
        offered=len(heard),
        lag_ms=np.asarray([1e3 * (s.sent_s - s.intended_s) for s in heard if s.sent_s is not None]),
        driver_share=window.driver_share,
    )


def _latency_ms(sample: Sample, timeout_s: float) -> float:
    """As lab.analysis.samples.Samples.latency_ms has it."""
    took_s = timeout_s if sample.done_s is None else sample.done_s - sample.intended_s
    return 1e3 * (took_s if sample.ok else max(took_s, timeout_s))


def _recovers(prober: Prober, limit_ms: float, before: int) -> bool:
    """Whether the service answers single requests in time again, some in a row. What timed out may still be in its queue."""
    prober.enter_drain()
    first = next((o for o in prober.workload.operations if o.headline), prober.workload.operations[0])
    deadline, calm = now() + RECOVER_S, 0
    for index in count(before):
        sample = prober.send(_single(prober, first.name, index), next(prober.sequence))
        calm = calm + 1 if sample.ok and _latency_ms(sample, prober.load.timeout_s) <= limit_ms else 0
        if calm == CALM:
            return True
        if now() >= deadline:
            return False
        gevent.sleep(PAUSE_S)
    raise AssertionError("count() has no end")


def _single(prober: Prober, operation: str, index: int) -> Shot:
    request = prober.workload.payload(prober.job.seed, index, operation)
    return shots.single("drain", request, prober.connections.address)
