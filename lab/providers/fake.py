"""A cloud of threads: every service of a topology behind one real loopback port, its stores in memory, its faults scripted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Sent

from lab import ownership, registry, rundir
from lab.contracts import Capabilities, Database, Deployment, Endpoint, Fault, Tools, Workload
from lab.errors import InputError, MachineError
from lab.model import Event, Service, Topology, Usage
from lab.runtime import timing
from lab.runtime.config import ModelAddress, ServiceConfig
from lab.runtime.databases import SqliteDatabase, TimedDatabase
from lab.runtime.host import app
from lab.runtime.object_stores import MemoryStore, TimedStore
from lab.runtime.serving import Server, server_config
from lab.runtime.stores import fetch_model
from lab.settings import Settings

ENDPOINTS: Final = (
    Endpoint(service="store", kind="object_store", url="memory://store", ready_s=0.0),
    Endpoint(service="database", kind="database", url="memory://database", ready_s=0.0),
)
FOLDER: Final = "fake"  # of the Lab's state: all that this provider writes
GRACE_S: Final = 1  # for requests in flight when a deployment is retired, stalled ones for example
STOP_S: Final = 10.0
_TIMING: Final = timing.HEADER.encode()


@dataclass(slots=True)
class Script:
    """What goes wrong and how long simulated things take. `failing_deploys` counts from 1; `exits_at_start` names a service;
    a stall (first, last, seconds) holds back the requests with those numbers, counted from 1 in each deployment."""

    failing_deploys: frozenset[int] = frozenset()
    exits_at_start: str = ""
    stalls: tuple[tuple[int, int, float], ...] = ()
    cold_start_s: float = 0.05
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class _Lab:
    """What stands under one Lab's state folder, shared by all Providers of this process that name it."""

    deployments: dict[str, _Standing] = field(default_factory=dict)
    deploys: int = 0


_LABS: Final[dict[Path, _Lab]] = {}


class Provider:
    """Lives and dies with its process. Nothing is isolated and no usage is measured: that part of `Usage` is None."""

    name = "fake"

    def __init__(self, settings: Settings, script: Script | None = None) -> None:
        self._settings = settings
        self.script = script or Script()
        self._past: dict[str, _Standing] = {}

    def capabilities(self, cpus: float = 1.0) -> Capabilities:
        return Capabilities(isolation="none", enforcement="none", scales_to_zero=True)

    def prepare(self) -> None:
        return

    def up(self, report: Callable[[str], None] = lambda _: None, *, owner_pid: int | None = None) -> tuple[Endpoint, ...]:
        if not self._settings.state.exists():
            ownership.mark(self._settings.state, self.name)
        _LABS.setdefault(self._settings.state, _Lab())
        report("ready: threads of this process")
        return ENDPOINTS

    def find(self) -> tuple[Endpoint, ...] | None:
        return ENDPOINTS if self._settings.state in _LABS else None

    def endpoints(self) -> tuple[Endpoint, ...]:
        return self.find() or ()

    def deploy(self, topology: Topology, deployment: str, seed: int) -> Deployment:
        lab = self._lab()
        if deployment in lab.deployments:
            raise InputError(f"the deployment {deployment!r} stands already", "retire it first, or choose another id")
        lab.deploys += 1
        if lab.deploys in self.script.failing_deploys:
            raise MachineError(f"deploy {lab.deploys} fails, as scripted", "take it out of Script.failing_deploys")
        if self.script.exits_at_start in {s.name for s in topology.services}:
            raise MachineError(f"{self.script.exits_at_start} exited at its start, as scripted", "see Script.exits_at_start")
        standing = _Standing(topology, deployment, self.script, self._settings.state)
        standing.start(self._settings.start_timeout_s)
        lab.deployments[deployment] = standing
        return Deployment(id=deployment, url=standing.url, ready_s={s.name: standing.ready_s for s in topology.services})

    def retire(self, deployment: str) -> None:
        lab = _LABS.get(self._settings.state)
        if lab and deployment in lab.deployments:
            standing = lab.deployments.pop(deployment)
            self._past[deployment] = standing
            standing.stop()

    def logs(self, service: str = "", deployment: str = "") -> Iterator[str]:
        """Its events: nothing else is written."""
        for name, standing in {**self._past, **self._standing()}.items():
            if deployment in ("", name):
                yield from (f"{e.service} {e.kind} {dict(e.values)}" for e in standing.events if service in ("", e.service))

    def events(self, deployment: str) -> Sequence[Event]:
        found = self._standing().get(deployment) or self._past.get(deployment)
        return tuple(found.events) if found else ()

    def usage(self) -> tuple[Usage, ...]:
        return tuple(usage for standing in self._standing().values() for usage in standing.usage())

    def inject(self, deployment: str, service: str, fault: Fault, duration_s: float = 0.0) -> None:
        raise InputError(f"fault {fault}: nothing of the fake provider can be broken from outside", "script it, or take provider embedded")

    def down(self) -> None:
        for deployment in tuple(self._standing()):
            self.retire(deployment)
        _LABS.pop(self._settings.state, None)

    def destroy(self) -> tuple[str, ...]:
        removed = [f"deployment {name}" for name in self._standing()]
        self.down()
        state = self._settings.state
        if ownership.is_lab(state):
            shutil.rmtree(state / FOLDER, ignore_errors=True)
            if [p.name for p in state.iterdir()] == [ownership.MARKER]:  # else it is also another provider's, or a run's
                ownership.release(self._settings)
                removed.append(f"folder {state}")
        return tuple(removed)

    def _standing(self) -> Mapping[str, _Standing]:
        lab = _LABS.get(self._settings.state)
        return lab.deployments if lab else {}

    def _lab(self) -> _Lab:
        if self._settings.state not in _LABS:
            raise MachineError(f"the Lab {self._settings.name!r} is not up", "call up first; a fake Lab lives only in its process")
        return _LABS[self._settings.state]


