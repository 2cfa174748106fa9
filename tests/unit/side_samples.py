"""The samples of `report_samples` as two runs of one scenario: embedded as they are, kind with CPU quotas that turned three_tier's p50."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lab import plan as plans
from lab import scenario
from lab.analysis.results import BreakEven, CellVerdict, Comparison, Effect, Group, Ranking, Summary
from lab.analysis.taken import Taken
from lab.contracts import Capabilities
from lab.model import Environment, Plan, Stat
from lab.settings import Settings
from tests.unit import report_samples as samples

SLOWED_MS = 12.0  # in three_tier's own work, of which its p50 was 23.4
CLAIMS = ("cpu", "bytes", "cost", "cold", "p50")


def embedded() -> Taken:
    made, comparison = _sharp(samples.summary()), samples.comparison()
    effects = tuple(_effect(e, e.ratio.value or 1.0) for e in comparison.effects)
    return _taken("embedded", replace(made, enforcement="affinity", isolation="pinned"), replace(comparison, effects=effects))


def kind() -> Taken:
    """three_tier is slower than microservices, which takes as much CPU as before; a deployment of serverless is INVALID; its break-even is
    elsewhere, and in a cloud microservices would be faster."""
    made = _sharp(samples.summary())
    groups = tuple(_slowed(g) if g.name == "three_tier" else g for g in made.groups)
    cells = tuple(_invalid(c) if c.cell == "1-serverless-M" else c for c in made.cells if c.valid)
    comparison = samples.comparison()
    assert comparison.costs is not None
    first, *others = comparison.costs.break_even
    moved = replace(first, traffic_per_s=samples.stat(9.0, "1/s", 0.1, basis="priced"))
    effects = (_effect(comparison.effects[0], 31.2 / 35.4), _effect(comparison.effects[1], 48.9 / 35.4))
    rankings = (_other_way(comparison.rankings[0]), *comparison.rankings[1:])
    costs = replace(comparison.costs, break_even=(moved, *others))
    return _taken(
        "kind",
        replace(made, run="20261123-101500-compare", groups=groups, cells=cells, enforcement="enforced", isolation="limits"),
        replace(comparison, effects=effects, rankings=rankings, costs=costs),
    )


def _effect(of: Effect, ratio: float) -> Effect:
    return replace(of, ratio=samples.stat(ratio, "ratio", 0.05))


def _sharp(summary: Summary) -> Summary:
    """With a floor below the differences."""
    return replace(summary, floor_path_ms={"p50": samples.stat(2.1), "p99": samples.stat(5.0)})


def _slowed(group: Group) -> Group:
    waterfall = tuple(replace(s, duration_ms=s.duration_ms + SLOWED_MS) if s.name == "infer" else s for s in group.waterfall)
    steps = tuple(replace(s, latency={**s.latency, "p50": _later(s.latency["p50"])}) for s in group.steps)
    return replace(group, waterfall=waterfall, steps=steps, primary=_later(group.primary))


def _later(stat: Stat) -> Stat:
    assert stat.value is not None and stat.low is not None and stat.high is not None
    return replace(stat, value=stat.value + SLOWED_MS, low=stat.low + SLOWED_MS, high=stat.high + SLOWED_MS)


def _invalid(cell: CellVerdict) -> CellVerdict:
    return replace(cell, valid=False, reasons=("other programs used 0.60 of a core; limit 0.25",))


def _other_way(ranking: Ranking) -> Ranking:
    shares = {ranking.a: 0.02, ranking.b: 0.98}
    return replace(ranking, winner=ranking.b, shares=shares, sentence=f"{ranking.b} answers faster in 98 % of the cloud ranges")


def _taken(provider: str, summary: Summary, comparison: Comparison) -> Taken:
    groups = {g.name: replace(g, provider=provider) for g in summary.groups}
    return Taken(
        name=provider,
        plan=_plan(provider, summary),
        about=_machine(provider, {"kernel": "6.1.0"}),
        summary=replace(summary, groups=tuple(groups.values())),
        comparison=replace(comparison, run=summary.run),
        groups=groups,
    )


def _plan(provider: str, summary: Summary) -> Plan:
    can = Capabilities(isolation="none", enforcement="none", scaler="hpa" if provider == "kind" else "")
    made = plans.compile(scenario.load("compare"), Settings(provider=provider), can)
    return replace(made, primary_rate_per_s=summary.primary_rate_per_s, traffic_per_s=summary.traffic_per_s)


def _machine(provider: str, more: Mapping[str, str]) -> Environment:
    return Environment(
        identity=f"{provider:0<16}"[:16],
        machine={"cpu": "a processor", "cores": 2, "provider": provider, **more},
        machine_class="2 virtual cores",
        claims=CLAIMS,
        subject={"git": "0123456789abcdef"},
        command="lab run compare",
        started_at="2026-11-22T18:40:12Z",
    )


def break_even(taken: Taken, at: BreakEven) -> Taken:
    """With `at` as its first break-even."""
    costs = taken.comparison.costs
    assert costs is not None
    return replace(taken, comparison=replace(taken.comparison, costs=replace(costs, break_even=(at, *costs.break_even[1:]))))
