"""Summary, effects, costs and rankings in, the first screen's sentence, how sure it is, and notes out, by rule."""

from __future__ import annotations

from collections.abc import Sequence

from lab.analysis.breakeven import HIGHEST_PER_S, LOWEST_PER_S, rate, span
from lab.analysis.judge import percent
from lab.analysis.results import BreakEven, Costs, Effect, Group, Ranking, Summary
from lab.analysis.transfer import cost_metric, said_rate
from lab.analysis.waterfall import NO_HEADER
from lab.model import Stat
from lab.model.plan import CLOSED
from lab.power import tellable, tells_nothing

SPEED = ("p50_ms", "p95_ms", "p99_ms")


def answer(
    summary: Summary, effects: Sequence[Effect], costs: Costs | None, rankings: Sequence[Ranking]
) -> tuple[str, str, tuple[str, ...]]:
    """(answer, certainty, notes). A winner is named only where its ranking against every other group holds, and, in a run that gives
    verdicts, where none of them is `cannot tell`; what cannot be named says why."""
    clusters = _clusters(summary.groups)
    sure = _certainty(summary, effects)
    if not clusters:
        return "No winner can be named on this machine, because no architecture was measured.", sure, ()
    said = [_cluster(summary, cluster, effects, costs, rankings) for cluster in clusters]
    return " ".join(said), sure, _notes(summary, costs, rankings)


