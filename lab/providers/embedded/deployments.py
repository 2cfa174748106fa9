"""One standing deployment: from a DeployRequest to running services behind the gateway, with their instances, usage and events."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec

from lab.contracts import Deployment, Fault
from lab.errors import InputError, MachineError
from lab.model import Event, Service, Usage
from lab.providers.embedded import control
from lab.providers.embedded.control import DeployRequest
from lab.providers.embedded.faults import Faults
from lab.providers.embedded.instances import Door, Instance, Starter
from lab.providers.embedded.layout import Layout, own_folder, remove_tree
from lab.providers.embedded.platform import Platform
from lab.rundir import append, encode, write
from lab.runtime import consumption, gateway_routes
from lab.runtime.config import FUNCTIONS_PATH, ServiceConfig
from lab.runtime.consumption import Consumption
from lab.runtime.naming import bucket, schema_prefix
from lab.spawn import Process, Record

STOP_S = 5.0


class Deployed:
    """Its lock guards the list of instances; nothing is started or stopped while it is held."""

    def __init__(self, request: DeployRequest, layout: Layout, record: Record, platform: Platform, cpus: tuple[int, ...]) -> None:
        self.request = request
        self.id = request.deployment
        self.routed = False  # the gateway has one URL, which is that of the last deployment
        self._layout, self._platform = layout, platform
        self._folder = layout.deployment(self.id)
        self._starter = Starter(folder=self._folder, record=record, cpus=cpus, project=request.project, python=request.python)
        self._lock = threading.Lock()
        self._instances: list[Instance] = []
        self._processes: dict[int, Process] = {}  # every one that runs, ready or not
        self._leaving: set[int] = set()  # pids that we stop
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._ended: defaultdict[str, Consumption] = defaultdict(Consumption)
        self._last_seen: dict[int, Consumption] = {}
        self._closed = False
        self._faults = Faults(self._tell)

    # ---- start and stop ------------------------------------------------------------------------------------------------

    def start(self, timeout_s: float) -> Deployment:
        """All services at the same time; raises the first failure, after which the caller retires it."""
        deadline = time.monotonic() + timeout_s
        own_folder(self._folder, 0o700)
        own_folder(self._folder / "logs", 0o700)
        if {"object_store", "model"} & set(self.request.topology.needs):
            model = self.request.model
            objects = {model.key: Path(self.request.model_path).read_bytes()} if model is not None else {}
            self._platform.store.make_bucket(bucket(self.id), objects)
        doors = [(service, Door.open()) for service in self.request.topology.services for _ in range(service.instances)]
        addresses = self._write_addresses(doors)
        with ThreadPoolExecutor(max(1, len(doors))) as pool:
            starting = [pool.submit(self._start_one, service, door, deadline) for service, door in doors]
            for done in as_completed(starting):
                if done.exception() is not None:
                    self._halt(grace_s=0)  # ends the waiting for the others
            ready = [each.result() for each in starting]
        door = self._platform.gateway
        self.routed = True
        door.route(gateway_routes.routes(self.id, self.request.topology, self.request.operations, addresses))
        door.await_deployment(self.id, deadline)
        ready_s = {name: max(i.ready_s for i in ready if i.service == name) for name in {i.service for i in ready}}
        return Deployment(id=self.id, url=door.endpoint.url, ready_s=ready_s, control_url=self._activator())

    def retire(self) -> None:
        """Stops everything, and removes its routes, bucket, schemas and files."""
        if self.routed and self._platform.gateway.process.alive:
            self._platform.gateway.route(gateway_routes.NO_ROUTES)
        self._halt(STOP_S)
        erase(self.id, self._layout, self._platform)

    def _halt(self, grace_s: float) -> None:
        with self._lock:
            self._closed = True
            running = list(self._processes.values())
            self._leaving |= {p.pid for p in running}
            self._instances.clear()
        if running:
            with ThreadPoolExecutor(len(running)) as pool:
                list(pool.map(lambda p: self._stop(p, grace_s), running))

    def _stop(self, process: Process, grace_s: float) -> None:
        self._faults.resume(process)
        process.stop(grace_s)

    def _start_one(self, service: Service, door: Door, deadline: float) -> Instance:
        with self._lock:
            self._numbers[service.name] += 1
            number = self._numbers[service.name]
        instance = self._starter.start(self._config(service, number), door, deadline, self._started, self._end)
        with self._lock:
            if not instance.process.alive or self._closed:
                raise MachineError(instance.process.failure(), "it ended as soon as it was ready")
            self._instances.append(instance)
        self._tell("ready", service.name, {"instance": number, "url": instance.url, **instance.phases_ms})
        return instance

    def _started(self, process: Process) -> None:
        with self._lock:
            if process.alive:  # else _end was called already
                self._processes[process.pid] = process
            closed = self._closed
        if closed:
            process.stop(grace_s=0)

    def _end(self, process: Process) -> None:
        """However it ended: its CPU time stays in the totals."""
        self._faults.resume(process)
        with self._lock:
            self._processes.pop(process.pid, None)
            gone = [i for i in self._instances if i.process is process]
            self._instances = [i for i in self._instances if i.process is not process]
            last = self._last_seen.pop(process.pid, Consumption())
            used = Consumption(cpu_s=max(process.cpu_s, last.cpu_s), bytes_read=last.bytes_read, bytes_written=last.bytes_written)
            service = process.command.service
            self._ended[service] = self._ended[service].plus(used)
            expected = process.pid in self._leaving
        if not expected and not self._closed:
            number = gone[0].number if gone else None
            self._tell("crash", service, {"instance": number, "exit": process.returncode})

    def _config(self, service: Service, number: int) -> ServiceConfig:
        topology = self.request.topology
        needs = set(topology.needs)
        return ServiceConfig(
            provider="embedded",
            deployment=self.id,
            service=service.name,
            instance=number,
            topology=topology,
            addresses_path=str(self._folder / "addresses.json"),
            schema_prefix=schema_prefix(self.id),
            store=self._platform.store.address(bucket(self.id)) if needs & {"object_store", "model"} else None,
            database=self._platform.database.address if "database" in needs else None,
            model=self.request.model,
            replicas_handle=control.handle(self._layout.control, self.id) if service.role == "activator" else "",
        )

    # ---- addresses -----------------------------------------------------------------------------------------------------

    def _write_addresses(self, doors: list[tuple[Service, Door]]) -> Mapping[str, list[str]]:
        """Functions are reached through the activator, whether they run or not."""
        found: dict[str, list[str]] = {s.name: [] for s in self.request.topology.services}
        for service, door in doors:
            found[service.name].append(door.url)
        return self._publish(found)

    def _publish(self, found: dict[str, list[str]]) -> Mapping[str, list[str]]:
        services = self.request.topology.services
        activators = [url for s in services if s.role == "activator" for url in found[s.name]]
        for s in services:
            if s.scaling == "to_zero":
                found[s.name] = [f"{url}{FUNCTIONS_PATH}/{s.name}" for url in activators]
        write(self._folder / "addresses.json", encode(found))
        return found

    def _readdress(self, service: str) -> None:
        """After a service has got or lost an instance that its callers know."""
        if self.request.topology.service(service).scaling != "to_zero":
            found = self._publish({s.name: list(self.urls(s.name)) for s in self.request.topology.services})
            if self.routed:
                self._platform.gateway.route(gateway_routes.routes(self.id, self.request.topology, self.request.operations, found))

    def _activator(self) -> str:
        """Its own address; empty where nothing scales to zero."""
        names = [s.name for s in self.request.topology.services if s.role == "activator"]
        return next((url for name in names for url in self.urls(name)), "")

    # ---- replicas ------------------------------------------------------------------------------------------------------

    def urls(self, service: str) -> tuple[str, ...]:
        with self._lock:
            return tuple(i.url for i in self._instances if i.service == service)

    def add(self, name: str, timeout_s: float) -> Instance:
        """Ready. The activator, who asks for instances of functions, tells of cold starts itself."""
        instance = self._start_one(self._service(name), Door.open(), time.monotonic() + timeout_s)
        self._readdress(name)
        return instance

    def remove(self, name: str, url: str) -> None:
        """Fine if it is gone already."""
        with self._lock:
            chosen = [i for i in self._instances if i.service == name and i.url == url]
            self._instances = [i for i in self._instances if i not in chosen]
            self._leaving |= {i.process.pid for i in chosen}
        if chosen:
            self._readdress(name)
        for instance in chosen:
            self._stop(instance.process, STOP_S)

    def set(self, name: str, count: int, timeout_s: float) -> None:
        before = len(self.urls(name))
        for _ in range(before, count):
            self.add(name, timeout_s)
        for url in self.urls(name)[count:]:
            self.remove(name, url)
        if count != before:
            self._tell("scale", name, {"from": before, "to": count})

    def inject(self, name: str, fault: Fault, duration_s: float) -> None:
        """Breaks the service's first instance."""
        service = self._service(name).name
        with self._lock:
            chosen = next((i for i in self._instances if i.service == service), None)
        if chosen is None:
            raise MachineError(f"no instance of {name} runs that could be broken", "send it a request first, or fill its pool")
        self._faults.inject(chosen, fault, duration_s)

    def _service(self, name: str) -> Service:
        found = next((s for s in self.request.topology.services if s.name == name), None)
        if found is None:
            raise InputError(
                f"deployment {self.id} has no service {name!r}", f"it has {', '.join(s.name for s in self.request.topology.services)}"
            )
        return found

    # ---- what it tells -------------------------------------------------------------------------------------------------

    def usage(self) -> Iterator[Usage]:
        for service in self.request.topology.services:
            with self._lock:
                running = [p for p in self._processes.values() if p.command.service == service.name]
            total = Consumption()
            for process in running:
                used = consumption.of(process.tree())
                with self._lock:
                    if process.pid in self._processes:  # else it has ended, and is in the totals
                        seen = self._last_seen.get(process.pid, used)
                        self._last_seen[process.pid] = used if used.cpu_s >= seen.cpu_s else seen
                        total = total.plus(self._last_seen[process.pid])
            with self._lock:
                total = total.plus(self._ended[service.name])
            yield Usage(
                at_s=time.monotonic(),
                service=service.name,
                tier="architecture",
                instances=len(self.urls(service.name)),
                cpu_s=total.cpu_s,
                memory_mib=total.memory_mib,
                bytes_read=total.bytes_read,
                bytes_written=total.bytes_written,
            )

    def _tell(self, kind: str, service: str, values: Mapping[str, str | int | float | None], at_s: float | None = None) -> None:
        event = Event(at_s=time.monotonic() if at_s is None else at_s, clock="monotonic", kind=kind, service=service, values=values)
        append(self._folder / "events.jsonl", msgspec.json.encode(event) + b"\n")


def erase(deployment: str, layout: Layout, platform: Platform) -> None:
    """Its bucket, schemas and files, where they are; also of a deployment that an earlier supervisor left."""
    platform.check()
    platform.store.remove_bucket(bucket(deployment))
    platform.database.drop_schemas(schema_prefix(deployment))
    remove_tree(layout.deployment(deployment))
