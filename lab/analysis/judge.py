"""One pair on one metric, as functions over the ranges, in; holds, flips at X or cannot out, with the sentence that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from lab.analysis.cloud import Position
from lab.analysis.ranges import TERMS, Ranges
from lab.analysis.results import Ranking

HOLDS_AT = 0.95
MIDDLE = 0.5
SCAN = 17  # points of a range between which a crossing is searched by bisection
BISECTIONS = 40

Figure = Callable[[Position], float]
"""The metric of one group at one point of the ranges; less is better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """`here_a`, `here_b`: the figures without a cloud. `terms`: the ranges that the metric depends on. `verb` says how one is better, {} is
    the other. A difference within `floor`, or within `floor_share` of the smaller figure, is none, and `same` says so; `floor` None: it was
    not measured."""

    metric: str
    a: str
    b: str
    figure_a: Figure
    figure_b: Figure
    here_a: float
    here_b: float
    ranges: Ranges
    terms: tuple[str, ...]
    verb: str
    same: str
    floor: float | None = 0.0
    floor_share: float = 0.0

    def difference(self, at: Position) -> float:
        """b - a: above 0 where a is better."""
        return self.figure_b(at) - self.figure_a(at)


def cannot(metric: str, a: str, b: str, why: str, shares: Mapping[str, float] | None = None) -> Ranking:
    return Ranking(metric=metric, a=a, b=b, status="cannot", winner="", shares=shares or {}, flip_at="", sentence=why)


def judge(q: Question, points: Sequence[Position]) -> Ranking:
    if q.floor is None:
        return cannot(
            q.metric, q.a, q.b, f"the floor of the path was not measured at this percentile, so {_metric(q)} cannot be told apart from it"
        )
    a, b = (np.array([figure(p) for p in points]) for figure in (q.figure_a, q.figure_b))
    shares = {q.a: float(np.mean(a < b)), q.b: float(np.mean(b < a))}
    if np.median(np.abs(a - b)) <= _floor(q, float(np.median(np.minimum(a, b)))):
        return cannot(q.metric, q.a, q.b, q.same, shares)
    winner, loser = (q.a, q.b) if shares[q.a] >= shares[q.b] else (q.b, q.a)
    if shares[winner] < HOLDS_AT:
        return _flips(q, shares)
    said = f"in {percent(shares[winner])} of the cloud ranges"
    if _better_here(q) == loser:
        sentence = f"{loser} {q.verb.format(winner)} as measured here, but it is the other way round {said}"
        return _ranking(q, "flips", "", shares, "the step from this machine to a cloud", sentence)
    return _ranking(q, "holds", winner, shares, "", f"{winner} {q.verb.format(loser)} {said}")


def _floor(q: Question, figure: float) -> float:
    return max(q.floor or 0.0, q.floor_share * figure)


def _better_here(q: Question) -> str:
    """Empty where the difference is below the floor."""
    difference = q.here_b - q.here_a
    return "" if abs(difference) <= _floor(q, min(q.here_a, q.here_b)) else q.a if difference > 0 else q.b


def _metric(q: Question) -> str:
    return q.metric.removesuffix("_ms")


def percent(share: float) -> str:
    """Never rounded up to all."""
    return f"{np.floor(share * 100 + 1e-9):.0f} %"


def _ranking(
    q: Question, status: Literal["holds", "flips"], winner: str, shares: Mapping[str, float], flip_at: str, sentence: str
) -> Ranking:
    return Ranking(metric=q.metric, a=q.a, b=q.b, status=status, winner=winner, shares=shares, flip_at=flip_at, sentence=sentence)


def _flips(q: Question, shares: Mapping[str, float]) -> Ranking:
    middle = dict.fromkeys(TERMS, MIDDLE)
    better, worse = (q.a, q.b) if q.difference(middle) >= 0 else (q.b, q.a)
    said = f"{better} {q.verb.format(worse)}"
    nearest = min((c for term in q.terms for c in crossings(q, middle, term)), key=lambda c: abs(c[1] - MIDDLE), default=None)
    if nearest is None:
        sentence = f"{said} in {percent(shares[better])} of the cloud ranges; no single one of them turns it, several together do"
        return _ranking(q, "flips", "", shares, "several ranges together", sentence)
    term, position = nearest
    value = f"{q.ranges[term].median(position):.2g}"
    side = "less" if position > MIDDLE else "more"
    says = q.ranges[term].says
    return _ranking(q, "flips", "", shares, says.format(value), f"{said} only while {says.format(f'{side} than {value}')}")


def crossings(q: Question, middle: Position, term: str) -> Iterator[tuple[str, float]]:
    """Where along one range, the others at `middle`, the order turns: (term, position), by bisection."""

    def difference(position: float) -> float:
        return q.difference({**middle, term: position})

    scanned = [(i / (SCAN - 1), difference(i / (SCAN - 1))) for i in range(SCAN)]
    for (low, at_low), (high, at_high) in pairwise((p, d) for p, d in scanned if d != 0):
        if at_low * at_high > 0:
            continue
        for _ in range(BISECTIONS):
            half = (low + high) / 2
            if difference(half) * at_low > 0:
                low = half
            else:
                high = half
        yield term, (low + high) / 2
