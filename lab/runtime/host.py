"""One service process: `python -m lab.runtime.host CONFIG.json` holds the stages of a service and answers HTTP for them."""

from __future__ import annotations

# ruff: noqa: E402
from time import perf_counter

_BEGAN = perf_counter()  # before the imports, which are a phase of a cold start

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from lab import registry
from lab.contracts import Tools, Workload
from lab.errors import InputError
from lab.model import Message
from lab.model.workload import Scalar
from lab.rundir import decode
from lab.runtime import page, serving, status, timing, walk
from lab.runtime.answers import (
    EXPECTED,
    JSON_TYPE,
    REQUEST_ID_HEADER,
    Gone,
    answer,
    answer_error,
    explain,
    header,
    read_body,
    render,
)
from lab.runtime.config import FIELDS_HEADER, STAGES_PATH, ServiceConfig
from lab.runtime.events import event, print_events
from lab.runtime.openapi import document
from lab.runtime.status import Identity
from lab.runtime.walk import Walker

if TYPE_CHECKING:
    from lab.runtime.calls import Caller

_FIELDS = FIELDS_HEADER.encode()
_FIELDS_DECODER = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
_REQUEST_ID = REQUEST_ID_HEADER.encode()
_TIMING = timing.HEADER.encode()


@dataclass(slots=True)
class _Endpoint:
    """An ASGI application for one operation, or for stages called by another service: both end in one walk.

    `between_services`: fields come and go in the FIELDS_HEADER; else they come from the URL, and go as the body if there is no other."""

    walker: Walker
    service: str
    way: Callable[[Scope], walk.Route]
    between_services: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        recorder = timing.Recorder(self.service)
        request_id = header(scope, _REQUEST_ID) or os.urandom(8).hex().encode()
        try:
            body = await read_body(scope, receive)
            fields = _sent_fields(scope) if self.between_services else _url_fields(scope)
            message = Message(body=body, fields=fields)
            result = await self.walker.walk(self.way(scope), message, recorder, request_id.decode("latin-1"))
        except Gone:
            return
        except EXPECTED as error:
            await answer_error(send, error, [(_TIMING, recorder.header().encode()), (_REQUEST_ID, request_id)])
            return
        headers = [(_TIMING, recorder.header().encode()), (_REQUEST_ID, request_id)]
        if self.between_services:
            await answer(send, 200, result.body, b"application/octet-stream", [*headers, (_FIELDS, render(result.fields))])
        elif result.body:
            await answer(send, 200, result.body, str(result.fields.get("content_type", "application/octet-stream")).encode(), headers)
        else:
            await answer(send, 200, render(result.fields), JSON_TYPE, headers)


def _sent_fields(scope: Scope) -> Mapping[str, Scalar]:
    try:
        return _FIELDS_DECODER.decode(header(scope, _FIELDS) or b"{}")
    except msgspec.DecodeError as error:
        raise InputError(f"the header {FIELDS_HEADER} cannot be read: {error}", "it is a flat JSON object, and not for clients") from error


def _url_fields(scope: Scope) -> Mapping[str, str]:
    query = scope["query_string"]
    in_path: Mapping[str, str] = scope["path_params"]
    return {**dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)), **in_path} if query else in_path


def app(
    config: ServiceConfig,
    tools: Tools,
    workload: Workload | None = None,
    report: walk.Report = print_events,
    identity: Identity | None = None,
) -> Starlette:
    """Opens what the service's stages need at once; calls, batches and deferred work run within its lifespan."""
    identity = identity or _identity(config)
    workload = workload or registry.workload(config.topology.workload)
    topology, service = config.topology, config.topology.service(config.service)
    handlers = workload.handlers(service.stages, tools)
    walker = Walker(service, handlers, _caller(config, report), report)
    modes = walk.modes_of(workload.stages)
    routes: list[BaseRoute] = []
    for op in workload.operations:
        if topology.routes[op.name] == service.name:
            way = walk.route(op.stages, service, topology, modes, walker.batched)
            routes.append(Route(op.path, _Endpoint(walker, service.name, _always(way), False), methods=[op.method]))
    ways: dict[str, walk.Route] = {}

    def asked(scope: Scope) -> walk.Route:
        names = scope["path_params"]["names"]
        if names not in ways:
            stages = names.split(",")
            if unknown := set(stages) - set(service.stages):
                raise InputError(f"{service.name} holds no stage {', '.join(sorted(unknown))}", f"it holds {', '.join(service.stages)}")
            ways[names] = walk.route(stages, service, topology, dict.fromkeys(modes, "sync"), walker.batched)
        return ways[names]

    routes.append(Route(STAGES_PATH + "/{names}", _Endpoint(walker, service.name, asked, True), methods=["POST"]))
    if service.page:
        routes += page.routes(workload)
    return _application(identity, workload, walker, tools, routes)


def _caller(config: ServiceConfig, report: walk.Report) -> Caller | None:
    edges = [e for e in config.topology.edges if e.source == config.service]
    if not edges:
        return None
    from lab.runtime.calls import AddressBook, Caller  # only here: a function that calls nobody starts without aiohttp

    def changed(url: str, state: str) -> None:
        report(event("circuit", config.service, {"target": url, "state": state}))

    return Caller(edges, AddressBook(Path(config.addresses_path)), changed)


def _always(way: walk.Route) -> Callable[[Scope], walk.Route]:
    return lambda _scope: way


def _identity(config: ServiceConfig) -> Identity:
    return Identity(deployment=config.deployment, service=config.service, instance=config.instance)


def _application(identity: Identity, workload: Workload, walker: Walker, tools: Tools, routes: list[BaseRoute]) -> Starlette:
    opened = False
    described = document(workload)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        nonlocal opened
        await walker.open()
        opened = True
        yield
        opened = False
        await walker.close()
        await tools.aclose()

    async def contract(_request: Request) -> Response:
        return JSONResponse(described)

    routes += [*status.routes(identity, lambda: opened), Route("/openapi.json", contract)]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error, Exception: _bug})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    hint = "the operations are listed at /openapi.json"
    body = render({"error": f"{error.detail}: {request.method} {request.url.path}", "hint": hint})
    return Response(body, error.status_code, media_type="application/json", headers=error.headers)


async def _bug(_request: Request, error: Exception) -> Response:
    """The error goes on to the server's log."""
    return Response(explain(error), 500, media_type="application/json")


def serve(config: ServiceConfig) -> None:
    """Until SIGTERM or SIGINT; then it accepts no more, finishes what it has, and returns."""
    from lab.runtime.stores import tools  # the drivers of the stores: slow to import, and not wanted by apps with tools of their own

    workload = registry.workload(config.topology.workload)
    held = config.topology.service(config.service).stages
    found = tools(config, [s for s in workload.stages if s.name in held])  # connects to nothing yet, but may import a slow client
    imported = perf_counter()
    model_s = 0.0

    def timed_model() -> bytes:
        nonlocal model_s
        began = perf_counter()
        data = found.model()
        model_s += perf_counter() - began
        return data

    identity = _identity(config)
    application = app(config, replace(found, model=timed_model), workload, identity=identity)
    opened = perf_counter()
    phases = {"import_ms": imported - _BEGAN, "open_ms": opened - imported - model_s, "model_ms": model_s}
    identity.phases_ms.update({k: v * 1e3 for k, v in phases.items()})
    serving.run(application, config, identity.phases_ms)


def main(argv: list[str]) -> int:
    return serving.main(argv, "lab.runtime.host CONFIG.json", lambda path: serve(decode(path.read_bytes(), ServiceConfig, str(path))))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
