"""From a Summary and its Costs to the map: which architecture wins at which model size and rate, or why none can be named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.analysis.results import Costs, Group, Summary, Win
from lab.model import Stat


def wins(summary: Summary, costs: Costs | None) -> tuple[Win, ...]:
    """p50 at each measured rate among the groups that held it, then cost at each traffic. A winner's 95 % interval lies below the
    next one's; that is descriptive, a verdict is the business of effects."""
    return (*_fastest(summary), *(_cheapest(summary, costs) if costs is not None else ()))


def _fastest(summary: Summary) -> Iterator[Win]:
    for size, groups in _sizes(summary):
        for rate in sorted({s.rate_per_s for g in groups for s in g.steps}):
            steps = [(g.name, s) for g in groups for s in g.steps if s.rate_per_s == rate]
            held = [(name, s.latency["p50"]) for name, s in steps if s.held]
            if held:
                yield _first(size, rate, "p50_ms", held)
            else:
                yield Win(model_size=size, rate_per_s=rate, metric="p50_ms", winner="", runner_up="", margin=_none("none held this rate"))


def _cheapest(summary: Summary, costs: Costs) -> Iterator[Win]:
    for size, groups in _sizes(summary):
        for traffic in summary.traffic_per_s:
            names = {g.name for g in groups}
            found = [(c.group, c.month_allocation) for c in costs.at if c.traffic_per_s == traffic and c.group in names]
            if found:
                yield _first(size, traffic, "cost", found)


def _sizes(summary: Summary) -> Iterator[tuple[str, list[Group]]]:
    for size in dict.fromkeys(sorted((g.model_size for g in summary.groups), key="SML".index)):
        yield size, [g for g in summary.groups if g.model_size == size]


def _first(size: str, rate: float, metric: str, figures: Sequence[tuple[str, Stat]]) -> Win:
    known = sorted(((s.value, name, s) for name, s in figures if s.value is not None), key=lambda k: k[:2])
    if not known:
        return Win(model_size=size, rate_per_s=rate, metric=metric, winner="", runner_up="", margin=_none("no figure is supported"))
    if len(known) == 1:
        only = f"the only one {'that held this rate' if metric == 'p50_ms' else 'with a price'}"
        return Win(model_size=size, rate_per_s=rate, metric=metric, winner=known[0][1], runner_up="", margin=_none(only))
    (best, name, stat), (other, runner_up, next_stat) = known[:2]
    margin = Stat(value=other / best if best else None, unit="x", n=min(stat.n, next_stat.n), basis=stat.basis)
    if stat.basis == "measured" and (stat.high is None or next_stat.low is None):
        why = [f"{n}: {s.why_missing}" for n, s in ((name, stat), (runner_up, next_stat)) if s.low is None and s.why_missing]
        margin = _none("; ".join(why) or "one deployment has no interval")
        return Win(model_size=size, rate_per_s=rate, metric=metric, winner="", runner_up="", margin=margin)
    clear = (best if stat.high is None else stat.high) < (other if next_stat.low is None else next_stat.low)
    if not clear:
        margin = _none(f"the intervals of {name} and {runner_up} overlap")
    return Win(model_size=size, rate_per_s=rate, metric=metric, winner=name if clear else "", runner_up=runner_up, margin=margin)


def _none(why: str) -> Stat:
    return Stat.missing("x", why)
