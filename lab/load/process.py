"""A DriveJob's process: starts it, gives its lines as they come, tells it when to begin, stops it."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import registry, rundir, spawn
from lab.errors import MachineError
from lab.load.job import DriveJob, Line
from lab.runtime import clock
from lab.runtime.clock import ClockReading

GRACE_S = 5.0  # to keep its samples after it was told to stop


class DriverProcess:
    """Ends when this process does, however that ends. `log` gets what it prints; the job stands beside it."""

    def __init__(self, job: DriveJob, log: Path, record: spawn.Record | None = None) -> None:
        told = log.with_suffix(".json")
        rundir.write(told, rundir.encode(job))
        self._reading, theirs = os.pipe()
        hearing, self._telling = os.pipe()
        try:
            command = spawn.Command(
                argv=(sys.executable, "-m", "lab.load.locustfile", str(told), str(theirs), str(hearing)),
                service="driver",
                log=log,
                env={registry.PROJECT_VARIABLE: str(registry.project())},
                cpus=job.cpus,
                pass_fds=(theirs, hearing),
                stop_signal=signal.SIGINT,
            )
            self._process = spawn.start(command, record)
        except BaseException:
            os.close(self._reading)
            os.close(self._telling)
            raise
        finally:
            os.close(theirs)
            os.close(hearing)
        self._rest = b""
        self._stopped = False

    def poll(self, patience_s: float) -> Sequence[Line]:
        """New lines, as soon as there are some; none after so many seconds. MachineError with its last words when it has died."""
        if not select.select([self._reading], [], [], max(0.0, patience_s))[0]:
            return ()
        data = os.read(self._reading, 65536)
        if not data:
            self._process.wait(GRACE_S)
            raise MachineError(f"the load driver died: {self.last_words()}", "samples so far are kept; `lab run --resume RUN` goes on")
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [rundir.decode(line, Line, "what the driver says") for line in whole]

    def begin(self, at_s: float) -> None:
        """All have said that they are ready: windows begin at that moment of this machine's clock."""
        try:
            os.write(self._telling, b"%r\n" % at_s)
        except BrokenPipeError as error:
            raise MachineError(f"the load driver died: {self.last_words()}", "samples so far are kept") from error

    def read_clock(self) -> ClockReading:
        return clock.read()

    def last_words(self) -> str:
        return self._process.failure()

    def end(self) -> None:
        """It keeps its samples, then is gone; twice is fine."""
        if not self._stopped:
            self._stopped = True
            self._process.stop(GRACE_S)
            os.close(self._reading)
            os.close(self._telling)
