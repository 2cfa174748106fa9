"""Runs one DriveJob in Jobs of a provider, several on one schedule if asked; gives progress, samples and, at its end, the DriverRecord."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from lab import rundir
from lab.contracts import Job, JobRunner, RunningJob
from lab.errors import LabError, MachineError
from lab.load import merge
from lab.load.conduct import conduct
from lab.load.drive import longest_s, part
from lab.load.job import CHUNK, JOB_FILE, JOB_STREAM, DriveJob, DriverRecord, Line, Progress, Told
from lab.model import Topology
from lab.runtime.clock import ClockReading

MODULE = "lab.load.inside"
START_S = 30.0  # beyond what the load may take, so that it is we who end it
TRIES = 3
CPUS, MEMORY_MIB = 1.0, 1024


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where drivers run: `name` begins the names of the Jobs. `served`: drive the fake provider in the Job itself, the floor of a driver
    there."""

    runner: JobRunner
    name: str
    served: Topology | None = None


def drive_inside(
    place: Place,
    job: DriveJob,
    on_progress: Callable[[Progress], None] = lambda _: None,
    *,
    log: Path,
    on_begin: Callable[[float], None] = lambda _: None,
    deadline_s: float | None = None,
    drivers: int = 1,
) -> DriverRecord:
    """As lab.load.drive.drive: samples come here while they are made, so that those so far are in `job.stream` (and its parts) whatever
    ends it; no Job is left. `origin_s` and all samples are on this machine's clock, within the record's `clocks`."""
    deadline = time.monotonic() + START_S + (longest_s(job) if deadline_s is None else deadline_s)
    parts = [part(Path(job.stream), index) for index in range(drivers)]
    shares = [replace(job, stream=JOB_STREAM, cpus=(), share=(index, drivers)) for index in range(drivers)]
    with _running(place, shares, deadline - time.monotonic() + START_S) as running:
        far = [RemoteDriver(each, stream, part(log, index)) for index, (each, stream) in enumerate(zip(running, parts, strict=True))]
        with contextlib.ExitStack() as stack:
            for driver in far:
                stack.callback(driver.end)
            for driver in far:
                driver.start()
            began_s, used_s = time.monotonic(), time.process_time()
            records, offsets = conduct(far, on_progress, deadline, on_begin)
            here_share = (time.process_time() - used_s) / (time.monotonic() - began_s)
    together = merge.merge(records, offsets, parts, Path(job.stream))
    return _with_us(together, here_share) if all(o.error_s == 0 for o in offsets) else together


def _with_us(record: DriverRecord, share: float) -> DriverRecord:
    """What this process used, where drivers run on the same machine and see it among the rest that is busy."""
    return replace(record, windows=tuple(replace(w, parent_share=w.parent_share + share) for w in record.windows))


@contextlib.contextmanager
def _running(place: Place, shares: Sequence[DriveJob], deadline_s: float) -> Iterator[list[RunningJob]]:
    """All ready, or none left."""

    def start(index: int, share: DriveJob) -> RunningJob:
        told = Told(job=share, deadline_s=deadline_s, served=place.served)
        return place.runner.run_job(
            Job(
                name=f"{place.name}-{index}",
                module=MODULE,
                files={JOB_FILE: rundir.encode(told)},
                port=told.port,
                deadline_s=deadline_s,
                image="driver",
                cpus=CPUS,
                memory_mib=MEMORY_MIB,
            )
        )

    starting: list[Future[RunningJob]] = []
    try:
        with ThreadPoolExecutor(len(shares), thread_name_prefix="driver") as pool:
            for index, share in enumerate(shares):
                starting.append(pool.submit(start, index, share))
        yield [each.result() for each in starting]
    finally:
        with contextlib.ExitStack() as ending:
            for each in starting:
                if each.exception() is None:
                    ending.callback(each.result().end)


class RemoteDriver:
    """A driver behind a RunningJob; what it has recorded grows in `stream`, its last words are in `log`."""

    def __init__(self, job: RunningJob, stream: Path, log: Path) -> None:
        self._job, self._stream, self._log = job, stream, log
        self._lines = self._bytes = 0
        self._ended = False
        stream.unlink(missing_ok=True)

    def start(self) -> None:
        self._job.call("POST", "/start")

    def poll(self, patience_s: float) -> Sequence[Line]:
        """What it has said since, after that long; its samples come here first."""
        time.sleep(patience_s)
        said = self._ask("GET", f"/lines?from={self._lines}").splitlines()
        self._fetch()
        self._lines += len(said)
        return [rundir.decode(line, Line, "what the driver says") for line in said]

    def begin(self, at_s: float) -> None:
        self._ask("POST", "/begin", repr(at_s).encode())

    def read_clock(self) -> ClockReading:
        return rundir.decode(self._ask("GET", "/clock"), ClockReading, "the driver's clock")

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Only what may be asked twice: the way to a Job is long, and one call that fails does not end a cell. MachineError with its last
        words when it is gone."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(MachineError):
                return self._job.call(method, path, body)
        try:
            return self._job.call(method, path, body)
        except MachineError as error:
            raise MachineError(f"the load driver died: {error.what}", "samples so far are kept; `lab run --resume RUN` goes on") from error

    def last_words(self) -> str:
        return "\n  ".join(["its last lines:", *list(self._job.logs())[-12:]])

    def end(self) -> None:
        """Its load stops, and what it had measured by then comes here, unless it is gone; twice is fine."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(LabError):
            self._job.call("POST", "/stop")
            self._fetch()
        with contextlib.suppress(LabError):
            rundir.write(self._log, "\n".join(self._job.logs()).encode())
        with contextlib.suppress(LabError):
            self._job.call("POST", "/end")

    def _fetch(self) -> None:
        whole = True
        while whole:
            data = self._ask("GET", f"/samples?from={self._bytes}")
            rundir.append(self._stream, data)
            self._bytes += len(data)
            whole = len(data) == CHUNK
