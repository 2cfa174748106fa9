"""A pod's meter: `python -m lab.runtime.meter [PORT]` tells over HTTP what the pod's other processes have consumed.

It runs beside them with a shared process namespace, and small: the standard library's server, one reading at a time.
GET /usage (with the token, see lab.runtime.guard) -> lab.runtime.consumption.Reading as JSON; GET /readyz.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import psutil

from lab.errors import LabError
from lab.runtime.config import METER_PORT, READY_PATH, TOKEN_HEADER
from lab.runtime.consumption import Ledger, Reading, reading
from lab.runtime.guard import REFUSAL, from_environment, same

PATH = "/usage"
IDLE_S = 75.0


def others() -> Iterator[psutil.Process]:
    """All processes of the pod but this one."""
    own = os.getpid()
    return (process for process in psutil.process_iter() if process.pid != own)


class Server(ThreadingHTTPServer):
    """Loses what a process consumed after the last reading, if nobody in the pod waits for it; asked once a second that is little."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], token: str, processes: Callable[[], Iterable[psutil.Process]] = others) -> None:
        super().__init__(address, _Handler)
        self.token = token
        self._ledger, self._one_at_a_time = Ledger(processes), threading.Lock()

    def read(self) -> Reading:
        with self._one_at_a_time:
            return reading(self._ledger.read())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    server: Server

    def do_GET(self) -> None:
        if self.path == READY_PATH:
            self._answer(200, {"status": "ready"})
        elif self.path != PATH:
            self._answer(404, {"error": f"there is no {self.path}", "hint": f"there are {PATH} and {READY_PATH}"})
        elif not same(self.headers.get(TOKEN_HEADER, ""), self.server.token):
            self._answer(401, REFUSAL)
        else:
            self._answer(200, self.server.read())

    def _answer(self, status: int, content: object) -> None:
        body = msgspec.json.encode(content)
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(argv: list[str]) -> int:
    if len(argv) > 2:
        sys.stderr.write("usage: python -m lab.runtime.meter [PORT]\n")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # a container's first process has no default for it
    try:
        server = Server(("", int(argv[1]) if len(argv) == 2 else METER_PORT), from_environment())
    except LabError as error:
        sys.stderr.write(f"{error.what}\n{error.hint}\n")
        return 3
    sys.stdout.write(f"listening on port {server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
