"""What comparison.json holds: effects with verdicts, costs, cloud rankings, who wins where, and the answer in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lab.analysis.results.summary import SCHEMA_VERSION, Curve
from lab.model import Stat


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """b against a on `metric`: ratio b/a with its interval. `verdict` only where the plan may give one."""

    metric: str
    a: str
    b: str
    ratio: Stat
    verdict: Literal["better", "worse", "cannot tell", "exploratory"]
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CostLine:
    """`allocation` and `usage` USD per month. kind: compute | requests | storage | egress | shared_fixed | idle."""

    kind: str
    service: str
    allocation_usd: float
    usage_usd: float
    sku: str
    source: str
    grade: str
    as_of: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CostAt:
    """One group at one monthly traffic; headline figures, so prices of grades A and B and no free tier. Intervals come from the measured
    inputs' intervals. `lines` of grades A and B add up to the month (of grade C stand beside it); unused machines are lines of kind idle.
    Beside it, on the allocation basis: with grade C, with the provider's free tier, and without what all architectures share;
    and per 1000 correct answers on the usage basis."""

    group: str
    traffic_per_s: float
    month_allocation: Stat
    month_usage: Stat
    per_million_allocation: Stat
    per_million_usage: Stat
    per_1000_correct_allocation: Stat
    replicas: Mapping[str, float]
    lines: tuple[CostLine, ...]
    month_all_grades: Stat | None = None
    month_free_tier: Stat | None = None
    month_without_shared: Stat | None = None
    per_1000_correct_usage: Stat | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakEven:
    """`cheaper_below` costs less than `other` below `traffic_per_s`, on the allocation basis; None when the curves do not cross (then
    `always` is the cheaper one). `more`: further crossings above the first, made by replicas that come in whole steps. `with_free_tier`:
    the same where an account's free tier is still unused. `in_cloud`: where it lies in the middle of, and in 95 % of, the ranges of what a
    cloud changes (modelled). `sentence` says it in words."""

    cheaper_below: str
    other: str
    traffic_per_s: Stat
    always: str = ""
    more: tuple[float, ...] = ()
    with_free_tier: Stat | None = None
    in_cloud: Stat | None = None
    sentence: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    prices: str
    region: str
    currency: str
    as_of_oldest: str
    as_of_newest: str
    grades: Mapping[str, int]
    warnings: tuple[str, ...]
    cpu_scale: float
    at: tuple[CostAt, ...]
    curves: Mapping[str, Curve]
    break_even: tuple[BreakEven, ...]
    assumptions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """One pair on one metric over the ranges of what a laptop cannot show. `shares`: group -> share of draws in which it wins.

    status holds: the same order in >= 95 % of draws. flips: `flip_at` says the nearest crossing ("one hop costs 0.4 ms").
    cannot: `sentence` says why it cannot be measured on this machine."""

    metric: str
    a: str
    b: str
    status: Literal["holds", "flips", "cannot"]
    winner: str
    shares: Mapping[str, float]
    flip_at: str
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Win:
    """Who is best at one model size and rate; `winner` is empty where none can be named, and `margin.why_missing` says why.
    `margin`: the next one's figure over the winner's. metric: p50_ms | cost."""

    model_size: str
    rate_per_s: float
    metric: str
    winner: str
    runner_up: str
    margin: Stat


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    run: str
    effects: tuple[Effect, ...]
    costs: Costs | None
    rankings: tuple[Ranking, ...]
    answer: str
    certainty: str
    notes: tuple[str, ...]
    wins: tuple[Win, ...] = ()
    schema_version: int = SCHEMA_VERSION
