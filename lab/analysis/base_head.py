"""Effects of head against base in, what a run of two commits says out: no winner, no prices, but how head differs, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from lab.analysis.answer import ISOLATION, SHARED
from lab.analysis.results import Comparison, Effect, Summary
from lab.power import VERDICT_DEPLOYMENTS, tellable

WORDS = {"better": "better", "worse": "WORSE", "cannot tell": "cannot tell", "exploratory": "no verdict"}


def comparison(summary: Summary, effects: Sequence[Effect]) -> Comparison:
    """Costs and cloud rankings compare architectures; two commits of one have the same."""
    return Comparison(
        run=summary.run,
        effects=tuple(effects),
        costs=None,
        rankings=(),
        answer=" ".join(_sentence(summary, e) for e in effects) or "Nothing was measured of base and head.",
        certainty=_certainty(summary),
        notes=("`lab gate` judges the scenario's thresholds; this is the effect on the primary metric alone.",),
    )


def _sentence(summary: Summary, e: Effect) -> str:
    subject = e.b.removesuffix(" @head")
    at = f"{e.metric.removesuffix('_ms')} at {summary.primary_rate_per_s:g} requests/s"
    ratio = e.ratio
    if ratio.value is None:
        return f"{subject}: head against base cannot be told, because {e.reason or ratio.why_missing}."
    interval = f" (95 % interval {_change(ratio.low)} to {_change(ratio.high)})" if ratio.low is not None and ratio.high is not None else ""
    return f"{subject}: {at} of head is {_change(ratio.value)} against base{interval}: {WORDS[e.verdict]}, {e.reason}."


def _change(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _certainty(summary: Summary) -> str:
    n, least = summary.deployments, tellable(summary.detectable_ratio)
    said = f"{n} deployments of each side, interleaved on one machine"
    said += f", able to tell differences above {100 * least:.0f} %." if least is not None else "."
    if n < VERDICT_DEPLOYMENTS:
        said += f" Exploratory: a verdict needs {VERDICT_DEPLOYMENTS} of each."
    said += f" Measured on {summary.machine_class}, {ISOLATION.get(summary.isolation, SHARED)} (isolation {summary.isolation})."
    invalid = sum(not c.valid for c in summary.cells)
    if invalid:
        said += f" {invalid} of {len(summary.cells)} cells {'is' if invalid == 1 else 'are'} INVALID and left out."
    return said
