"""From the latencies of windows, in order of time, to how many independent ones they are worth for a quantile, and to its interval.

Requests queue behind each other, so n of them tell less than n independent draws would. How much less is read off the data: the share of
requests at or below a value is counted in each of BATCHES equal parts of every window, and in every deployment; where these shares vary
more than a coin would (the design effect), n is divided by how much more. A lucky window shows too little of it in its own tail, so the
largest effect at the quantile, the median, p75 and p90 counts. Student's t for the few batches or deployments that this was learned from
shrinks n further (the interval of Korn and Graubard, 1998, for surveys in clusters), and the exact binomial interval is taken at that n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Runs = Sequence[Floats]  # of one window: the sorted values of each of its parts, in order of time
BATCHES = 10
SPREAD_DEPLOYMENTS = 3  # fewer say next to nothing of the spread between deployments
ALONE = 4.0  # how much more an effect counts that no other deployment confirms: batches of a short window are correlated themselves
LOOKS = (0.5, 0.75, 0.9)
TAIL = 0.025


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Of each quantile asked for. `independent`: how many independent requests would tell as much of it."""

    low: Floats
    high: Floats
    independent: Floats


def runs(values: Floats, place: Floats) -> tuple[Floats, ...]:
    """`place`: when in its window each was asked for, 0 to 1."""
    part = np.clip((place * BATCHES).astype(np.int8), 0, BATCHES - 1)
    return tuple(np.sort(values[part == i]) for i in range(BATCHES))


def joined(parts: Runs) -> Floats:
    """Sorted."""
    return np.sort(np.concatenate(parts))


def bounds(ordered: Floats, qs: Sequence[float], windows: Sequence[Runs]) -> Bounds:
    """The 95 % intervals of quantiles of the sorted values of all `windows`, one per deployment; measured values, at most the outermost.
    Without windows every value is taken to be independent."""
    windows = windows or ((ordered,),)
    n, asked = len(ordered), np.asarray(qs, float)
    values = ordered[_places(np.concatenate((asked, LOOKS)), n)]
    below = np.array([[np.searchsorted(part, values, side="right") for part in window] for window in windows], float)
    independent = n / _effect(below, np.array([[len(part) for part in window] for window in windows], float), len(asked))
    low = special.betaincinv(asked * independent, independent * (1 - asked) + 1, TAIL)
    high = special.betaincinv(asked * independent + 1, independent * (1 - asked), 1 - TAIL)
    return Bounds(low=ordered[_places(low, n)], high=ordered[_places(high, n)], independent=independent)


def _places(shares: Floats, n: int) -> NDArray[np.int64]:
    return np.clip(np.ceil(shares * n - 1e-9).astype(np.int64) - 1, 0, n - 1)


def _effect(below: Floats, sizes: Floats, asked: int) -> Floats:
    """By what n is to be divided for each of the first `asked` values; the others are those of LOOKS. [deployment, batch, value]"""
    confirmed = len(sizes) >= SPREAD_DEPLOYMENTS
    levels = [_within(below, sizes)]
    if confirmed:
        levels.append(_against(below.sum(axis=1), sizes.sum(axis=1), _share(below, sizes), len(sizes) - 1))
    largest, divisor = np.ones(asked), np.ones(asked)
    for effect, freedom in levels:
        mine = np.maximum(effect[:asked], effect[asked:].max())
        mine = mine if confirmed else 1 + ALONE * (mine - 1)
        student = special.stdtrit(freedom, 1 - TAIL) / special.ndtri(1 - TAIL)
        divisor = np.where(mine > largest, mine * student**2, divisor)
        largest = np.maximum(largest, mine)
    return divisor


def _within(below: Floats, sizes: Floats) -> tuple[Floats, int]:
    """Where deployments allow, a batch is held against the same batch of the others, for the load may change within a window."""
    used = sizes.sum(axis=0) > 0
    below, sizes = below[:, used], sizes[:, used]
    if len(sizes) < SPREAD_DEPLOYMENTS:
        return _against(below, sizes, _share(below, sizes), int(np.count_nonzero(sizes)) - 1)
    return _against(below, sizes, below.sum(axis=0) / sizes.sum(axis=0)[:, None], (len(sizes) - 1) * sizes.shape[1])


def _share(below: Floats, sizes: Floats) -> Floats:
    share: Floats = below.sum(axis=(0, 1)) / sizes.sum()
    return share


def _against(below: Floats, sizes: Floats, expected: Floats, freedom: int) -> tuple[Floats, int]:
    """Variance of the counts about what is expected of each over that of independent draws, and the degrees of freedom of it; 1 where there
    is nothing to learn from."""
    clusters = tuple(range(sizes.ndim))
    share = below.sum(axis=clusters) / sizes.sum()
    coin = share * (1 - share)
    squares = (below - sizes[..., None] * expected) ** 2 / np.maximum(sizes, 1)[..., None]
    known = (coin > 0) & (freedom > 0)
    return np.divide(squares.sum(axis=clusters), coin * max(freedom, 1), out=np.ones_like(share), where=known), max(freedom, 1)
