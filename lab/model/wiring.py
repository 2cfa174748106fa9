"""From placed services and a workload's operations to the routes, edges and needs of a topology."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.topology import Edge, Need, Service
from lab.model.workload import Operation, Shape


def entries(services: Sequence[Service], operations: Sequence[Operation]) -> dict[str, str]:
    """Routes that send every operation to the service that holds its first stage."""
    holder = {stage: s.name for s in services for stage in s.stages}
    return {op.name: holder[op.stages[0]] for op in operations}


def calls(
    services: Sequence[Service], routes: Mapping[str, str], operations: Sequence[Operation], *, timeout_s: float, retries: int
) -> tuple[Edge, ...]:
    """An edge from each operation's entry to every other service that holds one of its stages, in order of first use."""
    holder = {stage: s.name for s in services for stage in s.stages}
    pairs = dict.fromkeys((routes[op.name], holder[stage]) for op in operations for stage in op.stages if holder[stage] != routes[op.name])
    return tuple(Edge(source=source, target=target, timeout_s=timeout_s, retries=retries) for source, target in pairs)


def needs(shape: Shape) -> tuple[Need, ...]:
    """The object store always (it also holds the model), a database when a stage owns a schema, the model when a stage uses it."""
    found: list[Need] = ["object_store"]
    if any(stage.owns for stage in shape.stages):
        found.append("database")
    if any(stage.uses_model for stage in shape.stages):
        found.append("model")
    return tuple(found)
