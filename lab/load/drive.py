"""Runs one DriveJob in a process of its own, on the driver's CPUs; gives progress while it runs and the DriverRecord when it has ended."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import registry, rundir, spawn
from lab.errors import InputError, LabError, MachineError
from lab.load.job import DriveJob, DriverRecord, Failure, Line, Progress

PATIENCE_S = 120.0  # for start, payloads and preload, which no ladder bounds
CONTROL_S = 65.0  # for functions to go to zero, or to fill
GRACE_S = 5.0  # to keep its samples after it was told to stop


def longest_s(job: DriveJob) -> float:
    """After that long something hangs that has time-outs of its own."""
    load = job.load
    cold_s = load.cold_requests * (CONTROL_S + load.timeout_s) + CONTROL_S if job.control_url else 0.0
    return PATIENCE_S + cold_s + load.warmup_max_s + len(load.rates_per_s) * load.window_s + load.drain_s


def drive(
    job: DriveJob,
    on_progress: Callable[[Progress], None] = lambda _: None,
    *,
    log: Path,
    record: spawn.Record | None = None,
    deadline_s: float | None = None,
) -> DriverRecord:
    """`log` gets what the process prints; the job stands beside it. `deadline_s` is for all of it, `longest_s` if not given.

    Raises what went wrong in the process; MachineError with its last lines when it died or hung. Whatever ends it, ctrl-C and kill -9
    included, samples so far are in `job.stream` and no process is left."""
    deadline = time.monotonic() + (longest_s(job) if deadline_s is None else deadline_s)
    told = log.with_suffix(".json")
    rundir.write(told, rundir.encode(job))
    reading, writing = os.pipe()
    try:
        command = spawn.Command(
            argv=(sys.executable, "-m", "lab.load.locustfile", str(told), str(writing)),
            service="driver",
            log=log,
            env={registry.PROJECT_VARIABLE: str(registry.project())},
            cpus=job.cpus,
            pass_fds=(writing,),
            stop_signal=signal.SIGINT,
        )
        process = spawn.start(command, record)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        return _follow(reading, process, on_progress, deadline)
    finally:
        process.stop(GRACE_S)
        os.close(reading)


def _follow(pipe: int, process: spawn.Process, on_progress: Callable[[Progress], None], deadline: float) -> DriverRecord:
    for line in _lines(pipe, deadline):
        if line.progress is not None:
            on_progress(line.progress)
        elif line.failure is not None:
            raise _error(line.failure)
        elif line.record is not None:
            process.wait(GRACE_S)
            return line.record
    if time.monotonic() >= deadline:
        raise MachineError(f"the driver did not end in time: {process.failure()}", "the machine is overloaded, or a payload or check hangs")
    process.wait(GRACE_S)
    raise MachineError(f"the load driver died: {process.failure()}", "samples so far are kept; `lab run --resume RUN` goes on")


def _lines(pipe: int, deadline: float) -> Iterator[Line]:
    """Until the other end is closed, or the deadline."""
    rest = b""
    while (left_s := deadline - time.monotonic()) > 0:
        if not select.select([pipe], [], [], left_s)[0]:
            return
        data = os.read(pipe, 65536)
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from (rundir.decode(line, Line, "what the driver says") for line in whole)


def _error(failure: Failure) -> LabError:
    kind = InputError if failure.kind == "input" else MachineError
    return kind(failure.what, failure.hint)
