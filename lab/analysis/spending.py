"""From the looks of a sequential gate to the share of its error rate that each may spend.

Every look asks again, so each gets a part of alpha: the increments of Lan and DeMets' spending function of O'Brien and Fleming's shape,
which keep most for the last look, so an early one decides only what is plain. The increments add up to alpha: by the union bound the error
over all looks is at most alpha, however the looks depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from scipy import stats

ALPHA = 0.05  # two-sided over all thresholds and looks of one gate: 2.5 % that a FAIL is false, 2.5 % that a PASS is


def levels(looks: Sequence[int], alpha: float = ALPHA) -> tuple[float, ...]:
    """The two-sided level of each look; `looks` are rising deployments per arm, the last one has all the information."""
    spent = [0.0, *(_spent(look / looks[-1], alpha / 2) for look in looks)]
    return tuple(2 * (after - before) for before, after in pairwise(spent))


def _spent(share: float, alpha: float) -> float:
    """Of a one-sided `alpha` once that share of the information is there."""
    return 2 * float(stats.norm.sf(stats.norm.isf(alpha / 2) / share**0.5))
