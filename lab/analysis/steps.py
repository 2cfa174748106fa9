"""From one rate's measurements on every valid deployment of a group to the figures of that step, and to the highest rate that held."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lab.analysis.measured import Measured, Step
from lab.analysis.results import Curve, StepFigures
from lab.analysis.stats import (
    mean_stat,
    percentile_name,
    quantile,
    quantile_stat,
    share_stat,
    supports,
    upper_bound,
)
from lab.analysis.validity import OFFERED_SHARE, primary_quantile
from lab.analysis.worth import Runs, bounds
from lab.model import Plan, Stat

Floats = NDArray[np.float64]
HEADLINE = (0.5, 0.95, 0.99)
CLOSED = Stat.missing("ms", "closed loop: hides waiting, so that there is service time only")
NO_CPU = "the provider does not tell the CPU, or its readings do not enclose the window"
# Evenly spaced up to p90, then evenly on the log axis of 1 - q, to p99.99: about 60 points.
_CURVE = np.unique(np.round(np.concatenate((np.linspace(0.02, 0.9, 30), 1 - np.geomspace(0.1, 1e-4, 28), HEADLINE)), 6))


def merged(columns: Sequence[Floats]) -> Floats:
    """Sorted, of sorted columns."""
    return np.sort(np.concatenate(columns), kind="stable") if columns else np.empty(0)


def figures(cells: Sequence[Measured], rate_per_s: float, plan: Plan, wrong_limit: float) -> StepFigures:
    """`cells` are the valid deployments of one group in order of block. A closed loop has service times only."""
    pairs = [(cell, step) for cell in cells for step in cell.steps if step.rate_per_s == rate_per_s]
    closed = cells[0].cell.load.closed
    steps = [step for _, step in pairs]
    latencies = [s.latency_ms for s in steps]
    latency, service = merged(latencies), merged([s.service_ms for s in steps])
    queued, served = [s.latency_runs for s in steps], [s.service_runs for s in steps]
    quantiles = sorted({*HEADLINE, plan.slo_percentile / 100, primary_quantile(plan.primary_metric) or 0.5})
    offered = sum(s.offered for s in steps)
    lags = [s.lag_ms for s in steps]
    return StepFigures(
        rate_per_s=steps[0].rate_per_s,
        offered_per_s=mean_stat([s.offered / s.window_s for s in steps], "1/s"),
        achieved_per_s=mean_stat([s.achieved / s.window_s for s in steps], "1/s"),
        latency={percentile_name(q): CLOSED if closed else quantile_stat(latency, q, "ms", queued) for q in quantiles},
        service={percentile_name(q): quantile_stat(service, q, "ms", served) for q in quantiles},
        error_rate=share_stat(sum(s.failed for s in steps), offered),
        wrong_rate=share_stat(*_wrong(steps), why_missing="no answer was checked"),
        lag_p99_ms=quantile_stat(merged(lags), 0.99, "ms", [(lag,) for lag in lags]),
        utilisation=_over([_utilisation(cell, step) for cell, step in pairs], "share"),
        cpu_ms_architecture=_over([s.cpu_ms(s.cpu_architecture_s) for s in steps], "ms"),
        cpu_ms_platform=_over([s.cpu_ms(s.cpu_platform_s) for s in steps], "ms"),
        held=not closed and _held(steps, latency, plan, wrong_limit),
        percentiles=curve(latency, queued),
        per_deployment_ms=per_deployment_ms(latencies, primary_quantile(plan.primary_metric) or 0.5),
        by_operation=_by_operation(steps),
    )


def per_deployment_ms(latencies: Sequence[Floats], q: float) -> tuple[float, ...]:
    """The quantile of each deployment; empty unless every one supports it by itself."""
    return tuple(quantile(one, q) for one in latencies) if all(supports(q, len(one)) for one in latencies) else ()


def curve(ordered: Floats, windows: Sequence[Runs] = ()) -> Curve:
    """Every quantile that n supports, with its interval at what the samples are worth (at most from the smallest to the largest one)."""
    qs = [float(q) for q in _CURVE if supports(float(q), len(ordered))]
    if not qs:
        return Curve(x=(), y=(), low=(), high=())
    found = bounds(ordered, qs, windows)
    return Curve(x=tuple(qs), y=tuple(quantile(ordered, q) for q in qs), low=tuple(found.low.tolist()), high=tuple(found.high.tolist()))


def _wrong(steps: Sequence[Step]) -> tuple[int, int]:
    return sum(sum(s.wrong.values()) for s in steps), sum(sum(s.checked.values()) for s in steps)


def _over(values: Sequence[float | None], unit: str) -> Stat:
    known = [v for v in values if v is not None]
    return mean_stat(known, unit) if known and len(known) == len(values) else Stat.missing(unit, NO_CPU)


def _utilisation(cell: Measured, step: Step) -> float | None:
    """Share of the architecture's CPU budget that it used."""
    if cell.cell.topology is None or step.cpu_architecture_s is None:
        return None
    return step.cpu_architecture_s / step.window_s / cell.cell.topology.cpus


def _by_operation(steps: Sequence[Step]) -> dict[str, Stat]:
    """p50 of each operation."""
    names = sorted({name for s in steps for name in s.by_operation})
    columns = {name: [s.by_operation[name] for s in steps if name in s.by_operation] for name in names}
    return {name: quantile_stat(merged(of), 0.5, "ms", [(one,) for one in of]) for name, of in columns.items()}


# ---- the highest rate that held --------------------------------------------------------------------------------------


def _held(steps: Sequence[Step], latency: Floats, plan: Plan, wrong_limit: float) -> bool:
    """In every deployment, and over all of them: the upper bound of the SLO's percentile where supported, else its value."""
    q = plan.slo_percentile / 100
    if not len(latency) or not all(_held_once(s, q, plan, wrong_limit) for s in steps):
        return False
    return upper_bound(latency, q, [s.latency_runs for s in steps]) <= plan.slo_ms


def _held_once(step: Step, q: float, plan: Plan, wrong_limit: float) -> bool:
    """By chance two requests may still be on their way when the window ends, however short it is."""
    late = step.offered - step.achieved
    errors = step.failed > plan.error_rate_limit * step.offered
    shares = [share_stat(n, step.checked[name]).low for name, n in step.wrong.items() if n]
    wrong = any(low is not None and low > wrong_limit for low in shares)
    slow = not len(step.latency_ms) or quantile(step.latency_ms, q) > plan.slo_ms
    return not (errors or wrong or slow) and late <= max(2, (1 - OFFERED_SHARE) * step.offered)


def held_rate(steps: Sequence[StepFigures], deployments: int, plan: Plan) -> Stat:
    """The highest rate that held. The limit lies between it (`low`) and the next rate of the ladder (`high`; None if it was the last)."""
    held = [s.rate_per_s for s in steps if s.held]
    if not held:
        name = percentile_name(plan.slo_percentile / 100)
        return Stat.missing("1/s", f"no rate held: wanted {name} within {plan.slo_ms:g} ms and {OFFERED_SHARE:.0%} of requests answered")
    above = [s.rate_per_s for s in steps if s.rate_per_s > max(held)]
    return Stat(value=max(held), low=max(held), high=min(above) if above else None, n=deployments, unit="1/s")
