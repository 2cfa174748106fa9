"""Serves a Starlette application from a thread on a loopback port, and asks it like a client; for tests of the runtime."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette

from lab.contracts import AsyncHandler, Handler, Handlers, Tools
from lab.model import Batching, Edge, Event, Message, Operation, Request, Response, Service, Stage, Topology
from lab.runtime.config import ServiceConfig
from lab.runtime.databases import SqliteDatabase
from lab.runtime.host import app
from lab.runtime.object_stores import MemoryStore
from lab.runtime.serving import Server, server_config

LIMIT_S = 20.0


@contextmanager
def serving(application: Starlette) -> Iterator[str]:
    """Its URL; when the block is left the server has stopped."""
    ready = threading.Event()
    server = Server(server_config(application), ready.set)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        assert ready.wait(LIMIT_S), "the application did not start"
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(LIMIT_S)
            assert not thread.is_alive(), "the server did not stop"


def ask(url: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Response:
    """Header names of the answer are lower case."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT_S)
    try:
        connection.request(method, parts.path + path, body or None, dict(headers or {}))
        answer = connection.getresponse()
        return Response(status=answer.status, body=answer.read(), headers={k.lower(): v for k, v in answer.getheaders()})
    finally:
        connection.close()


def send(url: str, request: Request) -> Response:
    return ask(url, request.method, request.path, request.body, request.headers)


def handled(handlers: Handlers, stage: str, message: Message) -> Message:
    """By the stage's handler alone, a coroutine or not."""
    found = handlers.single[stage](message)
    return found if isinstance(found, Message) else asyncio.run(_awaited(found))


async def _awaited(found: Awaitable[Message]) -> Message:
    return await found


class Chain:
    """A workload of one write whose stages are given as handlers, in order."""

    name = "chain"
    model_sizes = ("S",)

    def __init__(
        self, handlers: Mapping[str, Handler | AsyncHandler], batch: Handlers | None = None, deferrable: Sequence[str] = ()
    ) -> None:
        self._handlers, self._batch = handlers, batch.batch if batch else {}
        self.stages = tuple(Stage(name=n, mode="deferrable" if n in deferrable else "sync", batchable=n in self._batch) for n in handlers)
        self.operations = (
            Operation(name="write", kind="write", method="POST", path="/v1/things/{id}", stages=tuple(handlers), weight=1.0, headline=True),
        )

    def handlers(self, stages: Sequence[str], tools: Tools) -> Handlers:
        kept = {n: h for n, h in self._handlers.items() if n in stages}
        return Handlers(single=kept, batch={n: h for n, h in self._batch.items() if n in stages})


def topology(*services: Service, edges: Sequence[Edge] = (), routes: Mapping[str, str] | None = None) -> Topology:
    return Topology(
        architecture="test", workload="chain", services=services, edges=tuple(edges), routes=routes or {"write": services[0].name}
    )


def config(of: Topology, service: str, addresses: Path | None = None) -> ServiceConfig:
    return ServiceConfig(
        provider="fake", deployment="d", service=service, instance=0, topology=of, addresses_path=str(addresses), schema_prefix="p"
    )


def tools() -> Tools:
    return Tools(store=MemoryStore(), database=lambda _: SqliteDatabase(), model=lambda: b"", model_size="S")


@contextmanager
def chain(
    handlers: Mapping[str, Handler | AsyncHandler],
    *,
    batch: Handlers | None = None,
    batching: Batching | None = None,
    deferrable: Sequence[str] = (),
    events: list[Event] | None = None,
    concurrency: int = 4,
    queue_deadline_s: float = 10.0,
) -> Iterator[str]:
    """One service that holds all the stages."""
    workload = Chain(handlers, batch, deferrable)
    service = Service(name="one", stages=tuple(handlers), concurrency=concurrency, queue_deadline_s=queue_deadline_s, batching=batching)
    report = events.append if events is not None else _refuse_event
    with serving(app(config(topology(service), "one"), tools(), workload, report)) as url:  # type: ignore[arg-type]
        yield url


def _refuse_event(event: Event) -> None:
    raise AssertionError(f"unexpected event {event}")


def error_of(response: Response) -> Mapping[str, str]:
    """The JSON of a refusal, whose form is part of the contract."""
    assert response.headers["content-type"] == "application/json"
    body = json.loads(response.body)
    assert body.keys() == {"error", "hint"} and body["error"], body
    return dict(body)


def echo(message: Message) -> Message:
    return message
