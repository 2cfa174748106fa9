"""What a comparison of providers holds: the same scenario's rankings side by side, where they agree, and what turned them where not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lab.analysis.results import CellVerdict
from lab.model import Stat
from lab.model.measure import Basis

SCHEMA_VERSION = 1
Agreement = Literal["agree", "disagree", "cannot tell", "nothing to rank"]
FLIPS = "flips"  # what a side says of a pair whose order turns within the cloud ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One run. `name` is its provider. `invalid`: the INVALID cells of any role, with their reasons. `functions`: at which memory the
    costs price a function, in words."""

    name: str
    run: str
    identity: str
    machine_class: str
    isolation: str
    enforcement: str
    scaler: str
    driver: str
    deployments: int
    verdicts: bool
    cells: int
    invalid: tuple[CellVerdict, ...]
    floor_driver_ms: Stat
    floor_path_ms: Stat
    answer: str
    functions: str
    started_at: str
    command: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """One group on one side, at the primary rate; `month` maps traffic to USD on the allocation basis. `parts_ms`: where the time
    of a median request goes."""

    group: str
    side: str
    valid_deployments: int
    deployments: int
    p50: Stat
    cpu_ms_architecture: Stat
    cpu_ms_platform: Stat
    held_rate_per_s: Stat
    cold_ms: Stat
    ready_s: Stat
    month: Mapping[str, Stat]
    parts_ms: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What one side says of a pair. `says`: the group that is better, or "flips"; empty where it cannot be told, and `why` says why."""

    side: str
    says: str
    words: str
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one part adds to b - a on each side, in the unit of the ranking."""

    name: str
    on: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """`parts` add up to the difference b - a on each side; only where the sides do not agree and every side measured them. `reasons`: which
    of them moved it. `causes`: what is behind, about a whole group or run, so that many pairs share them."""

    a: str
    b: str
    status: Agreement
    said: tuple[Said, ...]
    unit: str = ""
    parts: tuple[Part, ...] = ()
    reasons: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of a ranking's chart: a group, or a pair with its break-even, and its figure on each side."""

    name: str
    on: tuple[Stat, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """One ranking. It agrees when the sides agree on every pair, disagrees when they disagree on one, else it cannot be told; without pairs
    there is nothing to rank. `orders`: each side's own order, best first, "<" where it is told, "=" where it is told to be the same, "≈"
    where not; empty for break-evens."""

    metric: str
    title: str
    model_size: str
    basis: Basis
    unit: str
    status: Agreement
    pairs: tuple[Pair, ...]
    rows: tuple[Row, ...] = ()
    orders: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SideBySide:
    """`differences`: fields of the machine's identity that differ beside the provider, with the value of each side."""

    id: str
    scenario: str
    scenario_sha256: str
    workload: str
    primary_rate_per_s: float
    sides: tuple[Side, ...]
    rankings: tuple[Ranked, ...]
    numbers: tuple[Numbers, ...]
    differences: Mapping[str, tuple[str, ...]]
    answer: str
    certainty: str
    notes: tuple[str, ...]
    kind: Literal["providers"] = "providers"
    schema_version: int = SCHEMA_VERSION
