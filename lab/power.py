"""From the spread between deployments and their number to the smallest ratio of two architectures that a paired t test can tell apart."""

from __future__ import annotations

import math

from scipy import special

ALPHA = 0.05
USEFUL_RATIO = 3.0  # a larger difference needs no statistics
VERDICT_DEPLOYMENTS = 7  # DESIGN 5.4: fewer cannot reach significance once corrected
GATE_DEPLOYMENTS = 10  # of each side, before the first look of a gate that may block a merge


def detectable_ratio(spread: float, n: int, *, comparisons: int = 1, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The ratio (> 1) that is found with probability `power` by a two-sided t test on the logs of `n` deployments per arm, paired by block.

    `spread` is the standard deviation on the log scale between deployments of one arm. `comparisons` is the number of pairs that share
    `alpha` (the first and strictest step of Holm's correction). None below 2 deployments: there is nothing to estimate a spread from.
    """
    if n < 2:
        return None
    freedom = n - 1
    critical = special.stdtrit(freedom, 1 - alpha / comparisons / 2)
    noncentrality = special.nctdtrinc(freedom, 1 - power, critical)
    return math.exp(float(noncentrality) * spread * math.sqrt(2 / n))


def samples_needed(q: float) -> int:
    """The smallest n whose order statistics hold a two-sided 95 % interval of the quantile `q` (p50: 6, p95: 72, p99: 368)."""
    return math.ceil(math.log(ALPHA / 2) / math.log(max(q, 1 - q)))


def tells_nothing(ratio: float | None) -> bool:
    """Whether a plan with that smallest ratio tells no difference that needs a test; of None nothing is known."""
    return ratio is not None and ratio > USEFUL_RATIO


def tellable(ratio: float | None) -> float | None:
    """The smallest difference, as a share, that is worth promising; None where it is not known or nothing is told."""
    return None if ratio is None or tells_nothing(ratio) else ratio - 1


def too_few(least: int) -> str:
    """Of a gate that may stop at `least` deployments of each side."""
    return f"gate.least is {least}: fewer than {GATE_DEPLOYMENTS} deployments of each side let chance decide; for trials only"
