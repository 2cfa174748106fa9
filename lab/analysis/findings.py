"""Sentences of one cell as they are found: reasons why it is INVALID, and warnings; and the rate up to which what is found counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.analysis.measured import Measured, Step
from lab.model import Plan


@dataclass
class Findings:
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, sentence: str, invalid: bool) -> None:
        (self.reasons if invalid else self.warnings).append(sentence)


def placed(measured: Measured, step: Step) -> str:
    return "in the closed loop" if measured.cell.load.closed else f"at {step.rate_per_s:g}/s"


def judged_rate(measured: Measured, plan: Plan) -> float:
    """A floor has one rate of its own; subjects are judged at the primary one, those of a search up to the rate that it found."""
    if measured.cell.load.search is not None:
        return max((p.rate_per_s for p in measured.status.probes if p.verdict == "passed"), default=plan.primary_rate_per_s)
    return plan.primary_rate_per_s if measured.cell.role == "subject" else max(measured.cell.load.rates_per_s)
