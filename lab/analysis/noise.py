"""From the primary metric of every deployment to INVALID for groups whose deployments differ far more than they do on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scipy import stats

from lab.analysis.results import CellVerdict
from lab.analysis.stats import pooled_spread
from lab.model import Plan

SURE = 0.999  # of an F test: one quiet group of a thousand is taken for a noisy one
LEAST = 0.05  # a spread below it moves no verdict that anyone would act on


def unsettled(verdicts: Sequence[CellVerdict], primaries: Mapping[str, Sequence[float]], plan: Plan) -> tuple[CellVerdict, ...]:
    """All valid cells of such a group become INVALID: which of its deployments were disturbed cannot be told, and leaving out the odd ones
    would be choosing. `primaries`: group -> one value for each valid deployment. Only against a spread that was learned here."""
    if plan.spread_source == "assumed":
        return tuple(verdicts)
    said = {name: words for name, values in primaries.items() if (words := _noisy(values, plan.spread))}
    return tuple(replace(v, valid=False, reasons=(said[v.group],)) if v.valid and v.group in said else v for v in verdicts)


def _noisy(values: Sequence[float], learned: float) -> str:
    """Both spreads are taken to come from so many deployments; empty where the difference may be chance."""
    found = pooled_spread([values])
    if found is None:
        return ""
    freedom = len(values) - 1
    limit = max(LEAST, learned * float(stats.f.ppf(SURE, freedom, freedom)) ** 0.5)
    if found <= limit:
        return ""
    return f"the {len(values)} deployments differ by {found:.1%} (A/A spread); this machine's is {learned:.1%}, limit {limit:.1%}"
