"""A provider's hands inside a cluster: `python -m lab.runtime.agent FOLDER` serves HTTP, as FOLDER/config.json (AgentConfig) says.

POST   /buckets/NAME        makes it                          DELETE /buckets/NAME       with its objects and their versions
PUT    /buckets/NAME/KEY    the body becomes that object      DELETE /schemas/PREFIX     all whose names begin with PREFIX_
POST   /usage {"targets": {"a name": "http://host:port/usage"}} -> {"a name": Reading, or null for one that does not answer}
GET    /clock -> {"monotonic_s": ..., "boot_id": ...}         GET    /readyz             200 when store and database take our credentials

All but /readyz and /healthz want the Lab's token (lab.runtime.guard), with which it also asks its targets. What is removed may be gone
already. Errors are {"error": what, "hint": next step}.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lab.errors import InputError, LabError, MachineError
from lab.rundir import decode
from lab.runtime import clock, guard, provisioning, serving
from lab.runtime.answers import answer, explain, header, render, status_of
from lab.runtime.config import LIVE_PATH, READY_PATH, TOKEN_HEADER, DatabaseAddress, StoreAddress
from lab.runtime.consumption import Reading

USAGE_S: Final = 2.0
MAX_OBJECT_BYTES: Final = 128 << 20  # held in memory, twice for a moment
_OPEN: Final = frozenset({READY_PATH, LIVE_PATH})


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentConfig:
    """The bucket of `store` is not looked at. The other fields are those of ServiceConfig."""

    token_path: str
    store: StoreAddress | None = None
    database: DatabaseAddress | None = None
    service: str = "agent"
    host: str = "0.0.0.0"
    port: int = 8080
    listen_fd: int | None = None
    ready_fd: int | None = None
    drain_s: float = 0.0


class Targets(msgspec.Struct):
    targets: dict[str, str]


class Agent:
    def __init__(self, config: AgentConfig, token: str) -> None:
        self._config, self._token = config, token
        self._session: aiohttp.ClientSession | None = None
        self._has_stored = False

    def app(self) -> ASGIApp:
        routes = [
            Route("/buckets/{name}", self._make_bucket, methods=["POST"]),
            Route("/buckets/{name}", self._remove_bucket, methods=["DELETE"]),
            Route("/buckets/{name}/{key:path}", self._put_object, methods=["PUT"]),
            Route("/schemas/{prefix}", self._drop_schemas, methods=["DELETE"]),
            Route("/usage", self._usage, methods=["POST"]),
            Route("/clock", self._clock),
            Route(READY_PATH, self._ready),
            Route(LIVE_PATH, self._live),
        ]
        handlers = {LabError: _refused, HTTPException: _unknown, Exception: _bug}
        return _Guarded(Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=handlers), self._token)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(headers={TOKEN_HEADER: self._token}, timeout=aiohttp.ClientTimeout(total=USAGE_S)) as session:
            self._session = session
            yield

    # ---- stores; plain functions run in threads --------------------------------------------------------------------------

    def _make_bucket(self, request: Request) -> Response:
        provisioning.make_bucket(self._bucket(request), {})
        return _done()

    def _remove_bucket(self, request: Request) -> Response:
        provisioning.remove_bucket(self._bucket(request))
        return _done()

    async def _put_object(self, request: Request) -> Response:
        bucket, data = self._bucket(request), bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_OBJECT_BYTES:
                raise InputError(f"too large: more than {MAX_OBJECT_BYTES} bytes", "send a smaller object")
        await run_in_threadpool(provisioning.put_object, bucket, request.path_params["key"], bytes(data))
        return _done()

    def _drop_schemas(self, request: Request) -> Response:
        prefix = request.path_params["prefix"]
        if not re.fullmatch(r"[a-z][a-z0-9_]*", prefix) or prefix.startswith("pg_") or prefix == "pg":
            raise InputError(f"{prefix!r} does not begin the names of a deployment's schemas", "wanted: d_NAME, in small letters")
        if self._config.database is None:
            raise MachineError("this Lab has no database", "its agent's config names none")
        provisioning.drop_schemas(self._config.database, prefix)
        return _done()

    def _bucket(self, request: Request) -> StoreAddress:
        name = request.path_params["name"]
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name):
            raise InputError(f"{name!r} cannot be a bucket", "3 to 63 small letters, digits, - and .")
        if self._config.store is None:
            raise MachineError("this Lab has no object store", "its agent's config names none")
        return replace(self._config.store, bucket=name)

    # ---- usage and clock -------------------------------------------------------------------------------------------------

    async def _usage(self, request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await request.body(), type=Targets).targets
        except msgspec.DecodeError as error:
            raise InputError(
                f"the body does not name the targets: {error}", 'send {"targets": {"NAME": "http://HOST:PORT/usage"}}'
            ) from error
        found = await asyncio.gather(*map(self._read, wanted.values()))
        return Response(msgspec.json.encode(dict(zip(wanted, found, strict=True))), media_type="application/json")

    async def _read(self, url: str) -> Reading | None:
        assert self._session is not None, "the lifespan has not begun"
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                return msgspec.json.decode(await response.read(), type=Reading) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):  # ValueError: what it says is no reading, or the URL is none
            return None

    async def _clock(self, _request: Request) -> Response:
        return Response(msgspec.json.encode(clock.read()), media_type="application/json")

    # ---- readiness -------------------------------------------------------------------------------------------------------

    def _ready(self, _request: Request) -> Response:
        """An object is written until that has worked once; later the store is only asked, so that probes cost it next to nothing."""
        if self._config.store is not None:
            (provisioning.reach_store if self._has_stored else provisioning.probe_store)(self._config.store)
            self._has_stored = True
        if self._config.database is not None:
            provisioning.reach_database(self._config.database)
        return JSONResponse({"status": "ready"})

    async def _live(self, _request: Request) -> Response:
        return JSONResponse({"status": "alive"})


@dataclass(frozen=True, slots=True)
class _Guarded:
    application: ASGIApp
    token: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            sent = header(scope, TOKEN_HEADER.encode()).decode("latin-1")
            if not guard.same(sent, self.token):
                await answer(send, 401, render(guard.REFUSAL), headers=[(b"connection", b"close")])
                return
        await self.application(scope, receive, send)


def _done() -> Response:
    return JSONResponse({})


async def _refused(_request: Request, error: Exception) -> Response:
    return Response(explain(error), status_of(error), media_type="application/json")


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = render({"error": f"{error.detail}: {request.method} {request.url.path}", "hint": "`lab.runtime.agent` says what there is"})
    return Response(body, error.status_code, media_type="application/json", headers=error.headers)


async def _bug(_request: Request, error: Exception) -> Response:
    """The error goes on to the server's log."""
    return Response(explain(error), 500, media_type="application/json")


def serve(folder: Path) -> None:
    """Until SIGTERM or SIGINT, as the config in `folder` says."""
    config = load(folder / "config.json")
    serving.run(Agent(config, guard.read(Path(config.token_path))).app(), config, {})


def main(argv: list[str]) -> int:
    return serving.main(argv, "lab.runtime.agent FOLDER", serve)


def load(path: Path) -> AgentConfig:
    try:
        return decode(path.read_bytes(), AgentConfig, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "the provider mounts it") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv))
