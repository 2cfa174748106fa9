"""From samples and per-deployment figures to figures with 95 % intervals, ratios with p-values, or the reason why there is none.

Comparisons (verdicts, the gate) rest on one figure per deployment alone: deployments are independent, so t on the log scale keeps its 95 %
within 2 points at 3, 5, 7, 10 and 20 deployments, of lognormal figures and of windows of an M/M/1 queue at loads 0.5, 0.7 and 0.9 (tested).
A ratio is that of what windows of this length show: near saturation a short window shows less of the tail than a long one.

Intervals of merged quantiles take requests for what they are worth (see `worth`), and are withheld where that is too little. Of 300 runs of
an M/M/1 queue, 7 deployments of 1,000 requests each, in how many the interval was given, and given and wrong (nominal 5 %; with 3 to 20
deployments at most 6.7 %). Taken as independent, p95 at load 0.9 would be wrong in more than 70 %.

    load   given / wrong   p50             p95             p99
    0.5                    100 % / 0.0 %   100 % / 2.3 %   79 % / 3.0 %
    0.7                    100 % / 0.7 %    95 % / 3.0 %    9 % / 3.3 %
    0.9                    100 % / 2.0 %     7 % / 5.0 %    0 % / 0.0 %
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lab.analysis.worth import SPREAD_DEPLOYMENTS, Runs, bounds
from lab.model import Stat
from lab.power import samples_needed as samples_needed

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """`p_value` is that of a two-sided t test on logs; 1.0 where there is nothing to test."""

    stat: Stat
    p_value: float
    paired: bool


# ---- quantiles -------------------------------------------------------------------------------------------------------


def supports(q: float, n: int) -> bool:
    return n >= samples_needed(q)


def rank(n: int, q: float) -> int:
    """Where in n sorted values (counted from 0) the smallest one is that at least the share `q` of them does not exceed."""
    return max(0, math.ceil(q * n - 1e-9) - 1)


def quantile(ordered: Floats, q: float) -> float:
    """The smallest value that at least the share `q` of the sorted values does not exceed: always one that was measured."""
    return float(ordered[rank(len(ordered), q)])


def order_interval(ordered: Floats, q: float) -> tuple[float, float]:
    """The distribution-free interval of a supported quantile (binomial counts)."""
    low, high = stats.binom.ppf((ALPHA / 2, 1 - ALPHA / 2), len(ordered), q)
    return float(ordered[int(low) - 1]), float(ordered[int(high)])


def percentile_name(q: float) -> str:
    return f"p{100 * q:g}"


def quantile_stat(ordered: Floats, q: float, unit: str, windows: Sequence[Runs] = ()) -> Stat:
    """Of sorted values merged over `windows`, one per deployment. Missing, with the number needed, where the sample does not support it; a
    value without an interval, and why, where so many are there but are not worth as many independent ones. Without windows the values
    are taken to be independent."""
    n = len(ordered)
    if not supports(q, n):
        return Stat.missing(unit, f"{n} samples; {percentile_name(q)} needs {samples_needed(q)}", n)
    value = quantile(ordered, q)
    if not windows:
        low, high = order_interval(ordered, q)
        return Stat(value=value, low=low, high=high, n=n, unit=unit)
    found = bounds(ordered, (q,), windows)
    if found.independent[0] < samples_needed(q):
        return Stat(value=value, n=n, unit=unit, why_missing=_too_alike(n, float(found.independent[0]), q))
    return Stat(value=value, low=float(found.low[0]), high=float(found.high[0]), n=n, unit=unit)


def _too_alike(n: int, independent: float, q: float) -> str:
    wanted = f"an interval of {percentile_name(q)} needs {samples_needed(q)}"
    return f"no interval: {n} samples tell as much as {int(independent)} independent ones, for those of one window are alike; {wanted}"


def upper_bound(ordered: Floats, q: float, windows: Sequence[Runs]) -> float:
    """The upper end of the interval of the quantile, at most the largest value; the quantile itself where n does not support it."""
    return float(bounds(ordered, (q,), windows).high[0]) if supports(q, len(ordered)) else quantile(ordered, q)


# ---- figures over deployments ----------------------------------------------------------------------------------------


def mean_stat(values: Sequence[float], unit: str, why_missing: str = "", *, confidence: float = CONFIDENCE) -> Stat:
    """Mean of one value per deployment with its t interval: geometric and on the log scale where all are positive, else arithmetic.
    One value, or equal ones, give no interval: they say nothing of the spread."""
    if not values:
        return Stat.missing(unit, why_missing or "no valid deployment")
    positive = min(values) > 0
    scaled = np.log(values) if positive else np.asarray(values, float)
    if not _varies(scaled):
        return Stat(value=float(values[0]), n=len(values), unit=unit)
    interval = stats.ttest_1samp(scaled, 0.0).confidence_interval(confidence)
    value, low, high = (math.exp(v) if positive else float(v) for v in (scaled.mean(), interval.low, interval.high))
    return Stat(value=value, low=low, high=high, n=len(values), unit=unit)


def _varies(values: Floats) -> bool:
    return len(values) > 1 and float(np.ptp(values)) > 1e-12 * max(1.0, float(np.abs(values).max()))


def share_stat(hits: int, n: int, why_missing: str = "no request") -> Stat:
    """`hits` of `n` with the exact binomial interval."""
    if n == 0:
        return Stat.missing("share", why_missing)
    interval = stats.binomtest(hits, n).proportion_ci(CONFIDENCE, "exact")
    return Stat(value=hits / n, low=float(interval.low), high=float(interval.high), n=n, unit="share")


# ---- comparisons -----------------------------------------------------------------------------------------------------


def ratio(a: Sequence[float], b: Sequence[float], *, paired: bool, confidence: float = CONFIDENCE) -> Ratio:
    """b / a of positive per-deployment figures: one-sample t on the per-block log ratios where `paired` (a[i] and b[i] of one block),
    else Welch's t on the logs."""
    n = min(len(a), len(b))
    if n == 0:
        return Ratio(stat=Stat.missing("ratio", "one side has no valid deployment"), p_value=1.0, paired=paired)
    if min(*a, *b) <= 0:
        return Ratio(stat=Stat.missing("ratio", "a figure is not positive", n), p_value=1.0, paired=paired)
    log_a, log_b = np.log(a), np.log(b)
    value = math.exp(float(log_b.mean() - log_a.mean()))
    varies = _varies(log_b - log_a) if paired else n > 1 and (_varies(log_a) or _varies(log_b))
    if not varies:
        return Ratio(stat=Stat(value=value, n=n, unit="ratio"), p_value=1.0, paired=paired)
    test = stats.ttest_1samp(log_b - log_a, 0.0) if paired else stats.ttest_ind(log_b, log_a, equal_var=False)
    interval = test.confidence_interval(confidence)
    stat = Stat(value=value, low=math.exp(interval.low), high=math.exp(interval.high), n=n, unit="ratio")
    return Ratio(stat=stat, p_value=float(test.pvalue), paired=paired)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjusted p-values, in the order given."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return tuple(adjusted)


def pooled_spread(groups: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation on the log scale between deployments of one group, pooled over groups with at least 3; None without one."""
    logs = [np.log(g) for g in groups if len(g) >= SPREAD_DEPLOYMENTS and min(g) > 0]
    freedom = sum(len(g) - 1 for g in logs)
    return math.sqrt(sum(float(g.var(ddof=1)) * (len(g) - 1) for g in logs) / freedom) if freedom else None
