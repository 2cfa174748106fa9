"""From a run's Summary and its Plan's thresholds to the Verdict: PASS, FAIL or INCONCLUSIVE, each with its interval and its reason.

A threshold is decided by an interval over deployments: FAIL when all of it breaks the limit, PASS when all of it keeps it, else
INCONCLUSIVE. Its level is corrected for the looks (lab.analysis.spending) and for the number of thresholds (Bonferroni, so that the
interval shown is the one that decided). A gate passes when every threshold does and fails when one does. INVALID cells do not count.
tests/unit/test_gate_simulation.py has the error rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.analysis.intervals import Interval, absolute, against
from lab.analysis.results import Deployed, Group, Summary
from lab.analysis.spending import ALPHA, levels
from lab.analysis.validity import no_claim
from lab.analysis.verdict import Judged, Outcome, Verdict, told
from lab.errors import InputError
from lab.model import GatePlan, Plan, Stat, Threshold
from lab.thresholds import METRICS, MORE_IS_BETTER

NEEDS = {"p50_ms": "p50", "p95_ms": "tail", "p99_ms": "tail", "mean_ms": "tail", "cpu_ms": "cpu", "cold_ms": "cold", "memory_mib": "bytes"}
AGAIN = "`lab run SCENARIO --base REF` makes a run that a gate can judge"


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """`base` None where the run has one side only."""

    name: str
    base: Group | None
    head: Group


@dataclass(frozen=True, kw_only=True)
class _Look:
    """`index` of `looks`; `alpha` is what one threshold may spend at it, two-sided."""

    index: int
    looks: tuple[int, ...]
    alpha: float


def judge(summary: Summary, plan: Plan) -> Verdict:
    """Raises InputError where there is nothing to judge: no thresholds, no base, no data, a metric nobody measured, a run cut off."""
    return _judge(summary, plan, None)


def decided(summary: Summary, plan: Plan, look: int) -> bool:
    """Whether a run with `look` deployments per arm may stop: it passes or fails, it was the last look, or what is open stays open with any
    number of deployments."""
    try:
        found = _judge(summary, plan, look)
    except InputError:
        return True
    if found.verdict != "INCONCLUSIVE" or look >= found.looks[-1]:
        return True
    return all(j.verdict != "INCONCLUSIVE" or _forbidden(summary, j.threshold) is not None for j in found.judged)


def _judge(summary: Summary, plan: Plan, at: int | None) -> Verdict:
    gate = plan.gate
    if gate is None or not gate.thresholds:
        raise InputError(f"{summary.run} has no thresholds to judge", f"give its scenario `gate: {{thresholds: [...]}}`; {AGAIN}")
    pairs = _pairs(summary, gate)
    look = _look(summary, plan, gate, pairs, at)
    judged = tuple(_judged(summary, gate, pair, t, look) for pair in pairs for t in gate.thresholds)
    verdict = overall([j.verdict for j in judged])
    return Verdict(
        run=summary.run,
        scenario=summary.scenario,
        verdict=verdict,
        sentence=sentence(verdict, judged),
        judged=judged,
        deployments=look.looks[look.index],
        least=gate.least,
        looks=look.looks,
        levels=levels(look.looks),
        alpha=ALPHA,
        refs=plan.refs,
        primary_rate_per_s=plan.primary_rate_per_s,
        machine=summary.machine,
        machine_class=summary.machine_class,
        command=summary.command,
        started_at=summary.started_at,
        invalid=_invalid(summary, pairs),
        notes=_notes(summary, gate, look),
    )


def overall(outcomes: Sequence[Outcome]) -> Outcome:
    if "FAIL" in outcomes:
        return "FAIL"
    return "PASS" if outcomes and all(o == "PASS" for o in outcomes) else "INCONCLUSIVE"


def sentence(verdict: Outcome, judged: Sequence[Judged]) -> str:
    if verdict == "PASS":
        better = [j.threshold.metric for j in judged if j.improved]
        told = f"; head is better than base on {', '.join(dict.fromkeys(better))}" if better else ""
        return f"every threshold holds ({len(judged)}){told}"
    return "; ".join(f"{j.threshold.text}: {j.why}" for j in judged if j.verdict == verdict)


# ---- what is judged --------------------------------------------------------------------------------------------------


def _pairs(summary: Summary, gate: GatePlan) -> tuple[_Pair, ...]:
    heads = [g for g in summary.groups if g.code_ref != "base"]
    bases = {_subject(g): g for g in summary.groups if g.code_ref == "base"}
    pairs = tuple(_Pair(name=g.name.removesuffix(" @head"), base=bases.get(_subject(g)), head=g) for g in heads)
    alone = [g.name for key, g in bases.items() if key not in map(_subject, heads)]
    if not pairs or alone:
        raise InputError(f"{summary.run} measured no head{f' beside {alone[0]}' if alone else ''}: there is nothing to judge", AGAIN)
    relative = next((t for t in gate.thresholds if t.against_base), None)
    without = next((p for p in pairs if p.base is None), None)
    if without is not None and (relative is not None or bases):
        asked = f"; {relative.text!r} asks for one" if relative else ""
        raise InputError(f"{summary.run} has no base for {without.name}{asked}", AGAIN)
    for threshold in gate.thresholds:
        _taken(summary, pairs, threshold)
    return pairs


def _subject(group: Group) -> tuple[str, ...]:
    return group.architecture, group.variant, group.model_size, group.provider, group.workload


def _taken(summary: Summary, pairs: Sequence[_Pair], threshold: Threshold) -> None:
    """Raises InputError for a metric that nobody measured on a side that has valid deployments."""
    if threshold.metric not in METRICS:
        raise InputError(f"{threshold.text!r}: nobody measures {threshold.metric!r}", f"there are {', '.join(METRICS)}")
    for group in (g for p in pairs for g in (p.base, p.head) if g is not None and g.valid_deployments):
        if not group.deployed:
            raise InputError(f"{summary.run}: summary.json has no figures per deployment", "`lab analyze RUN` makes it again")
        found = group.deployed.get(threshold.metric)
        if found is None or not found.measured:
            why = f": {found.why_missing}" if found else ""
            raise InputError(
                f"{threshold.text!r}: nobody measured {threshold.metric} of {group.name}{why}", "take it out of the scenario's gate"
            )


def _look(summary: Summary, plan: Plan, gate: GatePlan, pairs: Sequence[_Pair], at: int | None) -> _Look:
    """Which look this is: by the deployments that were measured, valid or not. A run with one side only has one look, at its end."""
    names = {g.name for p in pairs for g in (p.base, p.head) if g is not None}
    reached = min(sum(c.measured and c.group == name for c in summary.cells) for name in names) if at is None else at
    if not reached:
        raise InputError(f"{summary.run} has no data: not one deployment of each side was measured", "`lab run --resume RUN` goes on")
    last = gate.most if plan.refs else plan.deployments
    looks = (*sorted(look for look in set(gate.looks) if look < last and plan.refs), last)
    if reached not in looks:
        following = next((look for look in looks if look > reached), looks[-1])
        what = f"{summary.run} was cut off after {reached} deployments per arm; the next look is at {following}"
        raise InputError(what, "`lab run --resume RUN` goes on")
    index = looks.index(reached)
    return _Look(index=index, looks=looks, alpha=levels(looks)[index] / (len(gate.thresholds) * len(pairs)))


# ---- one threshold ---------------------------------------------------------------------------------------------------


def _judged(summary: Summary, gate: GatePlan, pair: _Pair, threshold: Threshold, look: _Look) -> Judged:
    head = pair.head.deployed.get(threshold.metric, Deployed(unit=""))
    base = pair.base.deployed.get(threshold.metric, Deployed(unit="")) if pair.base is not None else None
    if (why := _unusable(summary, gate, pair, threshold)) is not None:
        unit = "ratio" if threshold.against_base else head.unit
        return Judged(
            threshold=threshold, group=pair.name, verdict="INCONCLUSIVE", why=why, effect=Stat.missing(unit, why), alpha=look.alpha
        )
    if threshold.against_base and base is not None and pair.base is not None:
        found = against((pair.base.blocks, base), (pair.head.blocks, head), gate.least, look.alpha)
    else:
        found = absolute(head, look.alpha)
    return decide(threshold, pair.name, found, look.alpha, floor=_floor(summary, threshold))


def _unusable(summary: Summary, gate: GatePlan, pair: _Pair, threshold: Threshold) -> str | None:
    sides = [pair.head] if pair.base is None or not threshold.against_base else [pair.base, pair.head]
    for side in sides:
        if side.valid_deployments < gate.least:
            return f"{side.valid_deployments} valid deployments of {side.name}; the gate needs {gate.least}"
        if why := side.deployed[threshold.metric].why_missing:
            return f"{side.name}: {why}"
    return _forbidden(summary, threshold)


def _forbidden(summary: Summary, threshold: Threshold) -> str | None:
    needed = NEEDS.get(threshold.metric)
    return None if needed is None or needed in summary.claims else no_claim(needed, summary.machine_class, summary.isolation)


def decide(threshold: Threshold, group: str, found: Interval, alpha: float, *, floor: float | None = None) -> Judged:
    """`floor`: a latency difference against base below it is none (DESIGN 5.7), so it cannot fail a gate."""
    outcome, why = _outcome(threshold, found.effect)
    if outcome == "FAIL" and threshold.against_base and floor is not None and found.difference is not None and found.difference < floor:
        outcome, why = "INCONCLUSIVE", f"the difference of {found.difference:.2g} ms is below the floor of the driver, {floor:.2g} ms"
    return Judged(
        threshold=threshold,
        group=group,
        verdict=outcome,
        why=why,
        effect=found.effect,
        alpha=alpha,
        base=found.base,
        head=found.head,
        noise=found.noise,
        detectable=found.detectable(threshold),
        improved=threshold.against_base and _improved(threshold.metric, found.effect),
        paired=found.paired,
    )


def _outcome(threshold: Threshold, effect: Stat) -> tuple[Outcome, str]:
    if effect.value is None or effect.low is None or effect.high is None:
        return "INCONCLUSIVE", effect.why_missing or f"{effect.n} deployments give no interval at this level"
    limit, shown = threshold.limit, told(threshold, effect)
    broken = effect.low >= limit if threshold.below else effect.high <= limit
    kept = effect.high < limit if threshold.below else effect.low > limit
    if broken:
        return "FAIL", f"{shown}: all of the interval breaks the limit"
    return ("PASS", f"{shown}: all of the interval keeps the limit") if kept else ("INCONCLUSIVE", f"{shown}: the interval holds the limit")


def _improved(metric: str, effect: Stat) -> bool:
    if effect.low is None or effect.high is None:
        return False
    return effect.low > 1 if metric in MORE_IS_BETTER else effect.high < 1


def _floor(summary: Summary, threshold: Threshold) -> float | None:
    name = threshold.metric.removesuffix("_ms")
    stat = summary.floor_driver_ms.get(name) if NEEDS.get(threshold.metric) in ("p50", "tail") else None
    return stat.value if stat is not None else None


# ---- beside it -------------------------------------------------------------------------------------------------------


def _invalid(summary: Summary, pairs: Sequence[_Pair]) -> tuple[str, ...]:
    names = {g.name for p in pairs for g in (p.base, p.head) if g is not None}
    return tuple(f"{c.cell}: {'; '.join(c.reasons)}" for c in summary.cells if c.group in names and c.measured and not c.valid)


def _notes(summary: Summary, gate: GatePlan, look: _Look) -> tuple[str, ...]:
    shares = ", ".join(f"{s:.2%} at {n}" for n, s in zip(look.looks, levels(look.looks), strict=True))
    notes = [f"looks (deployments per arm) and what they spend of the {ALPHA:.0%}: {shares}; shared equally by the thresholds"]
    floor = summary.floor_driver_ms.get("p50")
    if floor is None or floor.value is None:
        why = floor.why_missing if floor is not None else "not measured"
        notes.append(f"the floor of the driver is not known ({why}), so small differences of latency are not held against it")
    if gate.least < 10:
        notes.append(f"least: {gate.least} deployments per arm; under 10 the power is small and the spread poorly known")
    return tuple(notes)
