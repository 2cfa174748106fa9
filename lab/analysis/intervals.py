"""From figures per deployment to the interval that a threshold is judged by, at any level, with the noise and the power behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from lab.analysis.results import Deployed
from lab.analysis.stats import mean_stat, pooled_spread, ratio
from lab.model import Stat, Threshold
from lab.power import detectable_ratio

Arm = tuple[Sequence[int], Deployed]
"""The blocks of the valid deployments, and the metric of each."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """`effect` with its interval at the level asked for. `difference`: between the arms' means, without sign, in the metric's unit.
    `noise`: see Judged. `factor`: how far beyond a limit the truth must lie to be found with a power of 80 %; None where nothing varies."""

    effect: Stat
    head: Stat
    base: Stat | None = None
    difference: float | None = None
    noise: float | None = None
    factor: float | None = None
    paired: bool | None = None

    def detectable(self, threshold: Threshold) -> float | None:
        if self.factor is None:
            return None
        return threshold.limit * self.factor if threshold.below else threshold.limit / self.factor


def against(base: Arm, head: Arm, least: int, alpha: float) -> Interval:
    """head / base: paired over the blocks that are whole where at least `least` are, else Welch over all deployments of both."""
    whole = sorted(set(base[0]) & set(head[0]))
    paired = len(whole) >= least
    a, b = (_of_blocks(arm, whole) if paired else arm[1].values for arm in (base, head))
    found = ratio(a, b, paired=paired, confidence=1 - alpha).stat
    figures = [mean_stat(values, base[1].unit) for values in (a, b)]
    return Interval(
        effect=_certain(found, alpha),
        base=figures[0],
        head=figures[1],
        difference=abs(float(np.mean(b)) - float(np.mean(a))),
        noise=pooled_spread([a]),
        factor=None if found.low is None else detectable_ratio(_spread(a, b, paired), found.n, alpha=alpha),
        paired=paired,
    )


def absolute(head: Deployed, alpha: float) -> Interval:
    """The mean over deployments; of a share the outer bounds of that and of the exact binomial over all requests, as few deployments with
    no error at all say little of a small rate."""
    found = _certain(mean_stat(head.values, head.unit, confidence=1 - alpha), alpha)
    if head.asked:
        found = _with_counts(found, head, alpha)
    noise = pooled_spread([head.values])
    factor = None
    if noise and not head.asked:
        factor = detectable_ratio(noise / math.sqrt(2), found.n, alpha=alpha)  # it asks for the spread of one of two arms
    return Interval(effect=found, head=mean_stat(head.values, head.unit), noise=noise, factor=factor)


def _of_blocks(arm: Arm, blocks: Sequence[int]) -> tuple[float, ...]:
    values = dict(zip(arm[0], arm[1].values, strict=True))
    return tuple(values[block] for block in blocks)


def _spread(a: Sequence[float], b: Sequence[float], paired: bool) -> float:
    log_a, log_b = np.log(a), np.log(b)
    if paired:
        return float(np.std(log_b - log_a, ddof=1)) / math.sqrt(2)
    return math.sqrt((float(np.var(log_a, ddof=1)) + float(np.var(log_b, ddof=1))) / 2)


def _certain(found: Stat, alpha: float) -> Stat:
    """Equal figures have no t interval. But that all n lie on one side of a limit has the chance 2^-n where their median does not: under
    alpha / 2 the interval is the figure itself."""
    if found.value is None or found.low is not None:
        return found
    needed = math.ceil(-math.log2(alpha / 2))
    if found.n >= needed:
        return replace(found, low=found.value, high=found.value)
    return replace(found, why_missing=f"{found.n} deployments, all equal; without any spread the level needs {needed}")


def _with_counts(found: Stat, head: Deployed, alpha: float) -> Stat:
    hits = round(sum(share * n for share, n in zip(head.values, head.asked, strict=True)))
    pooled = stats.binomtest(hits, sum(head.asked)).proportion_ci(1 - alpha, "exact")
    low, high = float(pooled.low), float(pooled.high)
    if found.low is not None and found.high is not None:
        low, high = min(low, max(found.low, 0.0)), max(high, found.high)
    return replace(found, value=hits / sum(head.asked), low=low, high=high, why_missing="")