class _Standing:
    """One deployment: a uvicorn server in a thread, with one application per service."""

    def __init__(self, topology: Topology, deployment: str, script: Script, state: Path) -> None:
        self._topology, self._deployment, self._script = topology, deployment, script
        self.events: list[Event] = []
        self.ready_s = 0.0
        self._folder = state / FOLDER / deployment
        self._databases: dict[str, SqliteDatabase] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._functions: dict[str, _Function] = {}
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, timeout_s: float) -> None:
        """Raises what a service raised; then nothing is left."""
        began = perf_counter()
        try:
            config = server_config(self._front())
            config.timeout_graceful_shutdown = GRACE_S
            ready = threading.Event()
            self._server = Server(config, ready.set)
            self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name=f"fake-{self._deployment}", daemon=True)
            self._thread.start()
            if not ready.wait(timeout_s):
                raise MachineError(f"the deployment was not ready within {timeout_s:g} s", "raise start_timeout_s")
        except BaseException:
            self.stop()
            raise
        self.ready_s = perf_counter() - began
        for service in self._topology.services:
            self._tell("ready", service.name, {"ready_s": self.ready_s})

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(STOP_S)
            if self._thread.is_alive():
                raise MachineError(
                    f"the deployment {self._deployment} still runs after {STOP_S:g} s", "end the process: its threads go with it"
                )
        self._listener.close()
        for database in self._databases.values():
            database.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._tell("retired", "", {})

    def usage(self) -> Iterator[Usage]:
        now = self._script.clock()
        for s in self._topology.services:
            function = self._functions.get(s.name)
            instances = s.instances if function is None else int(function.warm(now))
            yield Usage(at_s=now, service=s.name, tier="architecture", instances=instances, cpu_s=None, memory_mib=None)

    def _tell(self, kind: str, service: str, values: Mapping[str, str | int | float | bool | None]) -> None:
        self.events.append(Event(at_s=self._script.clock(), clock="monotonic", kind=kind, service=service, values=values))

    def _front(self) -> Starlette:
        """Operations go to their entry, /services/NAME to that service, everything else to the first entry."""
        workload = registry.workload(self._topology.workload)
        tools = self._tools(workload)
        addresses = self._folder / "addresses.json"
        hosts = [s for s in self._topology.services if s.role == "host"]
        rundir.write(addresses, json.dumps({s.name: [f"{self.url}/services/{s.name}"] for s in hosts}).encode())
        topology = replace(self._topology, services=tuple(map(_together, self._topology.services)))
        plain = {s.name: self._application(topology, s.name, addresses, tools, workload) for s in hosts}
        self._functions = {s.name: _Function(plain[s.name], s, self._script, self._tell) for s in hosts if s.scaling == "to_zero"}
        apps: dict[str, ASGIApp] = {**plain, **self._functions}
        stalled = {name: _Stalling(application, self._script.stalls) for name, application in apps.items()}
        routes: list[BaseRoute] = [
            Route(op.path, stalled[topology.routes[op.name]], methods=[op.method], name=op.name) for op in workload.operations
        ]
        routes += [Mount(f"/services/{name}", application) for name, application in apps.items()]
        routes.append(Mount("", plain[topology.routes[workload.operations[0].name]]))

        @contextlib.asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            async with contextlib.AsyncExitStack() as stack:
                for application in plain.values():
                    await stack.enter_async_context(application.router.lifespan_context(application))
                yield

        return Starlette(routes=routes, lifespan=lifespan)

    def _application(self, topology: Topology, service: str, addresses: Path, tools: Tools, workload: Workload) -> Starlette:
        config = ServiceConfig(
            provider="fake",
            deployment=self._deployment,
            service=service,
            instance=0,
            topology=topology,
            addresses_path=str(addresses),
            schema_prefix="",
        )
        return app(config, tools, workload, self.events.append)

    def _tools(self, workload: Workload) -> Tools:
        store, size = MemoryStore(), self._topology.model_size
        model: ModelAddress | None = None
        if name := workload.model_name(size):
            data, digest = workload.model_bytes(size)
            model = ModelAddress(key=f"models/{name}.onnx", sha256=digest)
            store.put(model.key, data)

        @functools.cache
        def database(owner: str) -> Database:
            self._databases[owner] = SqliteDatabase()
            return TimedDatabase(self._databases[owner])

        return Tools(store=TimedStore(store), database=database, model=lambda: fetch_model(store, model), model_size=size)


