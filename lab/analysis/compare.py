"""From one run to its Comparison (effects, costs, cloud rankings, the answer), and from two runs to what differs between them."""

from __future__ import annotations

from datetime import date

from lab.analysis import base_head
from lab.analysis import prices as price_books
from lab.analysis.answer import answer
from lab.analysis.cost import costs
from lab.analysis.effects import between, effects
from lab.analysis.results import Comparison, Effect, Summary
from lab.analysis.summarize import group_names, summarize
from lab.analysis.transfer import rankings
from lab.analysis.wins import wins
from lab.errors import InputError
from lab.model import Cell, Environment, Plan
from lab.rundir import RunDir

__all__ = ["compare", "compare_runs", "effects"]


def compare(run: RunDir, prices: str | None = None, *, cpu_scale: float = 1.0, today: date | None = None) -> Comparison:
    """`prices`: a price book's name or path, the plan's if None. `today` dates the age of prices; by default the day of the run, so that
    the same run directory and price book always give the same figures."""
    summary = run.read(run.summary, Summary)
    plan = run.read(run.plan, Plan)
    book = price_books.load(prices or plan.prices)
    found = effects(summary)
    if plan.refs:
        return base_head.comparison(summary, found)
    priced = costs(summary, book, cpu_scale=cpu_scale, today=today or _day(summary))
    ranked = rankings(summary, priced, book=book, seed=plan.seed)
    sentence, certainty, notes = answer(summary, found, priced, ranked)
    return Comparison(
        run=run.name,
        effects=found,
        costs=priced,
        rankings=ranked,
        answer=sentence,
        certainty=certainty,
        notes=notes,
        wins=wins(summary, priced),
    )


def _day(summary: Summary) -> date:
    return date.fromisoformat(summary.started_at[:10])


# ---- two runs --------------------------------------------------------------------------------------------------------


def compare_runs(a: RunDir, b: RunDir, force: bool = False) -> Comparison:
    """b against a, group by group. Raises InputError when the machines differ (unless forced, and then it is said) or when the two runs
    did not measure the same thing."""
    differ = _machine_differences(a, b)
    if differ and not force:
        raise InputError(
            f"{a.name} and {b.name} were measured on different machines: {'; '.join(differ)}",
            "measure both on one machine, or pass --force: the comparison is then marked",
        )
    one, other = summarize(a), summarize(b)
    _same_question(one, other)
    _same_work(a, b)
    found = between(one, other, tuple(d.partition(":")[0] for d in differ))
    notes = ["the two runs were not interleaved: whatever else changed between them is in the ratios too"]
    notes += [f"compared by force across different machines: {'; '.join(differ)}"] if differ else []
    return Comparison(
        run=f"{a.name}..{b.name}",
        effects=found,
        costs=None,
        rankings=(),
        answer=_sentence(found, b.name, a.name),
        certainty=f"{other.deployments} deployments against {one.deployments}",
        notes=tuple(notes),
    )


def _machine_differences(a: RunDir, b: RunDir) -> list[str]:
    one, other = (run.read(run.environment, Environment).machine for run in (a, b))
    return [
        f"{name}: {one.get(name, 'not recorded')!r} against {other.get(name, 'not recorded')!r}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def _same_question(a: Summary, b: Summary) -> None:
    problems = [
        f"{name}: {getattr(a, name)!r} in {a.run}, {getattr(b, name)!r} in {b.run}"
        for name in ("workload", "primary_metric", "primary_rate_per_s")
        if getattr(a, name) != getattr(b, name)
    ]
    if not problems and not {g.name for g in a.groups} & {g.name for g in b.groups}:
        problems.append(f"no group is in both: {', '.join(g.name for g in a.groups)} against {', '.join(g.name for g in b.groups)}")
    if problems:
        raise InputError(f"{a.run} and {b.run} did not measure the same thing", "compare runs of the same scenario", problems)


def _same_work(a: RunDir, b: RunDir) -> None:
    """What no group's name tells: the budget, and per group its provider, model size, options and the load up to the primary step."""
    one, other = (run.read(run.plan, Plan) for run in (a, b))
    problems = [
        f"budget.{name}: {getattr(one.budget, name)!r} in {a.name}, {getattr(other.budget, name)!r} in {b.name}"
        for name in ("cpus", "memory_mib")
        if getattr(one.budget, name) != getattr(other.budget, name)
    ]
    mine, theirs = _work(one), _work(other)
    for group in sorted(mine.keys() & theirs.keys()):
        problems += [
            f"{group}: {name}: {mine[group][name]!r} in {a.name}, {theirs[group][name]!r} in {b.name}"
            for name in mine[group]
            if mine[group][name] != theirs[group][name]
        ]
    if problems:
        raise InputError(f"{a.name} and {b.name} did not measure the same thing", "compare runs of the same scenario", problems)


def _work(plan: Plan) -> dict[str, dict[str, object]]:
    """Group -> what its cells have in common."""
    names = group_names(plan.cells)
    return {names[c.id]: _asked(c, plan.primary_rate_per_s) for c in plan.cells if c.role == "subject"}


ASKED = ("kind", "window_s", "warmup_rate_per_s", "timeout_s", "arrival", "profile", "trace", "search", "requests", "max_in_flight")


def _asked(cell: Cell, primary_rate_per_s: float) -> dict[str, object]:
    load = cell.load
    return {
        "provider": cell.provider,
        "model_size": cell.model_size,
        "options": dict(cell.options),
        "headline": cell.headline,
        "rates up to the primary one": tuple(r for r in load.rates_per_s if r <= primary_rate_per_s),
        **{name: getattr(load, name) for name in ASKED},
    }


def _sentence(found: tuple[Effect, ...], later: str, earlier: str) -> str:
    judged = [f"{e.b.rpartition('/')[2]} {e.verdict}" for e in found]
    return f"{later} against {earlier}: {', '.join(judged)}."