def _clusters(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups that do the same work on the same provider, and so can be ranked."""
    found: dict[tuple[str, str, str], list[Group]] = {}
    for g in groups:
        found.setdefault((g.workload, g.model_size, g.provider), []).append(g)
    return list(found.values())


def _cluster(summary: Summary, groups: Sequence[Group], effects: Sequence[Effect], costs: Costs | None, rankings: Sequence[Ranking]) -> str:
    where = f"model {groups[0].model_size}"
    if len(groups) == 1:
        return f"{groups[0].name}, {where}: {_alone(summary, groups[0])}. There is nothing to compare it with."
    names = [g.name for g in groups]
    lowest = min((s.rate_per_s for g in groups for s in g.steps), default=summary.primary_rate_per_s)
    fastest, why_fastest = _fastest(summary, names, effects, rankings)
    cheapest, why_cheapest = _cheapest(groups, costs, rankings)
    at = f"At {said_rate(lowest)}, {where}"
    if fastest and cheapest:
        return f"{at}: {fastest}; {cheapest}."
    if fastest:
        return f"{at}: {fastest}. No cheapest can be named, because {why_cheapest}."
    if cheapest:
        return f"At {where}: {cheapest}. No fastest can be named on this machine, because {why_fastest}."
    same = why_fastest == why_cheapest
    return f"At {where}: no winner can be named on this machine, because {why_fastest}{'' if same else f'; and {why_cheapest}'}."


def _alone(summary: Summary, group: Group) -> str:
    """Its figure of the load that it had."""
    held = group.held_rate_per_s.value
    if group.search is not None:
        return f"the largest rate that held is {held:.4g} requests/s" if held is not None else "not even the lowest rate held"
    primary = min(group.steps, key=lambda s: abs(s.rate_per_s - summary.primary_rate_per_s), default=None)
    if primary is None:
        return "no window was measured"
    name = f"p{summary.slo_percentile:g}"
    closed = summary.load_kind in CLOSED
    told, of = (primary.service, "service ") if closed else (primary.latency, "")
    at = "in a closed loop" if closed else f"at {said_rate(primary.rate_per_s)}"
    found = [(p, told[p].value) for p in dict.fromkeys(("p50", name)) if p in told]
    shown = [f"{of}{p} {value:.3g} ms" for p, value in found if value is not None]
    if closed and primary.achieved_per_s.value is not None:
        shown.append(f"{primary.achieved_per_s.value:.4g} answers/s")
    return f"{at} {', '.join(shown)}" if shown else f"{at} no percentile is supported by its sample"


# ---- who is fastest --------------------------------------------------------------------------------------------------


def _fastest(summary: Summary, names: Sequence[str], effects: Sequence[Effect], rankings: Sequence[Ranking]) -> tuple[str, str]:
    """(what is said, why nothing): on the primary metric if it is a latency that can be ranked here, else on the median."""
    metrics = dict.fromkeys(m for m in (summary.primary_metric, SPEED[0]) if m in SPEED)
    why = "no latency was ranked"
    for metric in metrics:
        winner, share, why = _winner(metric, names, rankings)
        undecided = _undecided(metric, winner, effects) if winner else ""
        if winner and not undecided:
            return f"{winner} answers fastest ({metric.removesuffix('_ms')}; holds in {percent(share)} of cloud ranges)", ""
        why = undecided or why
    return "", why


def _winner(metric: str, names: Sequence[str], rankings: Sequence[Ranking]) -> tuple[str, float, str]:
    """(the group whose rankings against all others hold, its smallest share of draws, why there is none: of those that nobody beats)."""
    of = [r for r in rankings if r.metric == metric and r.a in names and r.b in names]
    for name in names:
        against = [r for r in of if name in (r.a, r.b)]
        if len(against) == len(names) - 1 and all(r.status == "holds" and r.winner == name for r in against):
            return name, min(r.shares[name] for r in against), ""
    beaten = {r.b if r.winner == r.a else r.a for r in of if r.status == "holds"}
    open_ones = sorted((r for r in of if r.status != "holds"), key=lambda r: (bool({r.a, r.b} & beaten), r.status != "flips"))
    return "", 0.0, open_ones[0].sentence if open_ones else f"{metric.removesuffix('_ms')} was not ranked"


def _undecided(metric: str, winner: str, effects: Sequence[Effect]) -> str:
    """Why the local difference bears no winner: no verdict where one was due, or an exploratory interval that is missing or holds 1."""
    for e in effects:
        if e.metric != metric or winner not in (e.a, e.b):
            continue
        low, high = e.ratio.low, e.ratio.high
        chance = low is None or high is None or low <= 1 <= high
        if e.verdict == "cannot tell" or (e.verdict == "exploratory" and chance):
            because = e.reason if e.verdict == "cannot tell" else "" if low is not None else "there is no interval"
            return f"the difference between {e.a} and {e.b} cannot be told from chance{f' ({because})' if because else ''}"
    return ""


# ---- who costs least -------------------------------------------------------------------------------------------------


def _cheapest(groups: Sequence[Group], costs: Costs | None, rankings: Sequence[Ranking]) -> tuple[str, str]:
    """(what is said, why nothing): of the group that costs least at low traffic, up to its first break-even, if the cost rankings at the
    priced traffic below it hold. One deployment tells no spread, so none is named from it."""
    if costs is None:
        return "", "no cost was computed"
    names = [g.name for g in groups]
    alone = [g.name for g in groups if g.valid_deployments == 1]
    if alone:
        who = "each architecture has" if len(alone) == len(names) else f"{_all_of(alone)} {'has' if len(alone) == 1 else 'have'}"
        return "", f"{who} one valid deployment only, which tells no spread of the cost"
    between = [b for b in costs.break_even if b.cheaper_below in names and b.other in names]
    for name in names:
        wins = [b for b in between if b.cheaper_below == name and (b.always or b.traffic_per_s.value is not None)]
        if len(wins) == len(names) - 1:
            return _cheapest_if_it_holds(name, wins, costs, rankings, names)
    missing = next((a.month_allocation.why_missing for a in costs.at if a.group in names and a.month_allocation.value is None), "")
    return "", missing or "no architecture costs less than all others at low traffic"


def _cheapest_if_it_holds(
    name: str, wins: Sequence[BreakEven], costs: Costs, rankings: Sequence[Ranking], names: Sequence[str]
) -> tuple[str, str]:
    crossing = [b for b in wins if b.traffic_per_s.value is not None]
    vague = next((b for b in crossing if b.traffic_per_s.low is None and b.traffic_per_s.high is None), None)
    if vague is not None:
        return "", f"the break-even of {name} and {vague.other} has no interval"
    clouds = [b.in_cloud for b in crossing if b.in_cloud is not None]
    lost = next((c for c in clouds if c.value is None), None)
    if lost is not None:
        return "", f"{name} costs least at low traffic as measured here, but {lost.why_missing}"
    first = min((b.traffic_per_s for b in crossing), key=_value, default=None)
    in_cloud = min(clouds, key=lambda c: c.low or 0.0, default=None)
    end = min([HIGHEST_PER_S] if first is None else [first.low or _value(first), *(c.low or 0.0 for c in clouds)])
    below = sorted({a.traffic_per_s for a in costs.at if a.traffic_per_s < end})
    if not below:
        return "", f"no traffic was priced at which {name} surely costs least (below {end:.3g} requests/s)"
    for traffic in below:
        winner, _, why = _winner(cost_metric(traffic), names, rankings)
        if winner != name:
            return "", why
    if first is None:
        return f"{name} costs least from {LOWEST_PER_S:g} to {HIGHEST_PER_S:g} requests/s", ""
    modelled = f" as measured here, below {span(in_cloud)} over the cloud ranges" if in_cloud is not None else ""
    return f"{name} costs least below {rate(first)}{modelled}", ""


def _all_of(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _value(stat: Stat) -> float:
    assert stat.value is not None
    return stat.value


# ---- how sure --------------------------------------------------------------------------------------------------------


ISOLATION = {
    "pinned": "with cores of their own for the load driver and the system",
    "limits": "with CPU limits between the load driver and the system",
}
SHARED = "with the load driver and the system on the same cores"


def _certainty(summary: Summary, effects: Sequence[Effect]) -> str:
    n, least = summary.deployments, tellable(summary.detectable_ratio)
    each = f"{n} deployment{'' if n == 1 else 's'} of each architecture"
    smallest = f"{100 * least:.0f} %" if least is not None else ""
    if summary.verdicts:
        said = f"{each}{f', able to tell differences above {smallest}' if smallest else ''}."
    else:
        unseen = (
            f"; differences below {smallest} may go unseen"
            if smallest
            else ", and tell no difference by a test"
            if tells_nothing(summary.detectable_ratio)
            else ""
        )
        said = f"Exploratory: {each} give{'s' if n == 1 else ''} {'intervals' if n > 1 else 'figures'} but no verdict{unseen}."
    said += f" Measured on {summary.machine_class}, {ISOLATION.get(summary.isolation, SHARED)} (isolation {summary.isolation})."
    invalid = sum(not c.valid for c in summary.cells)
    if invalid:
        said += f" {invalid} of {len(summary.cells)} cells {'is' if invalid == 1 else 'are'} INVALID and left out."
    return said + _overlaps(summary, effects)


def _overlaps(summary: Summary, effects: Sequence[Effect]) -> str:
    """Of an exploratory run: the pairs whose difference here may be chance."""
    known = [e for e in effects if e.metric == summary.primary_metric and e.ratio.low is not None and e.ratio.high is not None]
    pairs = [f"of {e.a} and {e.b}" for e in known if (e.ratio.low or 0.0) <= 1.0 <= (e.ratio.high or 0.0)]
    if summary.verdicts or not pairs:
        return ""
    metric = summary.primary_metric.removesuffix("_ms").replace("_", " ")
    if len(pairs) == len(effects) > 1:
        return f" On these deployments alone every difference in {metric} may be chance: all intervals of the ratios include 1."
    return f" On these deployments alone the difference in {metric} {', '.join(pairs)} may be chance: the interval of the ratio includes 1."


def _notes(summary: Summary, costs: Costs | None, rankings: Sequence[Ranking]) -> tuple[str, ...]:
    notes = []
    if rankings:
        notes.append("Cloud rankings are modelled: first order, from the counts and times measured here and sourced ranges.")
        mute = [g.name for g in summary.groups if g.valid_deployments and g.counts.why_missing]
        if mute:
            notes.append(
                f"{_all_of(mute)}: {NO_HEADER}, so the cloud figures have no hops, stores or databases of it, and its CPU and function "
                "calls are means over all operations."
            )
    if costs is not None:
        notes += [f"{b.sentence}{_free_tier(b)}." for b in costs.break_even if b.sentence]
        notes.append(
            f"Prices: {costs.prices}, {costs.region}, of {costs.as_of_oldest or 'unknown date'} to {costs.as_of_newest or 'unknown date'}; "
            f"cpu_scale {costs.cpu_scale:g}."
        )
        notes += [f"{w[0].upper()}{w[1:]}." for w in costs.warnings]
    return tuple(notes)


def _free_tier(b: BreakEven) -> str:
    free = b.with_free_tier
    return f" ({free.value:.3g} with an unused free tier)" if free is not None and free.value is not None else ""
