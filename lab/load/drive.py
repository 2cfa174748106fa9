"""Runs one DriveJob on this machine, in one process or several, on the driver's CPUs; gives progress and, at its end, the DriverRecord."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lab import spawn
from lab.load import merge
from lab.load.conduct import conduct
from lab.load.job import RECOVER_S, DriveJob, DriverRecord, Progress
from lab.load.process import DriverProcess

PATIENCE_S = 120.0  # for start, payloads and preload, which no ladder bounds
PAYLOADS_S = 30.0  # to make those of one probe
CONTROL_S = 65.0  # for functions to go to zero, or to fill


def longest_s(job: DriveJob) -> float:
    """After that long something hangs that has time-outs of its own."""
    load = job.load
    cold_s = load.cold_requests * (CONTROL_S + load.timeout_s) + CONTROL_S if job.control_url else 0.0
    between_s = (1 + load.search.most_halvings) * RECOVER_S + load.search.most_probes * PAYLOADS_S if load.search else 0.0
    closed_s = load.timeout_s if load.closed else 0.0
    return PATIENCE_S + cold_s + load.warmup_max_s + load.windows_s + between_s + closed_s + load.drain_s


def drive(
    job: DriveJob,
    on_progress: Callable[[Progress], None] = lambda _: None,
    *,
    log: Path,
    on_begin: Callable[[float], None] = lambda _: None,
    record: spawn.Record | None = None,
    deadline_s: float | None = None,
    drivers: int = 1,
) -> DriverRecord:
    """`log` gets what the process prints; the job stands beside it. `deadline_s` is for all of it, `longest_s` if not given.
    `on_begin`: as conduct has it.

    Raises what went wrong in the process; MachineError with its last lines when it died or hung. Whatever ends it, ctrl-C and kill -9
    included, samples so far are in `job.stream` and no process is left. Of several drivers each has a stream of its own
    (`part`) until all have ended."""
    deadline = time.monotonic() + (longest_s(job) if deadline_s is None else deadline_s)
    parts = [part(Path(job.stream), index) for index in range(drivers)]
    with contextlib.ExitStack() as stack:
        started = []
        for index, stream in enumerate(parts):
            mine = replace(job, stream=str(stream), share=(index, drivers))
            driver = DriverProcess(mine, part(log, index), record)
            stack.callback(driver.end)
            started.append(driver)
        records, offsets = conduct(started, on_progress, deadline, on_begin)
    return records[0] if drivers == 1 else merge.merge(records, offsets, parts, Path(job.stream))


def part(path: Path, index: int) -> Path:
    """The first driver's files have the plain names: samples.arrows, samples-1.arrows ..."""
    return path.with_name(f"{path.stem}-{index}{path.suffix}") if index else path