def _together(service: Service) -> Service:
    """All its instances as one application, which has the places of all."""
    instances = service.max_instances if service.scaling == "to_zero" else service.instances
    return replace(service, concurrency=service.concurrency * instances)


class _Stalling:
    """Holds back the requests that the script names; the deployment's count is kept by each entry."""

    def __init__(self, application: ASGIApp, stalls: Sequence[tuple[int, int, float]]) -> None:
        self._application, self._stalls = application, stalls
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._requests += 1
        for first, last, seconds in self._stalls:
            if first <= self._requests <= last:
                await asyncio.sleep(seconds)
        await self._application(scope, receive, send)


class _Function:
    """Stands in for the activator: the first request after `idle_timeout_s` without one waits for a simulated start."""

    def __init__(
        self,
        application: ASGIApp,
        service: Service,
        script: Script,
        tell: Callable[[str, str, Mapping[str, str | int | float | bool | None]], None],
    ) -> None:
        self._application, self._service, self._script, self._tell = application, service, script, tell
        self._starting = asyncio.Lock()
        self._last_s: float | None = None

    def warm(self, now_s: float) -> bool:
        return self._last_s is not None and now_s - self._last_s <= self._service.idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        recorder = timing.Recorder("activator")
        await self._start(recorder)
        began = perf_counter()

        async def timed(message: Sent) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                recorder.merge(headers.get(_TIMING, b"").decode(), self._service.name, began, perf_counter())
                message = {
                    **message,
                    "headers": [*((k, v) for k, v in message["headers"] if k != _TIMING), (_TIMING, recorder.header().encode())],
                }
            await send(message)

        await self._application(scope, receive, timed)
        self._last_s = self._script.clock()

    async def _start(self, recorder: timing.Recorder) -> None:
        began = perf_counter()
        async with self._starting:
            if not self.warm(self._script.clock()):
                await asyncio.sleep(self._script.cold_start_s)
                self._last_s = self._script.clock()
                recorder.add(self._service.name, "cold", began, perf_counter())
                self._tell("cold_start", self._service.name, {"total_ms": (perf_counter() - began) * 1e3})
