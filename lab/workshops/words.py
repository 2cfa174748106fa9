"""Lessons, starts and judged predictions in, the lines that say them to the learner out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab.workshops.check import Checked
from lab.workshops.learner import Begun
from lab.workshops.lesson import Judged

MARKS = {True: "right", False: "not so", None: "your run cannot tell"}


def lessons(titles: Mapping[str, str]) -> list[str]:
    width = max(map(len, titles), default=0)
    return [*(f"{name:<{width}}  {title}" for name, title in titles.items()), "", "`lab workshop start NAME` begins one"]


def begun(found: Begun) -> list[str]:
    return [found.title, "", *(f"  {number}. {step}" for number, step in enumerate(found.steps, 1))]


def checked(found: Checked) -> list[str]:
    lines = [f"{found.title}: judged by {', '.join(found.runs)}; predictions sealed at {found.sealed_at}"]
    for number, one in enumerate(found.judged, 1):
        lines += ["", *_one(number, one)]
    lines += ["", *(f"note: {note}" for note in found.notes)]
    told = [one.right for one in found.judged if one.right is not None]
    return [*lines, f"{sum(told)} of {len(told)} predictions were right; the others are what this lesson is for."]


def _one(number: int, one: Judged) -> Iterator[str]:
    yield f"{number}. {one.ask}"
    yield f"   you predicted  {amount(one.predicted, one.unit)}"
    if one.shows is not None:
        interval = f"  (95 %: {one.low:.3g} to {one.high:.3g})" if one.low is not None and one.high is not None else ""
        yield f"   your run       {amount(one.shows, one.unit)}{interval}"
    yield f"   {MARKS[one.right]}: {one.why}"


def amount(value: str | float, unit: str) -> str:
    return value if isinstance(value, str) else f"{value:.3g} {unit}".rstrip()
