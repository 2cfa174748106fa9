"""Where the stages of a workload run: cloud-neutral plain data that every provider can stand up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.model.workload import ModelSize, Operation, Stage

Billing = Literal["vm", "container", "function", "managed"]
Need = Literal["object_store", "database", "bus", "model"]
ROUNDING = 1 + 1e-9  # of shares that add up to the budget


@dataclass(frozen=True, kw_only=True, slots=True)
class Batching:
    """Dynamic batching: a batch closes when it holds `max_size` messages or its first one has waited `max_delay_ms`."""

    max_size: int
    max_delay_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """One kind of process. `concurrency` is how many requests one instance works on at once; more wait in its queue.

    scaling `fixed`: `instances` run all the time. `to_zero`: between 0 and `max_instances`, started on demand by the activator,
    at most `max_concurrent_starts` at once, stopped after `idle_timeout_s`; a request waits at most `queue_deadline_s`, then 429.
    `on_cpu`: between `instances` and `max_instances`, so that each uses about `target_cpu` of its CPUs; by the provider's scaler.
    role `activator`: the process that does so; it is part of the architecture's budget and billed with the functions.
    """

    name: str
    stages: tuple[str, ...] = ()
    role: Literal["host", "activator"] = "host"
    scaling: Literal["fixed", "to_zero", "on_cpu"] = "fixed"
    billing: Billing = "container"
    instances: int = 1
    max_instances: int = 1
    max_concurrent_starts: int = 1
    concurrency: int = 8
    idle_timeout_s: float = 60.0
    queue_deadline_s: float = 10.0
    target_cpu: float = 0.7
    memory_mib: int = 512
    cpus: float = 1.0
    batching: Batching | None = None
    page: bool = False

    @property
    def most(self) -> int:
        """Instances that may run at the same time: what the budget must hold."""
        return self.instances if self.scaling == "fixed" else self.max_instances


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """`source` may call `target` (by name); a call is tried at most 1 + `retries` times, all of it within `timeout_s`."""

    source: str
    target: str
    kind: Literal["call", "event"] = "call"
    timeout_s: float = 10.0
    retries: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Topology:
    """`routes` maps an operation's name to the service that the gateway sends it to; that service walks the operation's stages and calls
    others for those it does not hold, consecutive stages of one service in one call."""

    architecture: str
    workload: str
    model_size: ModelSize = "M"
    services: tuple[Service, ...]
    edges: tuple[Edge, ...] = ()
    routes: Mapping[str, str]
    needs: tuple[Need, ...] = ("object_store", "database")
    cpus: float = 1.0
    memory_mib: int = 2048
    options: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def service(self, name: str) -> Service:
        return next(s for s in self.services if s.name == name)

    def holder(self, stage: str) -> Service:
        """The service that holds `stage`."""
        return next(s for s in self.services if stage in s.stages)

    def edge(self, source: str, target: str) -> Edge:
        return next(e for e in self.edges if (e.source, e.target) == (source, target))

    @property
    def activated(self) -> bool:
        return any(s.scaling == "to_zero" for s in self.services)

    @property
    def autoscaled(self) -> tuple[Service, ...]:
        """Those that the provider's scaler sizes."""
        return tuple(s for s in self.services if s.scaling == "on_cpu")

    @property
    def beyond_cpus(self) -> str:
        """That its instances may use more CPUs than the budget where each is held to its own; empty when they may not."""
        cpus = sum(s.cpus * s.most for s in self.services)
        beyond = cpus > self.cpus * ROUNDING
        return f"services may use {cpus:.3g} CPUs together when all are scaled out; the budget is {self.cpus:g}" if beyond else ""

    def problems(self, stages: tuple[Stage, ...], operations: tuple[Operation, ...]) -> list[str]:
        """Every rule that it breaks, as sentences; empty when it can be deployed."""
        return list(self._names(stages)) + list(self._sizes()) + list(self._reach(operations))

    def _names(self, stages: tuple[Stage, ...]) -> Iterator[str]:
        names = Counter(s.name for s in self.services)
        yield from (f"two services are called {name!r}" for name, n in names.items() if n > 1)
        placed = Counter(stage for s in self.services for stage in s.stages)
        known = {s.name for s in stages}
        for stage in sorted(known - placed.keys()):
            yield f"stage {stage!r} is placed in no service"
        for stage, n in placed.items():
            if stage not in known:
                yield f"stage {stage!r} is placed, but the workload has no such stage (it has {', '.join(sorted(known))})"
            elif n > 1:
                yield f"stage {stage!r} is placed in {n} services"
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in names:
                    yield f"edge {edge.source} -> {edge.target} names the unknown service {end!r}"

    def _sizes(self) -> Iterator[str]:
        for s in self.services:
            if s.instances < 0 or s.max_instances < max(1, s.instances):
                yield f"service {s.name}: {s.instances} instances of at most {s.max_instances}; wanted no more, and a maximum of 1 at least"
            if s.scaling != "to_zero" and s.instances < 1:
                yield f"service {s.name}: scaling {s.scaling} with {s.instances} instances; wanted 1 at least"
            if s.scaling == "on_cpu" and not 0 < s.target_cpu <= 1:
                yield f"service {s.name}: target_cpu {s.target_cpu:g}; wanted more than 0 and 1 at most"
            if s.concurrency < 1:
                yield f"service {s.name}: concurrency {s.concurrency}; wanted 1 at least"
        memory = sum(s.memory_mib * s.most for s in self.services)
        if memory > self.memory_mib:
            yield f"services may use {memory} MiB together; the budget is {self.memory_mib} MiB"
        if self.autoscaled and self.beyond_cpus:
            yield self.beyond_cpus
        activators = sum(s.role == "activator" for s in self.services)
        if self.activated and activators != 1:
            yield f"functions that scale to zero need exactly one activator; found {activators}"

    def _reach(self, operations: tuple[Operation, ...]) -> Iterator[str]:
        names = {s.name for s in self.services}
        calls = {(e.source, e.target) for e in self.edges}
        holder = {stage: s.name for s in self.services for stage in s.stages}
        for op in operations:
            entry = self.routes.get(op.name)
            if entry is None:
                yield f"operation {op.name!r} has no route"
            elif entry not in names:
                yield f"operation {op.name!r} is routed to the unknown service {entry!r}"
            else:
                for target in sorted({holder[s] for s in op.stages if s in holder} - {entry}):
                    if (entry, target) not in calls:
                        yield f"operation {op.name!r} enters at {entry} and needs {target}, but there is no edge {entry} -> {target}"
        yield from (f"route for the unknown operation {name!r}" for name in sorted(set(self.routes) - {o.name for o in operations}))
