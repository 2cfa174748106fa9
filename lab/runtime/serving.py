"""Serves one ASGI application in this process until SIGTERM: listens where its config says, and tells the provider when it can answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lab.errors import LabError, MachineError

KEEP_ALIVE_S = 75  # longer than any client of ours keeps an idle connection, so that none is closed under a request
GRACE_S = 8


def server_config(application: Callable[..., Any]) -> uvicorn.Config:
    """The fast parser and loop, or no service: without them a request costs three times the CPU, and figures would not compare."""
    config = uvicorn.Config(
        application,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    config.load()
    assert config.http_protocol_class is HttpToolsProtocol
    return config


class Place(Protocol):
    """Where a process serves; ServiceConfig says what the fields mean."""

    @property
    def service(self) -> str: ...
    @property
    def listen_fd(self) -> int | None: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def ready_fd(self) -> int | None: ...
    @property
    def drain_s(self) -> float: ...


class Server(uvicorn.Server):
    """Calls `started` when it can answer. Told to end, it first drains for `drain_s`; told twice, it ends."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], drain_s: float = 0.0) -> None:
        super().__init__(config)
        self._started, self._drain_s = started, drain_s
        self._drained_at: float | None = None  # time.monotonic

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain_s > 0 and self._drained_at is None:
            self._drained_at = time.monotonic() + self._drain_s
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        ends = await super().on_tick(counter)
        if self._drained_at is None:
            return ends
        self.server_state.default_headers = [(b"connection", b"close")]
        return ends or time.monotonic() >= self._drained_at


def main(argv: list[str], usage: str, serve: Callable[[Path], None]) -> int:
    """The exit code of `python -m MODULE PATH`: 0, 2 for another call, 3 for a LabError, which is said on stderr."""
    if len(argv) != 2:
        sys.stderr.write(f"usage: python -m {usage}\n")
        return 2
    end_on_sigterm()
    try:
        serve(Path(argv[1]))
    except LabError as error:
        sys.stderr.write(f"{error.what}\n{error.hint}\n")
        return 3
    return 0


def end_on_sigterm() -> None:
    """From now on until `run`: the first process of a container has no default for it, and would be waited for in vain."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def run(application: Callable[..., Any], place: Place, phases_ms: Mapping[str, float]) -> None:
    """Until SIGTERM or SIGINT; then it drains, accepts no more, finishes what it has, and returns."""
    listener = _listen(place)
    port = listener.getsockname()[1]
    server = Server(server_config(application), lambda: _tell_ready(place.ready_fd, port, phases_ms), place.drain_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises the signal once more when it is done; ending is then our own affair
    server.run(sockets=[listener])


def _listen(place: Place) -> socket.socket:
    if place.listen_fd is not None:
        return socket.socket(fileno=place.listen_fd)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((place.host, place.port))
    except OSError as error:
        listener.close()
        what = f"{place.service} cannot listen on {place.host}:{place.port}: {error.strerror}"
        raise MachineError(what, "is something else using the port? port 0 takes a free one") from error
    return listener


def _tell_ready(fd: int | None, port: int, phases_ms: Mapping[str, float]) -> None:
    if fd is not None:
        os.write(fd, json.dumps({"phases": phases_ms, "port": port}).encode() + b"\n")
        os.close(fd)
