"""The ranges file in, terms that can be drawn out: what a cloud adds that one machine cannot show, with source, date and grade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.stats import qmc

from lab import registry
from lab.analysis import strict_yaml
from lab.analysis.price_book import AsOf, Grade, Positive, Text
from lab.errors import InputError

FILE = Path("transfer") / "ranges.yaml"
TERMS = ("hop", "store", "database", "sandbox", "package", "call", "cpu_scale", "memory")
NORMAL_99 = 2.3263478740408408  # standard deviations from the median to the p99


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    what: Text
    unit: Literal["ms", "times", "min"]
    low: Positive
    high: Positive
    source: Text
    as_of: AsOf
    grade: Grade
    p99_low: Positive | None = None
    p99_high: Positive | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    rows: tuple[str, ...]
    says: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class TailRatio:
    value: Positive
    why: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class RangesFile:
    schema_version: Literal[1]
    rows: Mapping[str, Row]
    terms: Mapping[str, Drawn]
    tail_ratio: TailRatio


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """`low` and `high` ends of the median, `p99_low` and `p99_high` of the p99 that go with them. `says` holds one {}."""

    name: str
    low: float
    high: float
    p99_low: float
    p99_high: float
    says: str = "{}"

    def median(self, position: float) -> float:
        """`position` 0 is the low end, 1 the high end, even steps on the log scale."""
        return float(self.low * (self.high / self.low) ** position)

    def sigma(self, position: float) -> float:
        """Of the log-normal with the median and the p99 at `position`."""
        p99 = self.p99_low * (self.p99_high / self.p99_low) ** position
        return max(0.0, log(p99 / self.median(position))) / NORMAL_99

    def fixed(self, value: float) -> Term:
        return replace(self, low=value, high=value, p99_low=value, p99_high=value)


Ranges = Mapping[str, Term]


def measured_scale(ranges: Ranges, cpu_scale: float) -> dict[str, Term]:
    """A `cpu_scale` other than 1 is taken as measured on the user's cloud: then it is not drawn."""
    return {**ranges, **({"cpu_scale": ranges["cpu_scale"].fixed(cpu_scale)} if cpu_scale != 1.0 else {})}


def hypercube(draws: int, seed: int) -> list[dict[str, float]]:
    """Latin hypercube of positions over all terms and two choices (free tier, grade C), which are yes above 0.5."""
    names = (*TERMS, "free_tier", "all_grades")
    sample = qmc.LatinHypercube(d=len(names), rng=np.random.default_rng(seed)).random(draws)
    return [dict(zip(names, (float(x) for x in row), strict=True)) for row in sample]


def load(path: Path | None = None) -> dict[str, Term]:
    """From `path`, else prices/transfer/ranges.yaml of the project, else the one that ships. Raises InputError with every problem."""
    file = path or next(f / FILE for f in registry.folders("prices") if (f / FILE).is_file())
    problems: list[str] = []
    document = strict_yaml.load(file, problems)
    found = strict_yaml.convert(document, RangesFile, problems)
    if found is not None:
        problems += _problems(found, document)
    if found is None or problems:
        raise InputError(f"{file} has {len(problems)} problems", "lab/prices/transfer/ranges.yaml shows the form", problems)
    return {name: _term(name, found) for name in TERMS}


def _problems(found: RangesFile, document: strict_yaml.Document) -> list[str]:
    problems = []
    for name in TERMS:
        if name not in found.terms:
            problems.append(f"{document.place(('terms',))}: terms.{name}: found nothing, wanted it to be given")
    for name, drawn in found.terms.items():
        at = document.place(("terms", name))
        if name not in TERMS:
            problems.append(f"{at}: terms.{name}: found an unknown term, wanted one of {', '.join(TERMS)}")
        if not drawn.rows or any(r not in found.rows for r in drawn.rows):
            problems.append(f"{at}: terms.{name}.rows: found {list(drawn.rows)}, wanted some of {', '.join(found.rows)}")
        if drawn.says.count("{}") != 1:
            problems.append(f"{at}: terms.{name}.says: found {drawn.says!r}, wanted a sentence with one {{}}")
    for name, row in found.rows.items():
        if row.high < row.low:
            problems.append(f"{document.place(('rows', name))}: rows.{name}: found low {row.low:g} above high {row.high:g}")
    return problems


def _term(name: str, found: RangesFile) -> Term:
    drawn = found.terms[name]
    first, last, ratio = found.rows[drawn.rows[0]], found.rows[drawn.rows[-1]], found.tail_ratio.value
    exact = name in ("cpu_scale", "memory")  # one value per draw, no spread from request to request
    return Term(
        name=name,
        low=first.low,
        high=last.high,
        p99_low=first.low if exact else first.p99_low or first.low * ratio,
        p99_high=last.high if exact else last.p99_high or last.high * ratio,
        says=drawn.says,
    )
