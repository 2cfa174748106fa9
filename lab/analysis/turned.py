"""A pair of groups on which providers do not agree in, sentences that say which measured parts turned it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lab.analysis import parts
from lab.analysis.results import CellVerdict
from lab.analysis.said import amount, latency
from lab.analysis.sides import Part, Said
from lab.analysis.taken import Taken

STRETCHED = 1.25  # times: more wall time for the same CPU is waiting for it
SAME_CPU = 0.05
MOST_PARTS = 3
MOVED = 0.1  # share of a difference: it is the same below
HELD = {
    "enforced": "each service is held to its CPUs by quota",
    "affinity": "all services share one core set",
    "none": "nothing holds services to CPUs",
}


def table(on: Sequence[Mapping[str, float]]) -> tuple[Part, ...]:
    """What each part adds to b - a on each side, the most changed first; empty unless every side measured parts."""
    if not all(on):
        return ()
    names = dict.fromkeys(name for each in on for name in each)
    made = [Part(name=name, on=tuple(each.get(name, 0.0) for each in on)) for name in names]
    return tuple(sorted(made, key=lambda p: -(max(p.on) - min(p.on))))


def ends(said: Sequence[Said]) -> tuple[int, int]:
    """The two sides whose difference is to be explained: the first that say something else, else the first two."""
    told = [i for i, s in enumerate(said) if s.says]
    return next(((i, j) for i in told for j in told if i < j and said[i].says != said[j].says), (0, 1))


def by_parts(a: str, b: str, made: Sequence[Part], unit: str, names: Sequence[str], at: tuple[int, int], where: str = "") -> Iterator[str]:
    """How far the difference moved from one side to the other, and what moved it most. `where`: at which traffic, if that is not said."""
    if not made:
        return
    i, j = at
    before, after = (sum(p.on[side] for p in made) for side in at)
    change = after - before
    if abs(change) < MOVED * max(abs(before), abs(after)):
        yield f"{b} − {a}{where} is about the same on both ({signed(before, unit)} and {signed(after, unit)})."
        return
    moved = sorted(((p.on[j] - p.on[i], p) for p in made), key=lambda m: -m[0] * (1 if change > 0 else -1))
    driving = [(by, p) for by, p in moved if by * change > 0 and abs(by) > MOVED * abs(change)][:MOST_PARTS]
    against = [(by, p) for by, p in moved if by * change < 0 and abs(by) > MOVED * abs(change)][-1:]
    if not driving:
        return
    said = [f"{p.name} {signed(p.on[i], unit)} to {signed(p.on[j], unit)}" for _, p in driving]
    share = abs(driving[0][0] / change)
    much = "all" if share >= 1 else f"{share:.0%}"
    other = "".join(f"; {p.name} went the other way ({signed(p.on[i], unit)} to {signed(p.on[j], unit)})" for _, p in against)
    turned = "turned" if before * after < 0 else "moved"
    yield (
        f"From {names[i]} to {names[j]}, {b} − {a}{where} {turned} from {signed(before, unit)} to {signed(after, unit)}, "
        f"{much} of it by {driving[0][1].name}: {', '.join(said)}{other}."
    )


def signed(value: float, unit: str) -> str:
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{amount(abs(value), unit)}"


def by_waiting(groups: Sequence[str], taken: Sequence[Taken], at: tuple[int, int]) -> Iterator[str]:
    """Where a group's own work took longer for about the same CPU, it waited for it: under a quota, until its next period."""
    for name in groups:
        (work, cpu), (other_work, other_cpu) = (_work(taken[i], name) for i in at)
        if min(work, cpu, other_work, other_cpu) <= 0:
            continue
        wall, used = other_work / work, other_cpu / cpu
        slow, fast = (at[1], at[0]) if wall > used else (at[0], at[1])
        if max(wall / used, used / wall) < STRETCHED:
            continue
        wall, used = (wall, used) if wall > used else (1 / wall, 1 / used)
        limits = [taken[i].summary.enforcement for i in (slow, fast)]
        why = f" ({taken[slow].name}: {HELD[limits[0]]}; {taken[fast].name}: {HELD[limits[1]]})" if limits[0] != limits[1] else ""
        yield (
            f"{name}: its own work took {wall:.2g} times as long on {taken[slow].name} for {_times(used)} CPU per request, so it "
            f"waited for a CPU{why}."
        )


def _times(used: float) -> str:
    return "the same" if abs(used - 1) < SAME_CPU else f"{used:.2g} times the"


def _work(t: Taken, name: str) -> tuple[float, float]:
    group = t.groups[name]
    found = parts.latency_ms(group, latency(t, name, "p50"))
    return found.get(parts.WORK, 0.0), group.cpu_ms_architecture.value or 0.0


def by_invalid(groups: Sequence[str], taken: Sequence[Taken]) -> Iterator[str]:
    for t in taken:
        for name in groups:
            bad = [c for c in t.summary.cells if not c.valid and t.common(c.group) == name]
            if bad:
                count = f"{len(bad)} of {t.groups[name].deployments} deployments of {name} {'is' if len(bad) == 1 else 'are'} INVALID"
                yield f"{t.name}: {count}: {_reasons(bad)}."


def _reasons(cells: Sequence[CellVerdict]) -> str:
    return "; ".join(dict.fromkeys(reason for c in cells for reason in c.reasons))


def by_pricing(groups: Sequence[str], taken: Sequence[Taken]) -> Iterator[str]:
    """A function that was held to its share of a vCPU is priced at its own memory, one that was not at the memory that buys a vCPU."""
    functions = any(s.billing == "function" for g in groups for s in taken[0].groups[g].services)
    rules = {t.name: priced_functions(t) for t in taken}
    if functions and len(set(rules.values())) > 1:
        yield "Functions are priced by what they were given: " + "; ".join(f"{name}: {rule}" for name, rule in rules.items()) + "."


def priced_functions(t: Taken) -> str:
    said = t.comparison.costs.assumptions if t.comparison.costs else ()
    return next((words.removeprefix("a function had ") for words in said if words.startswith("a function had ")), "")
