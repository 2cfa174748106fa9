"""The embedded provider in tests: topologies of noop, clients of the stores, and the processes of a Lab."""

from __future__ import annotations

import time

import psutil

from lab import registry
from lab.contracts import Endpoint
from lab.model import Budget, Shape, Topology
from lab.providers.embedded import object_store
from lab.providers.embedded.layout import Layout
from lab.runtime.config import DatabaseAddress
from lab.runtime.databases import PostgresDatabase
from lab.settings import Settings
from lab.spawn import Record

START_S = 30.0


def noop(architecture: str) -> Topology:
    workload, placing = registry.workload("noop"), registry.architecture(architecture)
    shape = Shape(name="noop", model_size="S", stages=workload.stages, operations=workload.operations)
    return placing.place(shape, Budget(), placing.Options())


def deadline() -> float:
    return time.monotonic() + START_S


def stores(settings: Settings, endpoints: tuple[Endpoint, ...]) -> tuple[object_store.Store, PostgresDatabase]:
    found = {e.service: e for e in endpoints}
    port = int(found["database"].url.rpartition("/")[0].rpartition(":")[2])
    address = DatabaseAddress(host="127.0.0.1", port=port, name="postgres", credentials_path=found["database"].credentials)
    return object_store.Store(process=None, endpoint=found["object_store"]), PostgresDatabase(address, "kept")


def processes(settings: Settings) -> dict[str, psutil.Process]:
    lines = list(Record.lines(Layout(settings.state).processes))
    services = {str(line["intent"]): str(line["service"]) for line in lines if "service" in line}
    pids = {services[str(line["intent"])]: int(str(line["pid"])) for line in lines if "pid" in line}
    return {service: psutil.Process(pid) for service, pid in pids.items() if psutil.pid_exists(pid)}
