"""The activator: `python -m lab.runtime.activator CONFIG.json` serves /functions/NAME/REST for every function that scales to zero.

It forwards to an instance (lab.runtime.pool says to which, and when one is started or stopped) and answers with the instance's answer. Its
Server-Timing header adds `queue` and `cold`, the waits for an instance. A request that could not be sent, because its instance is gone, is
sent to another once; one whose instance breaks off after that is answered with 502, one that takes INVOCATION_S with 504.

For the driver, on the activator's own port only (the gateway routes nothing but /functions/...):
POST /-/fill {"NAME": instances}, POST /-/drain, both answering when it is done, and GET /-/status.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import aiohttp
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from yarl import URL

from lab import registry
from lab.contracts import Replicas
from lab.errors import InputError, LabError
from lab.model import Topology
from lab.rundir import decode
from lab.runtime import serving, status, timing
from lab.runtime.answers import EXPECTED, REQUEST_ID_HEADER, Gone, Refused, answer_error, explain, header, read_body, render, status_of
from lab.runtime.calls import HEADER_BYTES
from lab.runtime.config import FUNCTIONS_PATH, ServiceConfig
from lab.runtime.pool import Assign
from lab.runtime.scaling import Events, Function
from lab.runtime.status import Identity

INVOCATION_S: Final = 60.0
MANAGEMENT_S: Final = 60.0
_PREFIX: Final = FUNCTIONS_PATH + "/"
_REQUEST_ID: Final = REQUEST_ID_HEADER.encode()
_TIMING: Final = timing.HEADER.encode()
_OF_THE_CONNECTION: Final = frozenset(
    {b"host", b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"te", b"upgrade", b"expect"}
)
_TIMEOUT: Final = aiohttp.ClientTimeout(total=INVOCATION_S)


class Activator:
    """ASGI. The way of a request to its function is short and its own; all else is a small Starlette application."""

    def __init__(self, topology: Topology, identity: Identity, replicas: Replicas) -> None:
        scaled = [s for s in topology.services if s.scaling == "to_zero"]
        self._service = identity.service
        self._threads = ThreadPoolExecutor(sum(s.max_instances for s in scaled), thread_name_prefix="replicas")
        self._events = Events()
        self._functions = {s.name: Function(s, replicas, self._threads, self._events) for s in scaled}
        self._session: aiohttp.ClientSession | None = None
        routes = [
            Route("/-/fill", self._fill, methods=["POST"]),
            Route("/-/drain", self._drain, methods=["POST"]),
            Route("/-/status", self._status),
            *status.routes(identity, lambda: self._session is not None),
        ]
        self._rest = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers={LabError: _refused, HTTPException: _not_found})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
            await self._serve(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=serving.KEEP_ALIVE_S - 15),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
            auto_decompress=False,
            max_field_size=HEADER_BYTES,
            max_line_size=HEADER_BYTES,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
        )
        for function in self._functions.values():
            await function.adopt()
        yield
        await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._events.flush()

    # ---- a request to a function ----

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        recorder = timing.Recorder(self._service)
        request_id = header(scope, _REQUEST_ID) or os.urandom(8).hex().encode()
        try:
            name, _, rest = scope["raw_path"].decode("latin-1").removeprefix(_PREFIX).partition("/")
            function = self._functions.get(name)
            if function is None:
                raise KeyError(f"function {name}")
            body = await read_body(scope, receive)
            request = _Request(method=scope["method"], target=_target(rest, scope), headers=_headers(scope, request_id), body=body)
            code, headers, content = await self._invoke(function, request, recorder, receive)
        except Gone:
            return
        except EXPECTED as error:
            extra = [(b"retry-after", b"1")] if status_of(error) in (429, 503) else []
            await answer_error(send, error, [(_TIMING, recorder.header().encode()), (_REQUEST_ID, request_id), *extra])
            return
        headers.append((_TIMING, recorder.header().encode()))
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _invoke(
        self, function: Function, request: _Request, recorder: timing.Recorder, hung_up: Callable[[], Awaitable[object]]
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers without those of the connection and without Server-Timing, and body of the instance's answer."""
        arrived = recorder.began
        assigned = await function.acquire(hung_up)
        _record_wait(recorder, function.service.name, assigned, arrived)
        try:
            return await self._forward(function, assigned, request, recorder)
        except _Unsent:
            again = await function.unsent(assigned, arrived, hung_up)
        _record_wait(recorder, function.service.name, again, perf_counter() - again.queue_s - again.cold_s)
        try:
            return await self._forward(function, again, request, recorder)
        except _Unsent as error:
            function.lost(again, "it cannot be reached")
            raise Refused(
                502, f"two instances of {function.service.name} in a row could not be reached", "did they die? `lab logs`"
            ) from error

    async def _forward(
        self, function: Function, assigned: Assign, request: _Request, recorder: timing.Recorder
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        assert self._session is not None, "the lifespan has not begun"
        name = function.service.name
        url = URL(assigned.instance + request.target, encoded=True)
        began = perf_counter()
        try:
            async with self._session.request(
                request.method, url, data=request.body or None, headers=request.headers, allow_redirects=False
            ) as response:
                content = await response.read()
        except aiohttp.ClientConnectorError as error:
            raise _Unsent from error
        except TimeoutError as error:
            function.lost(assigned, f"no answer within {INVOCATION_S:g} s")
            raise Refused(504, f"{name} did not answer within {INVOCATION_S:g} s", "its instance was stopped; `lab logs`") from error
        except aiohttp.ClientError as error:
            function.lost(assigned, f"{type(error).__name__}: {error}")
            raise Refused(502, f"an instance of {name} broke off: {type(error).__name__}", "did it die? `lab logs`") from error
        except asyncio.CancelledError:
            function.lost(assigned, "its request was given up")
            raise
        ended = perf_counter()
        function.release(assigned, ended - began)
        recorder.merge(response.headers.get(timing.HEADER, ""), name, began, ended, len(request.body) + len(content))
        kept = [(k.lower(), v) for k, v in response.raw_headers]
        headers = [(k, v) for k, v in kept if k not in _OF_THE_CONNECTION and k != _TIMING]
        headers.append((b"content-length", b"%d" % len(content)))
        return response.status, headers, content

    # ---- for the driver ----

    async def _fill(self, request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await request.body(), type=dict[str, int])
        except msgspec.DecodeError as error:
            raise InputError(f"the body is not the number of instances by function: {error}", 'send {"NAME": 2}') from error
        if unknown := wanted.keys() - self._functions.keys():
            raise InputError(f"no function is called {', '.join(sorted(unknown))}", f"there are {', '.join(self._functions)}")
        return await self._managed(self._functions[name].fill(n) for name, n in wanted.items())

    async def _drain(self, _request: Request) -> Response:
        return await self._managed(function.drain() for function in self._functions.values())

    async def _managed(self, work: Iterable[Awaitable[None]]) -> Response:
        """Raises Refused (504) that says where it stands after MANAGEMENT_S."""
        try:
            async with asyncio.timeout(MANAGEMENT_S):
                await asyncio.gather(*work)
        except TimeoutError as error:
            raise Refused(504, f"not done within {MANAGEMENT_S:g} s: {self._state()}", "is somebody still sending requests?") from error
        return JSONResponse(self._state())

    async def _status(self, _request: Request) -> Response:
        return JSONResponse(self._state())

    def _state(self) -> Mapping[str, Mapping[str, int]]:
        return {name: f.pool.counts() for name, f in self._functions.items()}


class _Unsent(Exception):
    """The request did not leave this process."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def _target(rest: str, scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    return f"/{rest}?{query}" if query else f"/{rest}"


def _headers(scope: Scope, request_id: bytes) -> Mapping[str, str]:
    kept = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"] if k not in _OF_THE_CONNECTION}
    kept[REQUEST_ID_HEADER] = request_id.decode("latin-1")
    return kept


def _record_wait(recorder: timing.Recorder, name: str, assigned: Assign, since: float) -> None:
    queued = since + assigned.queue_s
    if assigned.queue_s > 0:
        recorder.add(name, "queue", since, queued)
    if assigned.cold_s > 0:
        recorder.add(name, "cold", queued, queued + assigned.cold_s)


async def _refused(_request: Request, error: Exception) -> Response:
    return Response(explain(error), status_of(error), media_type="application/json")


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = render({"error": f"{error.detail}: {request.method} {request.url.path}", "hint": f"functions are below {_PREFIX}"})
    return Response(body, error.status_code, media_type="application/json")


def serve(path: Path) -> None:
    """Until SIGTERM or SIGINT, as the config in `path` says."""
    config = decode(path.read_bytes(), ServiceConfig, str(path))
    identity = Identity(deployment=config.deployment, service=config.service, instance=config.instance)
    replicas = registry.replicas(config.provider, config.replicas_handle)
    serving.run(Activator(config.topology, identity, replicas), config, {})


def main(argv: list[str]) -> int:
    return serving.main(argv, "lab.runtime.activator CONFIG.json", serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
