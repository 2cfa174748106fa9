"""A run's summary and a price book in, what each architecture costs out: at given traffic, as a curve over it, and where curves cross."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from itertools import combinations
from typing import Literal

import numpy as np

from lab.analysis import breakeven, cloud, prices
from lab.analysis import ranges as ranges_file
from lab.analysis.bill import MIB_PER_GIB, Array, Bill, Line, Variation, requests_per_month
from lab.analysis.functions import function_memory_mb
from lab.analysis.price_book import PriceBook
from lab.analysis.pricing import is_billed, price, why_missing
from lab.analysis.ranges import Ranges, hypercube, measured_scale
from lab.analysis.results import BreakEven, CostAt, CostLine, Costs, Curve, Group, ServiceFigures, Summary
from lab.model import Stat

CURVE_POINTS = 120
ENDS = (-1.96, 1.96)  # of a 95 % interval, in standard deviations
MONTH, PER_MILLION, PER_1000_CORRECT = "USD/month", "USD per 1e6 requests", "USD per 1000 correct answers"
SEED = 20261122
CLOUD_DRAWS = 200

Basis = Literal["allocation", "usage"]


def costs(summary: Summary, book: PriceBook, *, cpu_scale: float = 1.0, today: date, ranges: Ranges | None = None) -> Costs:
    """Groups whose inputs are missing get missing figures that say why, no curve and no break-even."""
    throttled, drawn = is_throttled(summary), measured_scale(ranges if ranges is not None else ranges_file.load(), cpu_scale)
    priced = [g for g in summary.groups if not why_missing(g, book)]
    at = tuple(_cost_at(g, book, rate, cpu_scale, throttled) for g in summary.groups for rate in summary.traffic_per_s)
    used = _keys_used(priced, book, summary.traffic_per_s, cpu_scale, throttled)
    records = [book.prices[k] for k in used]
    dated = sorted(p.as_of for p in records if p.as_of != "unknown")
    return Costs(
        prices=book.name,
        region=book.region,
        currency=book.currency,
        as_of_oldest=dated[0] if dated else "",
        as_of_newest=dated[-1] if dated else "",
        grades={grade: sum(p.grade == grade for p in records) for grade in ("A", "B", "C")},
        warnings=prices.age_warnings(book, used, today),
        cpu_scale=cpu_scale,
        at=at,
        curves={g.name: _curve(g, book, cpu_scale, throttled) for g in priced},
        break_even=tuple(_break_even(a, b, book, cpu_scale, throttled, drawn) for a, b in comparable(priced)),
        assumptions=_assumptions(summary, book, cpu_scale),
    )


def is_throttled(summary: Summary) -> bool:
    """Whether each service was held to its configured vCPU."""
    return summary.enforcement == "enforced"


def comparable(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Pairs that do the same work on the same provider; of a gate, base and head of the same subject."""
    return [(a, b) for a, b in combinations(groups, 2) if _work(a) == _work(b) and a.code_ref != "head" and b.code_ref != "base"]


def _work(group: Group) -> tuple[str, ...]:
    work = (group.workload, group.model_size, group.provider)
    return (*work, group.architecture, group.variant) if group.code_ref else work


def has_intervals(group: Group) -> bool:
    """Whether every measured figure that a bill depends on has an interval."""
    needed = [s.cpu_ms_per_request for s in group.services if is_billed(s)]
    needed += [s.start_s for s in group.services if is_billed(s) and s.billing == "function"]
    return all(stat.low is not None and stat.high is not None for stat in needed)


def _bill(g: Group, book: PriceBook, traffic: Array, cpu_scale: float, throttled: bool, spread: float = 0.0, free: bool = False) -> Bill:
    return price(g, book, traffic, Variation(cpu_scale=cpu_scale, spread=spread, free_tier=free), throttled=throttled)


