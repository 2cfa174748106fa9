"""Runs of one scenario on several providers in; for each ranking whether they agree, disagree or cannot tell, and why, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from lab.analysis import beside, turned
from lab.analysis.results import BreakEven
from lab.analysis.said import SAME, break_even, cost_parts, latency_parts, metrics, said, said_break_even, said_cloud
from lab.analysis.sides import Agreement, Pair, Ranked, Row, Said, SideBySide
from lab.analysis.taken import Taken, take
from lab.analysis.transfer import said_rate
from lab.model import Stat
from lab.rundir import RunDir

Names = Sequence[str]
NAMED = 3  # so many rankings that disagree are named in the answer
PartsOf = Callable[[Taken, str, str], Mapping[str, float]]


def side_by_side(runs: Sequence[RunDir]) -> SideBySide:
    """Raises InputError when they did not run the same scenario once on each provider, or when one has no comparison yet."""
    return agree(take(runs))


def agree(taken: Sequence[Taken]) -> SideBySide:
    first = taken[0]
    ranked = tuple(r for names in _clusters(first) for r in (*_figures(names, taken), *_break_evens(names, taken), *_clouds(names, taken)))
    return SideBySide(
        id="..".join(t.summary.run for t in taken),
        scenario=first.plan.scenario,
        scenario_sha256=first.plan.scenario_sha256,
        workload=first.plan.workload,
        primary_rate_per_s=first.plan.primary_rate_per_s,
        sides=tuple(beside.side(t) for t in taken),
        rankings=ranked,
        numbers=tuple(beside.numbers(t, name) for name in first.groups for t in taken),
        differences=beside.differences(taken),
        answer=_answer(ranked, [t.name for t in taken]),
        certainty=beside.certainty(taken),
        notes=tuple(beside.notes(taken)),
    )


def _clusters(t: Taken) -> list[list[str]]:
    """Groups that do the same work."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, g in t.groups.items():
        found.setdefault((g.workload, g.model_size), []).append(name)
    return list(found.values())


# ---- the three kinds of ranking --------------------------------------------------------------------------------------


def _figures(names: Names, taken: Sequence[Taken]) -> list[Ranked]:
    """What is measured or priced here. Groups that have no such figure by their nature (no cold start) are not ranked by it."""
    made = []
    for metric in metrics(taken[0]):
        mine = [n for n in names if metric.key != "cold_ms" or any(metric.figure(t, n).value is not None for t in taken)]
        behind = Behind(parts=metric.parts, unit=metric.unit)
        told = {(a, b): [said(metric, t, a, b) for t in taken] for a, b in combinations(mine, 2)}
        pairs = [_pair(a, b, each, _status(each), behind, taken) for (a, b), each in told.items()]
        rows = tuple(Row(name=n, on=tuple(metric.figure(t, n) for t in taken)) for n in mine)
        if mine:
            ordered = [sorted(mine, key=lambda n: metric.figure(t, n).value or 0.0) for t in taken]
            known = [[n for n in each if metric.figure(t, n).value is not None] for t, each in zip(taken, ordered, strict=True)]
            orders = tuple(_order(each, pairs, i) for i, each in enumerate(known))
            made.append(_ranked(metric.key, metric.title, metric.basis, metric.unit, names, taken, pairs, rows, orders))
    return made


def _break_evens(names: Names, taken: Sequence[Taken]) -> list[Ranked]:
    known = [(a, b) for a, b in combinations(names, 2) if any(break_even(t, a, b) for t in taken)]
    if not known:
        return []
    pairs = [_break_even(a, b, taken) for a, b in known]
    rows = tuple(Row(name=f"{a} or {b}", on=tuple(_crossing(break_even(t, a, b)) for t in taken)) for a, b in known)
    return [_ranked("break_even", "break-even", "priced", "requests/s", names, taken, pairs, rows)]


def _crossing(found: BreakEven | None) -> Stat:
    return found.traffic_per_s if found else Stat.missing("1/s", "no cost was computed", basis="priced")


def _break_even(a: str, b: str, taken: Sequence[Taken]) -> Pair:
    """The same one costs less at low traffic, and the intervals of the crossing overlap."""
    told = [said_break_even(t, a, b) for t in taken]
    crossings = [_crossing(break_even(t, a, b)) for t in taken]
    known = [c.value for c in crossings if c.value is not None]
    rate = min(taken[0].plan.traffic_per_s, key=lambda r: abs(r - known[0]) / (r + known[0])) if known else taken[0].plan.traffic_per_s[0]
    behind = Behind(parts=lambda t, one, other: cost_parts(t, one, other, rate), unit="USD", where=f" at {said_rate(rate)}")
    if (status := _status(told)) != "agree" or _overlap(crossings):
        return _pair(a, b, told, status, behind, taken)
    return _pair(a, b, told, "disagree", behind, taken)


def _overlap(crossings: Sequence[Stat]) -> bool:
    crossing = [c.value is not None for c in crossings]
    if not all(crossing):
        return not any(crossing)
    return max(c.low or 0.0 for c in crossings) <= min(c.high if c.high is not None else float("inf") for c in crossings)


