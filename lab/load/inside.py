"""A load driver as a Job (`python -m lab.load.inside FOLDER`): reads FOLDER/job.json (Told), drives when told to, and serves over HTTP what
the driver says and the samples so far, until it is told to end.

All but GET /readyz want the Lab's token (lab.runtime.guard):
POST /start; POST /begin with the moment of this clock at which the windows begin (several drivers); POST /stop, which returns when the
driver has kept its samples; POST /end. GET /lines?from=N: lines of JSON (lab.load.job.Line) from the N-th on. GET /samples?from=BYTES:
the stream of samples, at most CHUNK bytes of it. GET /clock: lab.runtime.clock.ClockReading. The only memory that grows is a line a second.

It ends by itself at its deadline, or when nobody has asked it anything for a while: whoever wanted the samples is gone.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lab import registry, rundir
from lab.errors import InputError, LabError, MachineError
from lab.load.job import CHUNK, JOB_FILE, DriveJob, Failure, Line, Told
from lab.load.process import DriverProcess
from lab.runtime import clock, guard
from lab.runtime.config import READY_PATH, TOKEN_HEADER
from lab.runtime.serving import Server, server_config
from lab.settings import Settings

ALONE_S = 60.0  # without a question
POLL_S = 0.5


class Inside:
    """One driver and what it has said."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self.lines: list[bytes] = []
        self.heard_s = time.monotonic()
        self._driver: DriverProcess | None = None
        self._ended = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driver")

    def start(self) -> None:
        """Raises RuntimeError the second time."""
        self._thread.start()

    def begin(self, at_s: float) -> None:
        if self._driver is None:
            raise MachineError("no driver runs here", "POST /start comes first")
        self._driver.begin(at_s)

    def stop(self) -> None:
        """Returns when nothing is sent any more and all samples are in the stream."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with self._url() as url:
                self._follow(replace(self._told.job, url=url))
        except LabError as error:
            self._fail(Failure(kind="input" if isinstance(error, InputError) else "machine", what=error.what, hint=error.hint))
        finally:
            if not self._ended:
                self._fail(Failure(kind="machine", what="the driver was stopped, or broke", hint="the log of the Job says why"))

    def _fail(self, failure: Failure) -> None:
        self._say(Line(failure=failure))

    def _follow(self, job: DriveJob) -> None:
        self._driver = DriverProcess(job, Path(job.stream).with_name("driver.log"))
        try:
            while not self._ended and not self._stopped.is_set():
                for line in self._driver.poll(POLL_S):
                    self._say(line)
        finally:
            self._driver.end()

    def _say(self, line: Line) -> None:
        self._ended = self._ended or line.record is not None or line.failure is not None
        self.lines.append(msgspec.json.encode(line))

    @contextlib.contextmanager
    def _url(self) -> Iterator[str]:
        if self._told.served is None:
            yield self._told.job.url
            return
        home = Path(self._told.job.stream).parent
        provider = registry.provider("fake")(Settings(provider="fake", home=str(home), name="floor"))
        provider.up()
        try:
            yield provider.deploy(self._told.served, "floor", self._told.job.seed).url
        finally:
            provider.destroy()


@dataclass
class _App:
    inside: Inside
    stream: Path
    token: str
    over: threading.Event = field(default_factory=threading.Event)

    def routes(self) -> Starlette:
        async def ready(_request: Request) -> Response:
            return JSONResponse({"status": "ready"})

        paths: dict[str, tuple[str, Callable[[Request, bytes], Response]]] = {
            "/start": ("POST", self._start),
            "/begin": ("POST", self._begin),
            "/stop": ("POST", self._stop),
            "/end": ("POST", self._end),
            "/lines": ("GET", self._lines),
            "/samples": ("GET", self._samples),
            "/clock": ("GET", self._clock),
        }
        guarded = [Route(path, self._guarded(answer), methods=[method]) for path, (method, answer) in paths.items()]
        return Starlette(routes=[Route(READY_PATH, ready), *guarded])

    def _guarded(self, answer: Callable[[Request, bytes], Response]) -> Callable[[Request], object]:
        async def guarded(request: Request) -> Response:
            if not guard.same(request.headers.get(TOKEN_HEADER, ""), self.token):
                return JSONResponse(guard.REFUSAL, 401)
            self.inside.heard_s = time.monotonic()
            try:
                return await run_in_threadpool(answer, request, await request.body())
            except (ValueError, LabError, RuntimeError) as error:
                return JSONResponse({"error": str(error)}, 400)

        return guarded

    def _start(self, _request: Request, _body: bytes) -> Response:
        self.inside.start()
        return Response()

    def _begin(self, _request: Request, body: bytes) -> Response:
        self.inside.begin(float(body))
        return Response()

    def _stop(self, _request: Request, _body: bytes) -> Response:
        self.inside.stop()
        return Response()

    def _end(self, _request: Request, _body: bytes) -> Response:
        self.over.set()
        return Response()

    def _lines(self, request: Request, _body: bytes) -> Response:
        since = int(request.query_params["from"])
        return Response(b"".join(line + b"\n" for line in self.inside.lines[since:]), media_type="application/jsonl")

    def _samples(self, request: Request, _body: bytes) -> Response:
        since = int(request.query_params["from"])
        if not self.stream.is_file():
            return Response(media_type="application/octet-stream")
        with self.stream.open("rb") as file:
            file.seek(since)
            return Response(file.read(CHUNK), media_type="application/octet-stream")

    def _clock(self, _request: Request, _body: bytes) -> Response:
        return Response(msgspec.json.encode(clock.read()), media_type="application/json")


def serve(told: Told, token: str) -> None:
    """Until POST /end, the deadline, SIGTERM, or too long a silence; then no driver is left."""
    inside = Inside(told)
    app = _App(inside, Path(told.job.stream), token)
    listener = socket.create_server((told.host, told.port))
    server = Server(server_config(app.routes()), lambda: None)
    deadline = time.monotonic() + told.deadline_s

    def watch() -> None:
        while not app.over.wait(POLL_S) and time.monotonic() < min(deadline, inside.heard_s + ALONE_S):
            pass
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn ends its loop, and raises the signal once more when it is done
    threading.Thread(target=watch, name="watch", daemon=True).start()
    try:
        server.run(sockets=[listener])
    finally:
        inside.stop()


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        sys.stderr.write("usage: python -m lab.load.inside FOLDER\n")
        return 2
    path = Path(argv[1]) / JOB_FILE
    try:
        serve(rundir.decode(path.read_bytes(), Told, str(path)), guard.from_environment())
    except LabError as error:
        sys.stderr.write(f"{error.what}\n{error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
