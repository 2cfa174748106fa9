"""One process of a service: from its configuration to a ready instance with its URL and start phases."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from lab.errors import MachineError
from lab.providers.embedded.ports import LOOPBACK
from lab.rundir import encode, write_secret
from lab.runtime.config import ServiceConfig
from lab.spawn import Command, Process, Record, start

BACKLOG = 2048
# One thread per process in every numerical library: instances share the architecture's cores, and equal budgets must stay equal.
ENVIRONMENT: Mapping[str, str | None] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": None,  # else every cold start would compile every module
}

TO_OUR_CODE = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True, kw_only=True)
class ReadyLine:
    """What the process writes when it can answer."""

    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Door:
    """A listening socket that the instance inherits; so its port is known before it starts, and nobody can take it."""

    listener: socket.socket

    @staticmethod
    def open() -> Door:
        listener = socket.socket()
        listener.bind((LOOPBACK, 0))
        listener.listen(BACKLOG)
        return Door(listener)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.listener.getsockname()[1]}"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """`phases_ms`: spawn_ms (the fork), what the process told (import_ms, open_ms, model_ms), total_ms (from before the fork to ready)."""

    service: str
    number: int
    url: str
    process: Process
    phases_ms: Mapping[str, float]

    @property
    def ready_s(self) -> float:
        return self.phases_ms["total_ms"] / 1e3


@dataclass(frozen=True, kw_only=True)
class Starter:
    """What all instances of a deployment share. `cpus` are those of the architecture. `python`: an interpreter of their own, which nothing
    of ours may lead to other code."""

    folder: Path
    record: Record
    cpus: tuple[int, ...]
    project: str
    python: str = ""

    def log(self, service: str, number: int) -> Path:
        return self.folder / "logs" / f"{service}-{number}.log"

    def start(
        self, config: ServiceConfig, door: Door, deadline: float, on_start: Callable[[Process], None], on_end: Callable[[Process], None]
    ) -> Instance:
        """Ready, or MachineError with the last lines of its log. `deadline` is of time.monotonic."""
        began = time.monotonic()
        module = "lab.runtime.activator" if config.topology.service(config.service).role == "activator" else "lab.runtime.host"
        ready, told = os.pipe()
        try:
            with door.listener as listener:
                path = self.folder / f"{config.service}-{config.instance}.json"
                write_secret(path, encode(replace(config, listen_fd=listener.fileno(), ready_fd=told)).decode())
                command = Command(
                    argv=[self.python or sys.executable, "-m", module, str(path)],
                    service=config.service,
                    log=self.log(config.service, config.instance),
                    env={**ENVIRONMENT, **dict.fromkeys(TO_OUR_CODE if self.python else ()), "LAB_PROJECT": self.project},
                    cwd=self.folder,
                    pass_fds=(listener.fileno(), told),
                    cpus=self.cpus,
                )
                url = door.url
                process = start(command, self.record, on_end)
            os.close(told)
            told = -1
            on_start(process)
            spawned = time.monotonic()
            line = _await(ready, process, deadline)
        finally:
            os.close(ready)
            if told >= 0:
                os.close(told)
        phases = {"spawn_ms": (spawned - began) * 1e3, **line.phases, "total_ms": (time.monotonic() - began) * 1e3}
        return Instance(service=config.service, number=config.instance, url=url, process=process, phases_ms=phases)


def _await(ready: int, process: Process, deadline: float) -> ReadyLine:
    told = b""
    while not told.endswith(b"\n"):
        found, _, _ = select.select([ready], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(ready, 4096) if found else b""
        if not part:  # too late, or it ended without a word
            process.stop(grace_s=0) if not found else process.wait(5.0)
            when = "" if found else "not ready in time: "
            raise MachineError(f"{when}{process.failure()}", "the lines above say why; `start_timeout_s` bounds the wait")
        told += part
    return msgspec.json.decode(told, type=ReadyLine)
