"""One deployment of the user's service: from its start command to a port that answers, with what it uses and how it ends."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from pathlib import Path

from lab import listening, shell, spawn
from lab.errors import MachineError
from lab.model import Event, ServicePlan, Usage
from lab.ports import LOOPBACK, free
from lab.runtime.consumption import Ledger
from lab.spawn import Process, Record

SERVICE = "service"  # what its usage and events are called
ASK_S = 5.0


class Serving:
    """`side` names it in messages. `record` has a LAB_ID of this deployment alone, by which also what left the tree is found."""

    def __init__(self, *, plan: ServicePlan, side: str, folder: Path, log: Path, record: Record, cpus: tuple[int, ...]) -> None:
        self.events: list[Event] = []
        self._plan, self._folder, self._log, self._record, self._cpus = plan, folder, log, record, cpus
        self._title = f"service @{side}" if side else SERVICE
        self._process: Process | None = None
        self._stopping = False
        self._ledger = Ledger(lambda: self._process.tree() if self._process else [])

    def start(self) -> tuple[str, float]:
        """Its URL, and the seconds until it was ready. Raises MachineError with its last lines; the caller stops it."""
        began = time.monotonic()
        port = listening.again_if_taken(self._start)
        self._tell("ready", {"instance": 1, "ready_s": time.monotonic() - began})
        return f"http://{LOOPBACK}:{port}", time.monotonic() - began

    def _start(self) -> int:
        """Ready on a port that is its own."""
        self._end(grace_s=0)
        (port,) = free(1)
        command = shell.command(
            self._plan.start.replace("{port}", str(port)),
            service=self._title,
            log=self._log,
            cwd=self._folder,
            env={**self._plan.env, "PORT": str(port)},
            cpus=self._cpus,
        )
        self._stopping = False
        self._process = process = spawn.start(command, self._record, self._ended)
        self._says = "nothing answers"
        deadline = time.monotonic() + self._plan.timeout_s
        what = f"{self._title} (GET {self._plan.ready} on port {port})"
        try:
            listening.until(lambda: self._answers(port), process, deadline, what, "service.timeout_s")
        except listening.PortTaken:
            raise
        except MachineError as error:
            raise MachineError(f"{error.what}\n  GET {self._plan.ready}: {self._says}", error.hint) from error
        listening.confirm(process, [port])
        return port

    def _answers(self, port: int) -> bool | None:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=min(ASK_S, self._plan.timeout_s))
        try:
            connection.request("GET", self._plan.ready)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            self._says = str(error) or type(error).__name__
            return None
        finally:
            connection.close()
        self._says = f"status {status}, wanted 2xx"
        return True if 200 <= status < 300 else None

    def stop(self, grace_s: float) -> None:
        self._end(grace_s)
        self._tell("retired", {})

    def _end(self, grace_s: float) -> None:
        """The whole tree is asked to end: a shell passes no signal on. What has left the tree is ended by its tag."""
        self._stopping = True
        if self._process is not None:
            spawn.end([*self._process.tree(), *spawn.tagged(self._record.lab_id)], grace_s)
            self._process.stop(grace_s)

    def usage(self) -> Usage:
        used = self._ledger.read()
        return Usage(
            at_s=time.monotonic(),
            service=SERVICE,
            tier="architecture",
            instances=int(self._process is not None and self._process.alive),
            cpu_s=used.cpu_s,
            memory_mib=used.memory_mib,
            bytes_read=used.bytes_read,
            bytes_written=used.bytes_written,
        )

    def _ended(self, process: Process) -> None:
        if not self._stopping:
            self._tell("crash", {"instance": 1, "exit": process.returncode})

    def _tell(self, kind: str, values: Mapping[str, str | int | float | None]) -> None:
        self.events.append(Event(at_s=time.monotonic(), clock="monotonic", kind=kind, service=SERVICE, values=values))
