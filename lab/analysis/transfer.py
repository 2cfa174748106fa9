"""A summary and price book in, one Ranking per pair and metric out: whether the order here would hold in a cloud, or where it flips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from lab.analysis import cloud, prices, pricing
from lab.analysis import ranges as ranges_file
from lab.analysis.bill import Variation
from lab.analysis.breakeven import SAME_COST
from lab.analysis.cloud import QUANTILES, Position
from lab.analysis.cost import comparable, is_throttled
from lab.analysis.judge import MIDDLE, Figure, Question, cannot, judge
from lab.analysis.price_book import PriceBook
from lab.analysis.ranges import Ranges, hypercube, measured_scale
from lab.analysis.results import Costs, Group, Ranking, Summary

REMEMBERED = 20_000  # points of the ranges at which a group's figures are kept
LATENCY_TERMS = ("hop", "store", "database", "call", "cpu_scale")
COLD_TERMS = ("sandbox", "package", "cpu_scale")
COST_TERMS = ("cpu_scale", "memory", "store", "hop", "database")

K = TypeVar("K")
Figures = Callable[[Position], Mapping[K, float]]
"""All figures of one group at one point of the ranges."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The ranges, the points drawn in them, and by name of group its percentiles in ms and its bills in USD; groups whose inputs are
    missing are in neither."""

    ranges: Ranges
    points: Sequence[Position]
    quantiles: Mapping[str, Figures[str]]
    bills: Mapping[str, Figures[float]]


def rankings(
    summary: Summary,
    costs: Costs | None,
    *,
    book: PriceBook | None = None,
    ranges: Ranges | None = None,
    draws: int = 1000,
    seed: int = 1,
) -> tuple[Ranking, ...]:
    """For each pair that does the same work: p50, p95 and p99, cold where both start from zero, and the cost at each traffic of `costs`.
    `book` is the one behind `costs`, loaded by its name if left out."""
    terms = measured_scale(ranges if ranges is not None else ranges_file.load(), costs.cpu_scale if costs is not None else 1.0)
    rates = tuple(sorted({at.traffic_per_s for at in costs.at})) if costs is not None else ()
    book = (book or prices.load(costs.prices)) if costs is not None else None
    drawn = Cloud(
        ranges=terms,
        points=hypercube(draws, seed),
        quantiles=_quantiles(summary.groups, terms, seed),
        bills=_bills(summary, book, rates, terms) if book is not None else {},
    )
    found: list[Ranking] = []
    for a, b in comparable(summary.groups):
        found += _latency(summary, a, b, drawn)
        found += _cold(summary, a, b, drawn)
        if book is not None:
            found += _cost(summary, a, b, drawn, book, rates)
    return tuple(found)


# ---- the three kinds of metric ---------------------------------------------------------------------------------------


def _latency(summary: Summary, a: Group, b: Group, drawn: Cloud) -> Iterator[Ranking]:
    for name, level in QUANTILES.items():
        why = _forbidden(summary, name, (a, b)) or cloud.why_not(a) or cloud.why_not(b)
        if why:
            yield cannot(f"{name}_ms", a.name, b.name, why)
            continue
        floor = _floor(summary, name)
        question = Question(
            metric=f"{name}_ms",
            a=a.name,
            b=b.name,
            figure_a=_one(drawn.quantiles[a.name], name),
            figure_b=_one(drawn.quantiles[b.name], name),
            here_a=float(np.quantile(a.low_rate_latency_ms, level)),
            here_b=float(np.quantile(b.low_rate_latency_ms, level)),
            ranges=drawn.ranges,
            terms=LATENCY_TERMS,
            verb=f"beats {{}} at {name}",
            same=f"{a.name} and {b.name} differ at {name} by less than the floor of the path{_ms(floor)}",
            floor=floor,
        )
        yield judge(question, drawn.points)


def _cold(summary: Summary, a: Group, b: Group, drawn: Cloud) -> Iterator[Ranking]:
    """Only where both start from zero: with one that always runs there is nothing to rank."""
    if a.cold_ms.value is None or b.cold_ms.value is None:
        return
    missing = next((g.name for g in (a, b) if not g.cold_phases_ms), "")
    why = _forbidden(summary, "cold", (a, b)) or (f"the phases of {missing}'s cold start were not measured" if missing else "")
    if why:
        yield cannot("cold_ms", a.name, b.name, why)
        return
    floor = _floor(summary, "p50")
    question = Question(
        metric="cold_ms",
        a=a.name,
        b=b.name,
        figure_a=lambda at: cloud.cold_ms(a, at, drawn.ranges),
        figure_b=lambda at: cloud.cold_ms(b, at, drawn.ranges),
        here_a=a.cold_ms.value,
        here_b=b.cold_ms.value,
        ranges=drawn.ranges,
        terms=COLD_TERMS,
        verb="starts from zero faster than {}",
        same=f"the cold starts of {a.name} and {b.name} differ by less than the floor of the path{_ms(floor)}",
        floor=floor,
    )
    yield judge(question, drawn.points)


def _cost(summary: Summary, a: Group, b: Group, drawn: Cloud, book: PriceBook, rates: Sequence[float]) -> Iterator[Ranking]:
    why = pricing.why_missing(a, book) or pricing.why_missing(b, book)
    if why:
        yield from (cannot(cost_metric(r), a.name, b.name, why) for r in rates)
        return
    here_a, here_b = (pricing.price(g, book, np.array(rates), Variation(), throttled=is_throttled(summary)).total() for g in (a, b))
    for rate, now_a, now_b in zip(rates, here_a, here_b, strict=True):
        question = Question(
            metric=cost_metric(rate),
            a=a.name,
            b=b.name,
            figure_a=_one(drawn.bills[a.name], rate),
            figure_b=_one(drawn.bills[b.name], rate),
            here_a=float(now_a),
            here_b=float(now_b),
            ranges=drawn.ranges,
            terms=COST_TERMS,
            verb=f"costs less than {{}} at {said_rate(rate)}",
            same=f"{a.name} and {b.name} cost the same at {said_rate(rate)} within {SAME_COST * 100:g} %",
            floor_share=SAME_COST,
        )
        yield judge(question, drawn.points)


def cost_metric(rate_per_s: float) -> str:
    return f"cost at {rate_per_s:g}/s"


def said_rate(rate_per_s: float) -> str:
    if not rate_per_s:
        return "the closed loop's own rate"
    return "1 request/s" if rate_per_s == 1 else f"{rate_per_s:g} requests/s"


# ---- figures over the ranges -----------------------------------------------------------------------------------------


def _one(of: Figures[K], key: K) -> Figure:
    return lambda at: of(at)[key]


def _quantiles(groups: Sequence[Group], ranges: Ranges, seed: int) -> dict[str, Figures[str]]:
    passes = {g.name: cloud.passes(g) for g in groups if not cloud.why_not(g)}
    if not passes:
        return {}
    shared = cloud.luck(tuple(passes.values()), seed)
    return {g.name: _quantiles_of(g, passes[g.name], ranges, shared) for g in groups if g.name in passes}


def _quantiles_of(group: Group, passes: cloud.Passes, ranges: Ranges, shared: cloud.Luck) -> Figures[str]:
    local = np.array(group.low_rate_latency_ms)

    @lru_cache(maxsize=REMEMBERED)
    def at(*key: float) -> Mapping[str, float]:
        drawn = cloud.latency_ms(local, passes, dict(zip(LATENCY_TERMS, key, strict=True)), ranges, shared)
        return dict(zip(QUANTILES, (float(x) for x in np.quantile(drawn, list(QUANTILES.values()))), strict=True))

    return lambda position: at(*(position[t] for t in LATENCY_TERMS))


def _bills(summary: Summary, book: PriceBook, rates: Sequence[float], ranges: Ranges) -> dict[str, Figures[float]]:
    throttled = is_throttled(summary)
    return {g.name: _bills_of(g, book, rates, ranges, throttled) for g in summary.groups if not pricing.why_missing(g, book)}


def _bills_of(group: Group, book: PriceBook, rates: Sequence[float], ranges: Ranges, throttled: bool) -> Figures[float]:
    passes = cloud.passes(group) if not cloud.why_not(group) else None
    traffic = np.array(rates)

    @lru_cache(maxsize=REMEMBERED)
    def at(free_tier: bool, all_grades: bool, *key: float) -> Mapping[float, float]:
        drawn = cloud.variation(passes, dict(zip(COST_TERMS, key, strict=True)), ranges)
        varied = replace(drawn, free_tier=free_tier, all_grades=all_grades)
        total = pricing.price(group, book, traffic, varied, throttled=throttled).total(all_grades=all_grades)
        return dict(zip(rates, (float(x) for x in total), strict=True))

    return lambda p: at(p.get("free_tier", 0.0) > MIDDLE, p.get("all_grades", 0.0) > MIDDLE, *(p[t] for t in COST_TERMS))


# ---- what forbids a metric -------------------------------------------------------------------------------------------


def _forbidden(summary: Summary, metric: str, groups: Sequence[Group]) -> str:
    claim = "tail" if metric in ("p95", "p99") else metric
    if claim not in summary.claims:
        if claim == "tail" and summary.isolation == "none":
            return f"{metric} cannot be measured on this machine: the load driver and the system share cores"
        return f"{metric} cannot be measured on this machine ({summary.machine_class}, isolation {summary.isolation})"
    if metric in QUANTILES:
        for group in groups:
            lowest = min(group.steps, key=lambda s: s.rate_per_s, default=None)
            stat = lowest.latency.get(metric) if lowest else None
            if stat is None or stat.value is None:
                return f"{metric} of {group.name} is not supported: {stat.why_missing if stat else 'no step was measured'}"
    return ""


def _floor(summary: Summary, metric: str) -> float | None:
    stat = summary.floor_path_ms.get(metric)
    return stat.value if stat else None


def _ms(floor: float | None) -> str:
    return "" if floor is None else f" ({floor:.2g} ms)"
