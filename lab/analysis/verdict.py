"""What verdict.json holds: the verdict of a gate as a whole and of each threshold, with all that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.model import CodeRef, Stat, Threshold

SCHEMA_VERSION = 1
Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One threshold on one subject. `effect`: head / base, or head's own figure, with the interval at level 1 - `alpha` that decided.
    `base` and `head`: their figures with 95 % intervals. `noise`: the A/A floor, the standard deviation (log scale) between deployments of
    base (of head where there is none). `detectable`: the true effect, beyond the limit, that a run of this size and noise fails with 80 %
    power. `improved`: the interval says that head is better than base."""

    threshold: Threshold
    group: str
    verdict: Outcome
    why: str
    effect: Stat
    alpha: float
    base: Stat | None = None
    head: Stat | None = None
    noise: float | None = None
    detectable: float | None = None
    improved: bool = False
    paired: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """`deployments` per arm at the look that judged, of `looks`; `levels`: what each look may spend of `alpha`, two-sided, over all
    thresholds together. `invalid`: the cells that did not count, and why."""

    run: str
    scenario: str
    verdict: Outcome
    sentence: str
    judged: tuple[Judged, ...]
    deployments: int
    least: int
    looks: tuple[int, ...]
    levels: tuple[float, ...]
    alpha: float
    machine_class: str
    command: str
    started_at: str = ""
    primary_rate_per_s: float | None = None
    refs: tuple[CodeRef, ...] = ()
    machine: Mapping[str, str | int | float] = field(default_factory=dict)
    invalid: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION


def change(ratio: float) -> str:
    """1.05 is +5.0 %."""
    return f"{100 * (ratio - 1):+.1f} %"


def figure(value: float, unit: str) -> str:
    return f"{100 * value:.2f} %" if unit == "share" else f"{value:.4g}{'/s' if unit == '1/s' else f' {unit}'}"


def amount(threshold: Threshold, value: float, unit: str) -> str:
    """A value of the threshold's effect as people read it."""
    return change(value) if threshold.against_base else figure(value, unit)


def told(threshold: Threshold, effect: Stat) -> str:
    """'+10.2 % (+7.1 % to +13.4 %)'; of a missing one its reason."""
    if effect.value is None:
        return effect.why_missing
    shown = amount(threshold, effect.value, effect.unit)
    if effect.low is None or effect.high is None:
        return f"{shown} (no interval)"
    return f"{shown} ({amount(threshold, effect.low, effect.unit)} to {amount(threshold, effect.high, effect.unit)})"