def _clouds(names: Names, taken: Sequence[Taken]) -> list[Ranked]:
    """What each run says would hold over the cloud ranges, from what it measured."""
    found = dict.fromkeys(r.metric for t in taken for r in t.comparison.rankings)
    made = []
    for metric in found:
        asked = [
            (a, b)
            for a, b in combinations(names, 2)
            if any({t.common(r.a), t.common(r.b)} == {a, b} for t in taken for r in t.comparison.rankings if r.metric == metric)
        ]
        behind, told = _behind(metric, taken[0]), {(a, b): [said_cloud(t, metric, a, b) for t in taken] for a, b in asked}
        pairs = [_pair(a, b, each, _status(each), behind, taken) for (a, b), each in told.items()]
        if pairs:
            title = f"{metric.removesuffix('_ms').replace('cold', 'cold start')} in a cloud"
            orders = tuple(_order(_by_wins(names, pairs, i), pairs, i) for i, _ in enumerate(taken))
            made.append(_ranked(f"cloud {metric}", title, "modelled", "", names, taken, pairs, orders=orders))
    return made


def _by_wins(names: Names, pairs: Sequence[Pair], side: int) -> list[str]:
    """Groups by how many others they are told to be better than; those of which nothing is told are left out."""
    told = [(p, p.said[side].says) for p in pairs if p.said[side].says]
    known = [n for n in names if any(n in (p.a, p.b) for p, _ in told)]
    return sorted(known, key=lambda n: -sum(says == n for _, says in told))


def _behind(metric: str, t: Taken) -> Behind:
    """The measured parts from which a cloud's figure is modelled."""
    same = next((m for m in metrics(t) if m.key == metric), None)
    if same is not None:
        return Behind(parts=same.parts, unit=same.unit)
    return Behind(parts=latency_parts, unit="ms") if metric == "p50_ms" else Behind(parts=lambda *_: {}, unit="")


# ---- one pair --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Behind:
    """What a difference b - a is made of on one side, and in which unit. `where`: at which traffic, where the ranking does not say."""

    parts: PartsOf
    unit: str
    where: str = ""


def _status(told: Sequence[Said]) -> Agreement:
    outcomes = {s.says for s in told}
    return "disagree" if len(outcomes - {""}) > 1 else "cannot tell" if "" in outcomes else "agree"


def _pair(a: str, b: str, told: Sequence[Said], status: Agreement, behind: Behind, taken: Sequence[Taken]) -> Pair:
    """Explained where they do not agree; where no side tells anything, what each says of it is all there is to say."""
    if status == "agree" or not any(s.says for s in told):
        return Pair(a=a, b=b, status=status, said=tuple(told))
    at, names = turned.ends(told), [t.name for t in taken]
    made = turned.table([behind.parts(t, a, b) for t in taken])
    reasons = tuple(turned.by_parts(a, b, made, behind.unit, names, at, behind.where))
    causes = [*turned.by_waiting((a, b), taken, at)] if behind.parts is latency_parts and made else []
    causes += turned.by_pricing((a, b), taken) if behind.unit == "USD" and made else ()
    causes += turned.by_invalid((a, b), taken)
    return Pair(a=a, b=b, status=status, said=tuple(told), unit=behind.unit, parts=made, reasons=reasons, causes=tuple(causes))


def _ranked(
    key: str,
    title: str,
    basis: str,
    unit: str,
    names: Names,
    taken: Sequence[Taken],
    pairs: Sequence[Pair],
    rows: tuple[Row, ...] = (),
    orders: tuple[str, ...] = (),
) -> Ranked:
    size = taken[0].groups[names[0]].model_size
    several = len({g.model_size for g in taken[0].groups.values()}) > 1
    found = {p.status for p in pairs}
    status: Agreement = (
        "disagree" if "disagree" in found else "cannot tell" if "cannot tell" in found else "agree" if pairs else "nothing to rank"
    )
    return Ranked(
        metric=key,
        title=f"{title} (model {size})" if several else title,
        model_size=size,
        basis=basis,  # type: ignore[arg-type]
        unit=unit,
        status=status,
        pairs=tuple(pairs),
        rows=rows,
        orders=orders,
    )


def _order(names: Names, pairs: Sequence[Pair], side: int) -> str:
    """'three_tier < microservices ≈ serverless': neighbours that are told apart (= to be the same), and that are not."""
    says = {frozenset((p.a, p.b)): p.said[side].says for p in pairs}
    words = [*names[:1]]
    for one, other in pairwise(names):
        between = says.get(frozenset((one, other)))
        words += ["<" if between == one else "=" if between == SAME else "≈", other]
    return " ".join(words)


def _answer(ranked: Sequence[Ranked], names: Names) -> str:
    of = {status: [r.title for r in ranked if r.status == status] for status in ("agree", "disagree", "cannot tell")}
    judged = sum(map(len, of.values()))
    who = f"{', '.join(names[:-1])} and {names[-1]}"
    if not judged:
        return f"{who} have nothing to rank in common."
    told = [f"agree on {len(of['agree'])} of {judged} rankings"]
    if of["disagree"]:
        which = f" ({'; '.join(of['disagree'])})" if len(of["disagree"]) <= NAMED else ""
        told.append(f"disagree on {len(of['disagree'])}{which}")
    if of["cannot tell"]:
        told.append(f"cannot {'both' if len(names) == 2 else 'all'} tell an order in {len(of['cannot tell'])}")
    return f"{who} {', '.join(told)}."
