"""Two cost curves in, the traffic at which the cheaper one changes out, with its interval and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lab.analysis.bill import Array
from lab.analysis.results import BreakEven
from lab.model import Stat

LOWEST_PER_S, HIGHEST_PER_S = 0.01, 200.0
POINTS = 400
STEPS_AT_MOST = 2000
DRAWS = 400
UNIT = "requests/s"

CostOf = Callable[[Array, float], Array]
"""(traffic per s, spread of the measured figures in standard deviations) -> USD per month."""


@dataclass(frozen=True, slots=True)
class Crossings:
    """`first` is -1 where a is cheaper at the lowest traffic, 1 where b is, 0 where they cost the same everywhere."""

    first: int
    at_per_s: tuple[float, ...]


def grid(steps_per_s: Iterable[float] = (), low: float = LOWEST_PER_S, high: float = HIGHEST_PER_S, points: int = POINTS) -> Array:
    """Rising traffic, evenly spread on the log scale, with a pair of points around every multiple of a step (where a replica is added)."""
    parts: list[Array] = [np.geomspace(low, high, points)]
    for step in steps_per_s:
        if 0 < step < high:
            at = np.asarray(step * np.arange(1, min(int(high / step), STEPS_AT_MOST) + 1), np.float64)
            parts += [at * (1 - 1e-7), at * (1 + 1e-7)]
    together = np.unique(np.concatenate(parts))
    return together[(together >= low) & (together <= high)]


SAME_COST = 0.01  # share of the bill: less is no difference


def crossings(traffic: Array, a: Array, b: Array) -> Crossings:
    """Where a - b changes its sign; between two points both curves are straight lines."""
    difference = a - b
    difference = np.where(np.abs(difference) <= 1e-9 * np.maximum(np.abs(a), np.abs(b)), 0.0, difference)
    sign = np.sign(difference)
    known = np.flatnonzero(sign)
    if not known.size:
        return Crossings(0, ())
    at = []
    for i, j in pairwise(known):
        if sign[i] != sign[j]:
            share = difference[i] / (difference[i] - difference[j])
            at.append(float(traffic[i] + share * (traffic[j] - traffic[i])))
    return Crossings(int(sign[known[0]]), tuple(at))


def break_even(a: str, b: str, cost_a: CostOf, cost_b: CostOf, traffic: Array, *, n: int, known: bool, seed: int) -> BreakEven:
    """`known`: whether every measured figure behind the curves has an interval; without, the break-even has none.

    The interval is that of DRAWS seeded draws of the two groups' figures, each group's moving together; a draw without a crossing counts
    as one at the end of the range, and an end of the interval that lies there is left open."""
    one, other = cost_a(traffic, 0.0), cost_b(traffic, 0.0)
    alike = bool(np.all(np.abs(one - other) <= SAME_COST * np.maximum(one, other)))
    found = Crossings(0, ()) if alike else crossings(traffic, one, other)
    cheap, dear = (a, b) if found.first <= 0 else (b, a)
    if not found.at_per_s:
        why = f"no crossing between {LOWEST_PER_S:g} and {HIGHEST_PER_S:g} {UNIT}"
        stat = Stat.missing(UNIT, why, n, "priced")
        return BreakEven(
            cheaper_below=cheap,
            other=dear,
            traffic_per_s=stat,
            always=cheap if found.first else "",
            sentence=_never(cheap, dear, found.first),
        )
    low, high = _interval(found, cost_a, cost_b, traffic, seed) if known else (None, None)
    stat = Stat(value=found.at_per_s[0], unit=UNIT, n=n, low=low, high=high, basis="priced")
    more = found.at_per_s[1:]
    return BreakEven(cheaper_below=cheap, other=dear, traffic_per_s=stat, more=more, sentence=_sentence(cheap, dear, stat, more))


def _interval(found: Crossings, cost_a: CostOf, cost_b: CostOf, traffic: Array, seed: int) -> tuple[float | None, float | None]:
    """2.5 and 97.5 % of the first crossing over the draws."""
    spreads = np.random.default_rng(seed).standard_normal((DRAWS, 2))
    low, _, high = quantiles(found.first, traffic, ((cost_a(traffic, float(x)), cost_b(traffic, float(y))) for x, y in spreads))
    return low, high


def quantiles(first: int, traffic: Array, drawn: Iterable[tuple[Array, Array]]) -> tuple[float | None, float | None, float | None]:
    """2.5, 50 and 97.5 % of the first crossing over pairs of curves; None where it lies outside the traffic. A draw in which the order at
    the lowest traffic is not `first` counts as a crossing below it, one without a crossing as one above."""
    at = []
    for a, b in drawn:
        found = crossings(traffic, a, b)
        at.append(0.0 if found.first != first else found.at_per_s[0] if found.at_per_s else np.inf)
    ends = np.quantile(at, [0.025, 0.5, 0.975], method="inverted_cdf")
    low, middle, high = (float(x) if 0 < x < np.inf else None for x in ends)
    return low, middle, high


def _sentence(cheap: str, dear: str, at: Stat, more: tuple[float, ...]) -> str:
    text = f"{cheap} is cheaper than {dear} below {rate(at)}"
    if more:
        times = "once" if len(more) == 1 else f"{len(more)} times"
        text += f"; above, the order changes {times} more, last at {more[-1]:.3g} {UNIT}, because replicas come in whole steps"
    return text


def _never(cheap: str, dear: str, first: int) -> str:
    span = f"from {LOWEST_PER_S:g} to {HIGHEST_PER_S:g} {UNIT}"
    return f"{cheap} is cheaper than {dear} {span}" if first else f"{cheap} and {dear} cost the same {span}"


def rate(at: Stat) -> str:
    """'4.1 requests/s (3.5–4.8)'; an open end is said in words."""
    return f"{at.value:.3g} {UNIT}{f' ({span(at)})' if at.low is not None or at.high is not None else ''}"


def span(at: Stat) -> str:
    if at.low is not None and at.high is not None:
        return f"{at.low:.3g}–{at.high:.3g}"
    low = f"{at.low:.3g}" if at.low is not None else f"under {LOWEST_PER_S:g}"
    return f"{low} to {f'{at.high:.3g}' if at.high is not None else f'over {HIGHEST_PER_S:g}'}"
