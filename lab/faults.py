"""Breaks a deployment at the planned moments of its windows: takes timed faults and when the windows begin, gives injections and events."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from lab import rundir, spawn
from lab.contracts import Provider
from lab.errors import LabError
from lab.model import Event, TimedFault
from lab.model.measure import MONOTONIC
from lab.rundir import CellDir

# Ends by itself, and with whoever started it.
BUSY = """
import os, sys, time
parent, until = os.getppid(), time.monotonic() + float(sys.argv[1])
while time.monotonic() < until and os.getppid() == parent:
    pass
"""


@dataclass(frozen=True, kw_only=True)
class Breaking:
    """What the faults of one deployment need. Neighbours' events go to `folder`; the provider tells of what it breaks."""

    provider: Provider
    deployment: str
    folder: CellDir
    record: spawn.Record
    system_cpus: tuple[int, ...]

    def act(self, fault: TimedFault, over: threading.Event) -> None:
        """A fault that cannot be made is told, and the load goes on: the analysis says that the experiment is not the planned one."""
        if fault.fault != "neighbour":
            try:
                self.provider.inject(self.deployment, fault.service, fault.fault, fault.for_s)
            except LabError as error:
                self._tell(fault, "failed", {"error": error.what})
            return
        argv = (sys.executable, "-I", "-S", "-c", BUSY, repr(fault.for_s))
        log = self.folder.logs / "neighbour.log"
        neighbour = spawn.start(spawn.Command(argv=argv, service="neighbour", log=log, cpus=self.system_cpus), self.record)
        try:
            self._tell(fault, "begin")
            over.wait(fault.for_s)
        finally:
            neighbour.stop(grace_s=0)
            self._tell(fault, "end")

    def _tell(self, fault: TimedFault, phase: str, more: Mapping[str, str] = MappingProxyType({})) -> None:
        values = {"fault": fault.fault, "phase": phase, **more}
        event = Event(at_s=time.monotonic(), clock=MONOTONIC, kind="fault", service=fault.service, values=values)
        rundir.append(self.folder.events, msgspec.json.encode(event) + b"\n")


@contextmanager
def timed(faults: tuple[TimedFault, ...], windows_s: float, breaking: Breaking) -> Iterator[Callable[[float], None]]:
    """Gives what wants to be told, once, at which time.monotonic the windows begin. When the body has ended no further fault begins; those
    that last are ended by who made them."""
    begin: Future[float] = Future()
    over = threading.Event()

    def follow(fault: TimedFault) -> None:
        begin_s = begin.result()
        for moment_s in fault.moments(windows_s):
            if over.wait(max(0.0, begin_s + moment_s - time.monotonic())):
                return
            breaking.act(fault, over)

    with ThreadPoolExecutor(max(1, len(faults)), thread_name_prefix="fault") as pool:
        following = [pool.submit(follow, fault) for fault in faults]
        try:
            yield lambda at_s: None if begin.done() else begin.set_result(at_s)
        finally:
            over.set()
            if not begin.done():  # the windows were never reached
                begin.set_result(time.monotonic())
    for each in following:
        each.result()