def _cost_at(group: Group, book: PriceBook, rate_per_s: float, cpu_scale: float, throttled: bool) -> CostAt:
    why = why_missing(group, book)
    if why:
        month, million, correct = (Stat.missing(u, why, group.valid_deployments, "priced") for u in (MONTH, PER_MILLION, PER_1000_CORRECT))
        return CostAt(
            group=group.name,
            traffic_per_s=rate_per_s,
            month_allocation=month,
            month_usage=month,
            per_million_allocation=million,
            per_million_usage=million,
            per_1000_correct_allocation=correct,
            per_1000_correct_usage=correct,
            replicas={},
            lines=(),
        )
    traffic = np.array([rate_per_s])
    middle, free = (_bill(group, book, traffic, cpu_scale, throttled, free=f) for f in (False, True))
    ends = [_bill(group, book, traffic, cpu_scale, throttled, spread) for spread in ENDS] if has_intervals(group) else []
    n = group.valid_deployments
    allocation, usage = (_stat([float(b.total(basis)[0]) for b in (middle, *ends)], n) for basis in ("allocation", "usage"))
    requests = float(requests_per_month(book, traffic)[0])
    return CostAt(
        group=group.name,
        traffic_per_s=rate_per_s,
        month_allocation=allocation,
        month_usage=usage,
        per_million_allocation=_per(allocation, 1e6 / requests, PER_MILLION),
        per_million_usage=_per(usage, 1e6 / requests, PER_MILLION),
        per_1000_correct_allocation=_per_correct(allocation, requests, group.correct_share),
        per_1000_correct_usage=_per_correct(usage, requests, group.correct_share),
        replicas={name: round(float(count[0]), 2) for name, count in middle.replicas.items()},
        lines=tuple(_line(middle, line) for line in middle.lines if line.allocation.any()),
        month_all_grades=_stat([float(middle.total(all_grades=True)[0])], n),
        month_free_tier=_stat([float(free.total()[0])], n),
        month_without_shared=_stat([float(middle.total(without=("shared_fixed",))[0])], n),
    )


def _stat(values: Sequence[float], n: int) -> Stat:
    """The first is the figure, the others, if any, the ends of its interval."""
    low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
    return Stat(value=values[0], unit=MONTH, n=n, low=low, high=high, basis="priced")


def _per(month: Stat, factor: float, unit: str) -> Stat:
    value, low, high = (None if x is None else x * factor for x in (month.value, month.low, month.high))
    return Stat(value=value, unit=unit, n=month.n, low=low, high=high, basis="priced")


def _per_correct(month: Stat, requests: float, correct_share: float | None) -> Stat:
    if not correct_share:
        why = "no answer was right" if correct_share == 0 else "the share of right answers was not measured"
        return Stat.missing(PER_1000_CORRECT, why, month.n, "priced")
    return _per(month, 1000.0 / (requests * correct_share), PER_1000_CORRECT)


def _line(bill: Bill, line: Line) -> CostLine:
    records = [bill.book.record(k) for k in line.keys]
    return CostLine(
        kind=line.kind,
        service=line.service,
        allocation_usd=float(line.allocation[0]),
        usage_usd=float(line.usage[0]),
        sku=line.sku,
        source="; ".join(dict.fromkeys(r.source for r in records)),
        grade=bill.grade(line),
        as_of=min(r.as_of for r in records),
    )


def _keys_used(groups: Iterable[Group], book: PriceBook, traffic: Sequence[float], cpu_scale: float, throttled: bool) -> tuple[str, ...]:
    bills = [_bill(g, book, np.array(traffic), cpu_scale, throttled) for g in groups]
    lines = [line for b in bills for line in b.lines if line.allocation.any()]
    return tuple(sorted({k for line in lines for k in line.keys if k in book.prices}))


def _curve(group: Group, book: PriceBook, cpu_scale: float, throttled: bool) -> Curve:
    """USD per month, allocation basis, over the traffic; a replica more makes a vertical step (those finer than the curve are left out)."""
    steps = _bill(group, book, np.ones(1), cpu_scale, throttled).steps_per_s.values()
    near = [s for s in steps if s > breakeven.HIGHEST_PER_S / CURVE_POINTS]
    traffic = breakeven.grid(near, points=CURVE_POINTS)
    middle, *ends = (_bill(group, book, traffic, cpu_scale, throttled, z).total() for z in (0.0, *(ENDS if has_intervals(group) else ())))
    low, high = (tuple(float(y) for y in bound) for bound in (np.minimum(*ends), np.maximum(*ends))) if ends else ((), ())
    return Curve(x=tuple(float(x) for x in traffic), y=tuple(float(y) for y in middle), low=low, high=high)


