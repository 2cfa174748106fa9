"""From the valid deployments of a group to what each of its services used at the primary rate, and to how they start from zero."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lab.analysis.counters import Tier
from lab.analysis.measured import Measured, Step
from lab.analysis.results import Curve, ServiceFigures
from lab.analysis.stats import mean_stat
from lab.model import Event, Service, Stat

COLD_START, INVOCATION = "cold_start", "invocation"
TOTALS = ("duration_ms", "total_ms")  # of a cold_start: its whole, beside its phases
DURATIONS = 50  # points that describe the durations of a function's invocations
NOT_TOLD = "the provider does not tell it, or its readings do not enclose the window"
Cells = Sequence[tuple[Measured, Step]]


def services(cells: Cells, scaler: str = "") -> tuple[ServiceFigures, ...]:
    """`cells`: valid deployments, each with its step at the primary rate; those of the topology in its order, then the platform's.
    `scaler`: the provider's, of services with scaling on_cpu."""
    topology = cells[0][0].cell.topology
    placed = {s.name: s for s in topology.services} if topology else {}
    read: dict[str, Tier] = {s.service: s.tier for cell, _ in cells for s in cell.counters.series}
    events = [[e for e in cell.events if e.kind in (COLD_START, INVOCATION)] for cell, _ in cells]
    return tuple(
        _scaled(_service(name, read.get(name, "architecture"), placed.get(name), cells, events), placed.get(name), cells, scaler)
        for name in [*placed, *sorted(n for n in read if n not in placed)]
    )


def _service(name: str, tier: str, placed: Service | None, cells: Cells, events: Sequence[Sequence[Event]]) -> ServiceFigures:
    invocations = [_invocations(cell, step, of, name) for (cell, step), of in zip(cells, events, strict=True)]
    known = [i for i in invocations if i is not None] if placed and placed.billing == "function" else []
    instances = [i for cell, step in cells if (i := _instances(cell, step, name)) is not None]
    return ServiceFigures(
        service=name,
        tier=tier,
        billing=placed.billing if placed else "managed" if tier == "platform" else "container",
        instances=float(np.mean(instances)) if instances else float(placed.instances if placed else 1),
        cpu_ms_per_request=_over([_cpu_ms(cell, step, name) for cell, step in cells], "ms"),
        memory_mib=_over([_memory_mib(cell, step, name) for cell, step in cells], "MiB"),
        memory_configured_mib=float(placed.memory_mib) if placed else 0.0,
        cpus_configured=float(placed.cpus) if placed else 0.0,
        start_s=_start_s(name, tier, cells, events),
        invocations_per_request=float(np.mean([len(ms) / completed for ms, completed in known])) if known else None,
        billed_ms_per_request=float(np.mean([sum(ms) / completed for ms, completed in known])) if known else None,
        durations_ms=_quantiles([one for ms, _ in known for one in ms]),
    )


def _scaled(figures: ServiceFigures, placed: Service | None, cells: Cells, scaler: str) -> ServiceFigures:
    """With what set the number of its instances, and what that was at each rate."""
    by = {"on_cpu": scaler, "to_zero": "activator", "fixed": ""}[placed.scaling] if placed else ""
    if not by:
        return figures
    seen: dict[float, list[tuple[float, float, float]]] = defaultdict(list)
    for cell, _ in cells:
        series = next((s for s in cell.counters.series if s.service == figures.service), None)
        for step in cell.steps if series is not None else ():
            if series is not None and (found := cell.counters.instances_between(series, step.start_s, step.end_s)) is not None:
                seen[step.rate_per_s].append(found)
    if not seen:
        return replace(figures, scaler=by)
    rates = sorted(seen)
    mean = tuple(float(np.mean([m for m, _, _ in seen[r]])) for r in rates)
    least, most = (tuple(float(pick([s[i] for s in seen[r]])) for r in rates) for i, pick in ((1, min), (2, max)))
    return replace(figures, scaler=by, replicas=Curve(x=tuple(rates), y=mean, low=least, high=most))


def _over(values: Sequence[float | None], unit: str) -> Stat:
    known = [v for v in values if v is not None]
    return mean_stat(known, unit) if known and len(known) == len(values) else Stat.missing(unit, NOT_TOLD)


