"""A Summary and a Comparison as `lab run map` leaves them: three model sizes at five rates."""

from __future__ import annotations

from dataclasses import replace

from lab.analysis import wins
from lab.analysis.results import Comparison, CostAt, Group, Summary
from tests.unit import report_samples as samples

RATES = (2.0, 5.0, 10.0, 20.0, 40.0)
TRAFFIC = (0.1, 1.0, 10.0, 50.0)
SIZES = {"S": 1.0, "M": 1.6, "L": 3.4}


def summary() -> Summary:
    """Three sizes at five rates. At S microservices are near three_tier and win the highest rate, as at M; at L only three_tier holds 20/s,
    and none 40/s."""
    groups = tuple(_at_size(samples.group(name), size) for name in samples.ARCHITECTURES for size in SIZES)
    return replace(samples.summary(), scenario="map", traffic_per_s=TRAFFIC, groups=groups, cells=())


def _at_size(g: Group, size: str) -> Group:
    steps = []
    for rate in RATES:
        base = {"three_tier": 20.0, "microservices": 21.0 if size == "S" else 26.0, "serverless": 44.0}[g.name] * SIZES[size]
        base *= 1 + (rate / 45) ** 3 * ({"S": 1.0, "M": 2.0, "L": 0.5}[size] if g.name == "three_tier" else 0.5)
        most = {"S": 40, "M": 40, "L": 20 if g.name == "three_tier" else 10}[size]
        made = samples.step(g.name, rate)
        steps.append(replace(made, rate_per_s=rate, held=rate <= most, latency={**made.latency, "p50": samples.stat(base)}))
    return replace(g, name=f"{g.name}-{size}", model_size=size, steps=tuple(steps), primary=steps[1].latency["p50"])


def comparison() -> Comparison:
    priced = samples.costs()
    at = tuple(_priced_at(name, size, rate) for rate in TRAFFIC for name in samples.ARCHITECTURES for size in SIZES)
    curves = {f"{name}-{size}": curve for name, curve in priced.curves.items() for size in SIZES}
    priced = replace(priced, at=at, curves=curves, break_even=())
    rankings = tuple(replace(r, a=f"{r.a}-M", b=f"{r.b}-M", winner="", status="cannot", shares={}) for r in samples.comparison().rankings)
    found = wins.wins(summary(), priced)
    return replace(
        samples.comparison(), effects=(), costs=priced, rankings=rankings, wins=found, answer="Which one wins depends on size and rate."
    )


def _priced_at(name: str, size: str, rate: float) -> CostAt:
    made = samples.cost_at(name, rate)
    usd = (made.month_allocation.value or 0) * SIZES[size] ** (1.6 if name == "serverless" else 0.4)
    return replace(made, group=f"{name}-{size}", month_allocation=samples.stat(usd, "USD", basis="priced"))
