"""From one run's or two runs' Summary to the effect of pairs of groups on the primary metric, with a verdict where one may be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from lab.analysis.cost import comparable
from lab.analysis.results import Effect, Group, Summary
from lab.analysis.stats import ALPHA, Ratio, holm, percentile_name, ratio
from lab.analysis.validity import claim, no_claim, primary_quantile
from lab.model import Stat
from lab.power import VERDICT_DEPLOYMENTS

Verdict = Literal["better", "worse", "cannot tell", "exploratory"]


def effects(summary: Summary) -> tuple[Effect, ...]:
    """b against a for every pair of groups that do the same work; smaller is better. p-values are corrected over all pairs (Holm),
    intervals are not."""
    pairs = comparable(summary.groups)
    ratios = [_ratio(a, b, paired=a.blocks == b.blocks) for a, b in pairs]
    corrected = holm([r.p_value for r in ratios])
    return tuple(_effect(summary, a, b, r, p, len(pairs)) for (a, b), r, p in zip(pairs, ratios, corrected, strict=True))


def _ratio(a: Group, b: Group, *, paired: bool) -> Ratio:
    """Of interleaved groups that are valid in the same blocks by block, else Welch over all deployments."""
    for group in (a, b):
        if not group.primary_per_deployment:
            return Ratio(stat=Stat.missing("ratio", f"{group.name}: {_why(group)}"), p_value=1.0, paired=paired)
    return ratio(a.primary_per_deployment, b.primary_per_deployment, paired=paired)


def _why(group: Group) -> str:
    return group.primary.why_missing or "a deployment alone has too few requests for the primary metric"


def _effect(summary: Summary, a: Group, b: Group, found: Ratio, p_value: float, pairs: int) -> Effect:
    verdict, reason = _verdict(summary, a, b, found, p_value, pairs)
    return Effect(metric=summary.primary_metric, a=a.name, b=b.name, ratio=found.stat, verdict=verdict, reason=reason)


def _verdict(summary: Summary, a: Group, b: Group, found: Ratio, p_value: float, pairs: int) -> tuple[Verdict, str]:
    if found.stat.value is None:
        return "cannot tell", found.stat.why_missing
    deployments = min(len(a.primary_per_deployment), len(b.primary_per_deployment))
    if not summary.verdicts or deployments < VERDICT_DEPLOYMENTS:
        counts = f"{len(a.primary_per_deployment)} and {len(b.primary_per_deployment)} valid deployments"
        return "exploratory", f"{counts}; a verdict needs {VERDICT_DEPLOYMENTS} of each"
    if (why := _forbidden(summary) or _below_floor(summary, a, b)) is not None:
        return "cannot tell", why
    test = (
        f"{'paired by block' if found.paired else 'Welch'}, p = {p_value:.2g} after Holm's correction over {pairs} pair{'s'[: pairs != 1]}"
    )
    if p_value >= ALPHA:
        return "cannot tell", f"the difference may be chance ({test})"
    return ("better" if found.stat.value < 1 else "worse"), f"{deployments} deployments of each, {test}"


def _forbidden(summary: Summary) -> str | None:
    needed = claim(summary.primary_metric)
    return None if needed in summary.claims else no_claim(needed, summary.machine_class, summary.isolation)


def _below_floor(summary: Summary, a: Group, b: Group) -> str | None:
    """A latency difference below the driver's own floor (its p50 where the sample does not support the metric's percentile) is none."""
    q = primary_quantile(summary.primary_metric)
    if q is None:
        return None
    floor = _floor(summary.floor_driver_ms, percentile_name(q))
    if floor.value is None:
        return f"the floor of the driver is not known: {floor.why_missing}"
    difference = abs((b.primary.value or 0.0) - (a.primary.value or 0.0))
    if difference < floor.value:
        return f"the difference of {difference:.2g} ms is below the floor of the driver, {floor.value:.2g} ms"
    return None


def _floor(floors: Mapping[str, Stat], name: str) -> Stat:
    stat = floors.get(name)
    return stat if stat is not None and stat.value is not None else floors["p50"]


def between(a: Summary, b: Summary, forced: Sequence[str]) -> tuple[Effect, ...]:
    """The groups that both runs have, run b against run a. Two runs are not interleaved: what changed on the machine between them is in the
    ratio too, so Welch's test over deployments, and no verdict across different machines (`forced` names the fields that differ)."""
    pairs = [(one, other) for one in a.groups for other in b.groups if one.name == other.name]
    found = [_ratio(one, other, paired=False) for one, other in pairs]
    corrected = holm([r.p_value for r in found])
    made = []
    for (one, other), r, p_value in zip(pairs, found, corrected, strict=True):
        verdict, reason = _verdict(b, one, other, r, p_value, len(pairs))
        if forced and verdict in ("better", "worse"):
            verdict, reason = "exploratory", f"the machines differ in {', '.join(forced)}"
        names = f"{a.run}/{one.name}", f"{b.run}/{other.name}"
        made.append(
            Effect(metric=b.primary_metric, a=names[0], b=names[1], ratio=r.stat, verdict=verdict, reason=f"{reason}; not interleaved")
        )
    return tuple(made)