def _break_even(a: Group, b: Group, book: PriceBook, cpu_scale: float, throttled: bool, ranges: Ranges) -> BreakEven:
    def cost_of(group: Group, free: bool) -> breakeven.CostOf:
        return lambda traffic, spread: _bill(group, book, traffic, cpu_scale, throttled, spread, free).total()

    steps = [s for g in (a, b) for s in _bill(g, book, np.ones(1), cpu_scale, throttled).steps_per_s.values()]
    traffic, n, known = breakeven.grid(steps), min(a.valid_deployments, b.valid_deployments), has_intervals(a) and has_intervals(b)
    found, free = (
        breakeven.break_even(a.name, b.name, cost_of(a, f), cost_of(b, f), traffic, n=n, known=known and not f, seed=SEED)
        for f in (False, True)
    )
    functions = any(s.billing == "function" for g in (a, b) for s in g.services)
    return replace(
        found,
        with_free_tier=free.traffic_per_s if functions and free.cheaper_below == found.cheaper_below else None,
        in_cloud=_in_cloud(a, b, found, book, throttled, ranges),
    )


def _in_cloud(a: Group, b: Group, found: BreakEven, book: PriceBook, throttled: bool, ranges: Ranges) -> Stat:
    """The break-even over the ranges: CPU and memory of a cloud, and its stores' waits, which functions are billed for."""
    traffic = breakeven.grid()

    def drawn(group: Group) -> list[Array]:
        passes = cloud.passes(group) if not cloud.why_not(group) else None
        points = hypercube(CLOUD_DRAWS, SEED)
        return [price(group, book, traffic, cloud.variation(passes, p, ranges), throttled=throttled).total() for p in points]

    first = -1 if found.cheaper_below == a.name else 1
    low, middle, high = breakeven.quantiles(first, traffic, zip(drawn(a), drawn(b), strict=True))
    if middle is None:
        return Stat.missing(breakeven.UNIT, "in most of the cloud ranges the curves do not cross this way", CLOUD_DRAWS, "modelled")
    return Stat(value=middle, unit=breakeven.UNIT, n=CLOUD_DRAWS, low=low, high=high, basis="modelled")


def _not_billed(group: Group, service: ServiceFigures) -> str:
    cpu = service.cpu_ms_per_request.value
    measured = "CPU not measured" if cpu is None else f"{cpu:.2g} ms of CPU per request, measured"
    return f"{group.name}: {service.service} ({measured}) belongs to the function platform and is not billed"


def _amount(value: float, unit: str) -> str:
    """The book's units stand in the plural."""
    return f"{value:g} {unit.removesuffix('s') if value == 1 else unit}"


def _assumptions(summary: Summary, book: PriceBook, cpu_scale: float) -> tuple[str, ...]:
    a, throttled = book.assumptions, is_throttled(summary)
    entries = {name: getattr(a, name) for name in a.__slots__}
    functions = [s for g in summary.groups for s in g.services if s.billing == "function"]
    memory = sorted({round(function_memory_mb(s, book, 1.0, throttled)) for s in functions})
    said = [
        f"cpu_scale {cpu_scale:g}: one local core counts as {1 / cpu_scale:.3g} vCPU"
        if cpu_scale != 1.0
        else "cpu_scale 1: a local core counts as a vCPU",
        f"list prices of {book.name} in {book.region}, on demand, {book.hours_per_month:g} hours a month; no free tier unless it is said",
        "each vm or container service has machines of its own, the smallest listed that hold its configured vCPU and memory",
        "traffic is steady, in the workload's mix; every request is charged the store operations and bytes of a headline request",
        "store, database and gateway are priced as managed services",
        *(_not_billed(g, s) for g in summary.groups for s in g.services if s.tier == "architecture" and not is_billed(s)),
        *(f"{name.replace('_', ' ')}: {_amount(x.value, x.unit)} ({x.why})" for name, x in entries.items()),
    ]
    scaled = [f"{g.name} {s.service}" for g in summary.groups for s in g.services if s.billing != "function" and s.replicas is not None]
    if scaled:
        said.append(
            f"{', '.join(scaled)}: as many replicas as the scaler kept on average at each measured rate, the time of scaling included; "
            "above the highest rate in proportion to the CPU"
        )
    if memory:
        how = "its configured share of a vCPU" if throttled else "a core of its own here, so it is priced with the memory that buys one"
        said.append(f"a function had {how}: {', '.join(f'{m} MB' for m in memory)} ({memory[-1] / MIB_PER_GIB:.2f} GB at most)")
        said.append(
            "a function is billed for what it uses, so allocation and usage are the same for it; the exception is throttling: with less "
            "than a vCPU it is billed for the longer time that its CPU then takes"
        )
        said.append(
            "functions are billed for the waits measured here; what a cloud's slower stores add is in the break-even over the cloud ranges "
            "and in the rankings"
        )
    return tuple(said)
