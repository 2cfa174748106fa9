"""What a lesson is made of: questions, each with how its truth is worked out from the learner's own runs, and how an answer is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.analysis.results import Summary
from lab.rundir import RunDir

Prediction = str | float


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """The learner's runs by the name of their scenario, and what was worked out from their raw samples just now."""

    runs: Mapping[str, RunDir]
    summaries: Mapping[str, Summary]


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What the run shows: a choice's text or a number, with its 95 % interval where there is one; None where the run cannot tell. `why`
    explains it by the numbers of the run."""

    shows: Prediction | None
    why: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """`choices`: what may be predicted, or none for a number in `unit`, which is right inside the interval or within the factor `within`
    of what the run shows: a prediction is about the size of things."""

    id: str
    ask: str
    truth: Callable[[Evidence], Truth]
    choices: tuple[str, ...] = ()
    unit: str = ""
    within: float = 1.5

    @property
    def wanted(self) -> str:
        return f"one of: {' | '.join(self.choices)}" if self.choices else f"a number{f' of {self.unit}' if self.unit else ''} above 0"

    def problem(self, found: object) -> str:
        """What is wrong with a prediction; empty when it can be judged."""
        if found is None:
            return f"{self.id}: found nothing, wanted {self.wanted}"
        if self.choices:
            return "" if found in self.choices else f"{self.id}: found {found!r}, wanted {self.wanted}"
        number = isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found) and found > 0
        return "" if number else f"{self.id}: found {found!r}, wanted {self.wanted}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """`right` is None where the run cannot tell."""

    id: str
    ask: str
    unit: str
    predicted: Prediction
    shows: Prediction | None
    low: float | None
    high: float | None
    right: bool | None
    why: str


def judge(question: Question, predicted: Prediction, truth: Truth) -> Judged:
    return Judged(
        id=question.id,
        ask=question.ask,
        unit=question.unit,
        predicted=predicted,
        shows=truth.shows,
        low=truth.low,
        high=truth.high,
        right=None if truth.shows is None else _right(question, predicted, truth),
        why=truth.why,
    )


def _right(question: Question, predicted: Prediction, truth: Truth) -> bool:
    if question.choices or not isinstance(truth.shows, (int, float)):
        return predicted == truth.shows
    low = min(truth.shows / question.within, math.inf if truth.low is None else truth.low)
    high = max(truth.shows * question.within, -math.inf if truth.high is None else truth.high)
    return low <= float(predicted) <= high
