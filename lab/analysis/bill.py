"""What a bill is: lines in USD per month over the traffic, what may be varied behind them, and the arithmetic that all of them share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np
import numpy.typing as npt

from lab.analysis.price_book import PriceBook, Tier
from lab.analysis.results import ServiceFigures
from lab.model import Stat

Array = npt.NDArray[np.float64]
GIB = 2.0**30  # what AWS bills as a GB
MIB_PER_GIB = 1024.0
SECONDS_PER_HOUR = 3600.0
EDGE = 1e-9  # keeps figures that are whole but for rounding from being counted up one step more


@dataclass(frozen=True, kw_only=True, slots=True)
class Variation:
    """What is varied around the measured figures. `spread`: where all of a group's figures lie in their intervals, in standard deviations
    (0: their values, +-1.96: their ends). `memory`: factor on configured memory. `wait_ms`: what a request's store operations and round
    trips take longer than here, which a function is billed for. `all_grades`: prices of grade C count too."""

    cpu_scale: float = 1.0
    spread: float = 0.0
    memory: float = 1.0
    wait_ms: float = 0.0
    free_tier: bool = False
    all_grades: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """USD per month over the traffic. `keys` name the prices in it, its grade is the worst of theirs. Lines add up to the bill: what stands
    unused is a line of kind idle with usage 0."""

    kind: str
    service: str
    sku: str
    keys: tuple[str, ...]
    allocation: Array
    usage: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """`steps_per_s`: the traffic at which each service needs one more replica is a multiple of its entry."""

    book: PriceBook
    lines: tuple[Line, ...]
    replicas: Mapping[str, Array]
    steps_per_s: Mapping[str, float] = field(default_factory=dict)

    def grade(self, line: Line) -> str:
        return max(self.book.record(key).grade for key in line.keys)

    def total(self, basis: str = "allocation", *, all_grades: bool = False, without: Iterable[str] = ()) -> Array:
        """Sum of the lines of grades A and B (of all, if asked), less the kinds in `without`."""
        left_out = set(without)
        taken = [x for x in self.lines if x.kind not in left_out and (all_grades or self.grade(x) != "C")]
        return np.sum([getattr(x, basis) for x in taken], axis=0, dtype=np.float64) if taken else np.zeros(1)


def within(stat: Stat, spread: float) -> float:
    """The figure at `spread` standard deviations inside its interval, on the log scale; its value where it has no interval."""
    value = stat.value
    assert value is not None
    end = stat.high if spread > 0 else stat.low
    if spread == 0 or end is None or end <= 0 or value <= 0:
        return value
    return float(value * np.exp(abs(spread) / 1.96 * log(end / value)))


def requests_per_month(book: PriceBook, traffic_per_s: Array) -> Array:
    return traffic_per_s * book.hours_per_month * SECONDS_PER_HOUR


def cpu_s(s: ServiceFigures, v: Variation) -> float:
    """CPU-seconds of a cloud vCPU per request."""
    return within(s.cpu_ms_per_request, v.spread) * v.cpu_scale / 1000.0


def memory_mib(s: ServiceFigures, factor: float) -> float:
    return max(s.memory_configured_mib * factor, s.memory_mib.value or 0.0)


def tiered(book: PriceBook, tiers: Sequence[Tier], quantity: Array, all_grades: bool, per: float = 1.0) -> tuple[Array, tuple[str, ...]]:
    """USD for a cumulative monthly quantity, and the prices in it. Tiers of grade C are left out (the tier before goes on) unless
    `all_grades` or nothing better comes before them."""
    kept: list[Tier] = []
    for tier in tiers:
        if all_grades or not kept or book.prices[tier.price].grade != "C" or book.prices[kept[-1].price].grade == "C":
            kept.append(tier)
    cost, start = np.zeros_like(quantity), 0.0
    for i, tier in enumerate(kept):
        end = (tier.up_to if tier.up_to is not None else np.inf) if i + 1 < len(kept) else np.inf
        cost = cost + np.clip(quantity - start, 0.0, end - start) / per * book.price(tier.price)
        start = end
    reached = [t for i, t in enumerate(kept) if i == 0 or float(quantity.max(initial=0.0)) > (kept[i - 1].up_to or np.inf)]
    return cost, tuple(t.price for t in reached)
