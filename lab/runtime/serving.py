"""Serves one ASGI application in this process until SIGTERM: listens where its config says, and tells the provider when it can answer."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lab.errors import MachineError
from lab.runtime.config import ServiceConfig

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


class Server(uvicorn.Server):
    """Calls `started` when it can answer."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()


def run(application: Callable[..., Any], config: ServiceConfig, phases_ms: Mapping[str, float]) -> None:
    """Until SIGTERM or SIGINT; then it accepts no more, finishes what it has, and returns."""
    listener = _listen(config)
    port = listener.getsockname()[1]
    server = Server(server_config(application), lambda: _tell_ready(config.ready_fd, port, phases_ms))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises the signal once more when it is done; ending is then our own affair
    server.run(sockets=[listener])


def _listen(config: ServiceConfig) -> socket.socket:
    if config.listen_fd is not None:
        return socket.socket(fileno=config.listen_fd)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        what = f"{config.service} cannot listen on {config.host}:{config.port}: {error.strerror}"
        raise MachineError(what, "is something else using the port? port 0 takes a free one") from error
    return listener


def _tell_ready(fd: int | None, port: int, phases_ms: Mapping[str, float]) -> None:
    if fd is not None:
        os.write(fd, json.dumps({"phases": phases_ms, "port": port}).encode() + b"\n")
        os.close(fd)
