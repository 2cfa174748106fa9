"""A group's figures in, the parts that they are made of out: of a median request, of CPU, of a cold start, of a month's bill."""

from __future__ import annotations

from collections.abc import Mapping

from lab.analysis.results import CostAt, Group, StepFigures
from lab.model import Stat

WORK, REST = "own work", "outside all spans"
ORDER = (WORK, "hops", "queues", "object store", "database", "between spans", "gateway, network", "driver", REST)
NAMES: Mapping[tuple[str, str], str] = {
    ("other", "driver lag"): "driver",
    ("other", "edge"): "gateway, network",
    ("other", "host"): "between spans",
}
KINDS: Mapping[str, str] = {
    "hop": "hops",
    "queue": "queues",
    "batch": "queues",
    "cold": "queues",
    "store": "object store",
    "database": "database",
}
INSIDE_STAGES = ("store", "database", "batch")  # their time is part of a stage's


def at_primary(group: Group, rate_per_s: float) -> StepFigures | None:
    return next((s for s in group.steps if s.rate_per_s == rate_per_s), None)


def latency_ms(group: Group, p50: Stat) -> dict[str, float]:
    """Means of the requests near the median, from their Server-Timing headers; what is left of p50 is outside all spans. Empty without
    headers."""
    if not group.waterfall or p50.value is None:
        return {}
    found = {WORK: 0.0}
    for span in group.waterfall:
        if span.kind == "stage":
            found[WORK] += span.duration_ms
            continue
        name = NAMES.get((span.kind, span.name)) or KINDS.get(span.kind, span.kind)
        found[name] = found.get(name, 0.0) + span.duration_ms
        if span.kind in INSIDE_STAGES:
            found[WORK] -= span.duration_ms
    return found | {REST: p50.value - sum(found.values())}


def cpu_ms(group: Group) -> dict[str, float]:
    """Per request and service of the architecture; empty unless all were measured."""
    mine = {s.service: s.cpu_ms_per_request.value for s in group.services if s.tier == "architecture"}
    known = {name: value for name, value in mine.items() if value is not None}
    return known if len(known) == len(mine) else {}


def cold_ms(group: Group) -> dict[str, float]:
    """Phases, and what the median cold request took beside their means."""
    phases, whole = dict(group.cold_phases_ms), group.cold_ms.value
    return phases | {"beside the phases": whole - sum(phases.values())} if phases and whole is not None else {}


def month_usd(at: CostAt) -> dict[str, float]:
    """Allocation by kind of cost, as in the headline figures (grades A and B)."""
    found: dict[str, float] = {}
    for line in at.lines:
        if line.grade != "C":
            name = line.kind.replace("_", " ")
            found[name] = found.get(name, 0.0) + line.allocation_usd
    return found


def difference(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    """b - a, part by part; empty where one of them has none."""
    return {name: b.get(name, 0.0) - a.get(name, 0.0) for name in {**a, **b}} if a and b else {}


def side_by_side(a: str, of_a: Mapping[str, float], b: str, of_b: Mapping[str, float]) -> dict[str, float]:
    """b - a where no part of one is a part of the other: services of two architectures."""
    if not of_a or not of_b:
        return {}
    return {f"{b} {name}": value for name, value in of_b.items()} | {f"{a} {name}": -value for name, value in of_a.items()}