def _cpu_ms(cell: Measured, step: Step, name: str) -> float | None:
    series = next((s for s in cell.counters.series if s.service == name), None)
    return None if series is None else step.cpu_ms(cell.counters.cpu_s(series, step.start_s, step.end_s))


def _memory_mib(cell: Measured, step: Step, name: str) -> float | None:
    series = next((s for s in cell.counters.series if s.service == name), None)
    return None if series is None else cell.counters.memory_mib(series, step.start_s, step.end_s)


def _instances(cell: Measured, step: Step, name: str) -> float | None:
    series = next((s for s in cell.counters.series if s.service == name), None)
    return None if series is None else cell.counters.instances(series, step.start_s, step.end_s)


def _quantiles(durations_ms: Sequence[float]) -> tuple[float, ...]:
    """At most DURATIONS of them, to the microsecond."""
    if len(durations_ms) <= DURATIONS:
        return tuple(sorted(durations_ms))
    return tuple(round(float(q), 3) for q in np.quantile(durations_ms, (np.arange(DURATIONS) + 0.5) / DURATIONS))


def _invocations(cell: Measured, step: Step, events: Sequence[Event], name: str) -> tuple[list[float], int] | None:
    """ms of each invocation in the window, and how many requests of all operations it completed; None where the provider tells of none
    at all."""
    if not step.completed or not any(e.kind == INVOCATION for e in events):
        return None
    here = [e for e in events if e.kind == INVOCATION and e.service == name and step.start_s <= cell.driver_s(e) <= step.end_s]
    return [_number(e, "duration_ms") for e in here], step.completed


def _start_s(name: str, tier: str, cells: Cells, events: Sequence[Sequence[Event]]) -> Stat:
    """To ready at deployment; of what starts on demand, the median of its cold starts in each cell."""
    found = []
    for (cell, _), of in zip(cells, events, strict=True):
        cold = [_duration_ms(e) / 1e3 for e in of if e.kind == COLD_START and e.service == name]
        at_deployment = (cell.status.ready_s or {}).get(name)
        if at_deployment is not None or cold:
            found.append(at_deployment if at_deployment is not None else float(np.median(cold)))
    return mean_stat(found, "s", "the platform starts once per Lab" if tier == "platform" else "no start of it was seen")


def ready_s(cells: Sequence[Measured]) -> Stat:
    """Until the last service of a deployment was ready."""
    return mean_stat([max(c.status.ready_s.values()) for c in cells if c.status.ready_s], "s", "the provider tells no start times")


# ---- from zero -------------------------------------------------------------------------------------------------------


def cold_ms(cells: Sequence[Measured]) -> Stat:
    """From the intended start of a request that found nothing running to its answer: the median of each deployment, over deployments."""
    topology = cells[0].cell.topology
    why = "no request met a cold start" if topology and topology.activated else "nothing scales to zero here"
    return mean_stat([float(np.median(c.cold_ms)) for c in cells if len(c.cold_ms)], "ms", why)


def cold_phases_ms(cells: Sequence[Measured]) -> Mapping[str, float]:
    """Per cold request, the sum over all instances that started for it, by phase; `spawn` is what a start took beyond its own phases,
    `first request` what the request took beyond the starts."""
    phases: dict[str, float] = defaultdict(float)
    requests = sum(len(c.cold_ms) for c in cells)
    for cell in cells:
        for event in cell.events if cell.cold_span_s and len(cell.cold_ms) else ():
            if event.kind == COLD_START and cell.cold_span_s and cell.cold_span_s[0] <= cell.driver_s(event) <= cell.cold_span_s[1]:
                own = {k.removesuffix("_ms"): _number(event, k) for k in event.values if k.endswith("_ms") and k not in TOTALS}
                for name, ms in own.items():
                    phases[name] += ms / requests
                phases["spawn"] += max(0.0, _duration_ms(event) - sum(own.values())) / requests
    if not phases:
        return {}
    rest = sum(float(c.cold_ms.sum()) for c in cells) / requests - sum(phases.values())
    ordered = {"spawn": phases.pop("spawn"), **phases}
    return ordered | ({"first request": rest} if rest > 0 else {})


def _duration_ms(event: Event) -> float:
    whole = [_number(event, name) for name in TOTALS if name in event.values]
    return whole[0] if whole else sum(_number(event, k) for k in event.values if k.endswith("_ms"))


def _number(event: Event, name: str) -> float:
    value = event.values.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
