"""From a run directory to its Summary: every cell judged, the valid ones merged by group, figures with intervals or the reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lab.analysis import failures, floors, noise, search, services, steps, timeline, waterfall
from lab.analysis.cost import comparable
from lab.analysis.deployed import deployed
from lab.analysis.measured import Measured, Step, measure
from lab.analysis.results import CellVerdict, Group, StepFigures, Summary
from lab.analysis.stats import mean_stat, percentile_name, pooled_spread, quantile
from lab.analysis.validity import claim, judge, no_claim, primary_quantile
from lab.errors import InputError
from lab.model import Cell, Environment, Plan, Stat
from lab.power import VERDICT_DEPLOYMENTS, detectable_ratio
from lab.rundir import RunDir

LOW_RATE_POINTS = 500


def summarize(run: RunDir, look: int | None = None) -> Summary:
    """Reads only the run directory. Raises InputError when a file is missing or of another version. `look`: of the first so many
    deployments of each side only."""
    plan = _as_run(run, run.read(run.plan, Plan), look)
    machine = run.read(run.environment, Environment)
    names = group_names(plan.cells)
    measured = [measure(run, cell, names[cell.id]) for cell in plan.cells]
    verdicts = _judged(measured, plan, machine, _subjects(plan, names))
    valid = [m for m, v in zip(measured, verdicts, strict=True) if v.valid]
    groups = tuple(_group(name, plan, machine, measured, valid) for name in _subjects(plan, names))
    spread_used = plan.spread if (learned := _pooled(groups)) is None else learned
    return Summary(
        run=run.name,
        scenario=plan.scenario,
        workload=plan.workload,
        deployments=plan.deployments,
        verdicts=plan.verdicts,
        primary_metric=plan.primary_metric,
        primary_rate_per_s=plan.primary_rate_per_s,
        slo_percentile=plan.slo_percentile,
        slo_ms=plan.slo_ms,
        traffic_per_s=plan.traffic_per_s,
        isolation=plan.isolation,
        enforcement=plan.enforcement,
        machine=machine.machine,
        machine_class=machine.machine_class,
        claims=machine.claims,
        floor_driver_ms=floors.floor("floor_driver", plan, valid),
        floor_path_ms=floors.floor("floor_path", plan, valid),
        cells=verdicts,
        groups=groups,
        spread=spread_used,
        detectable_ratio=detectable_ratio(spread_used, plan.deployments, comparisons=max(1, len(comparable(groups)))),
        started_at=machine.started_at,
        duration_s=machine.duration_s,
        command=machine.command,
        driving=floors.driving(plan, valid),
        load_kind=next((c.load.kind for c in plan.cells if c.role == "subject"), "ladder"),
        faults=failures.made_of([m for m in measured if m.steps]),
    )


def spread(summary: Summary) -> float | None:
    """The A/A spread: standard deviation (log scale) of the primary metric between deployments of one group, pooled over groups with at
    least 3 valid ones; None without such a group."""
    return _pooled(summary.groups)


def _pooled(groups: Sequence[Group]) -> float | None:
    return pooled_spread([g.primary_per_deployment for g in groups])


def _judged(measured: Sequence[Measured], plan: Plan, machine: Environment, subjects: Sequence[str]) -> tuple[CellVerdict, ...]:
    """Each cell by itself, then beside the others of its group."""
    verdicts = tuple(judge(m, plan, machine.states, machine.shared_cpus) for m in measured)
    return noise.unsettled(verdicts, {name: _primaries(name, verdicts, measured, plan) for name in subjects}, plan)


def _as_run(run: RunDir, plan: Plan, look: int | None) -> Plan:
    """Of a gate, what it needed: the cells and deployments until it was decided."""
    if not plan.refs:
        return plan

    def needed(cell: Cell) -> bool:
        status = run.cell(cell.id).status()
        return (look is None or cell.block < look) and (status is None or status.status != "skipped")

    cells = tuple(filter(needed, plan.cells))
    deployments = max((c.block + 1 for c in cells if c.role == "subject"), default=0)
    return replace(plan, cells=cells, deployments=deployments, verdicts=deployments >= VERDICT_DEPLOYMENTS)


# ---- groups ----------------------------------------------------------------------------------------------------------


def group_names(cells: Sequence[Cell]) -> Mapping[str, str]:
    """Cell id -> group: the architecture, with variant, size and provider where they differ in the run, and the side of a gate; floors are
    named by their role."""
    subjects = [c for c in cells if c.role == "subject"]
    sizes, providers = {c.model_size for c in subjects}, {c.provider for c in subjects}

    def name(cell: Cell) -> str:
        if cell.role != "subject":
            return cell.role
        parts = (cell.architecture, cell.variant, cell.model_size if len(sizes) > 1 else "", cell.provider if len(providers) > 1 else "")
        return "-".join(filter(None, parts)) + (f" @{cell.code_ref}" if cell.code_ref else "")

    return {c.id: name(c) for c in cells}


def _subjects(plan: Plan, names: Mapping[str, str]) -> tuple[str, ...]:
    """In the scenario's order: the cells' own is shuffled. Those of a plan without it by architecture, variant and size."""
    found = {
        names[c.id]: (c.order, c.architecture, c.variant, "SML".index(c.model_size), c.provider, c.code_ref)
        for c in plan.cells
        if c.role == "subject"
    }
    return tuple(sorted(found, key=found.__getitem__))


def _group(name: str, plan: Plan, machine: Environment, measured: Sequence[Measured], valid: Sequence[Measured]) -> Group:
    everything = [m for m in measured if m.group == name]
    mine = sorted((m for m in valid if m.group == name), key=lambda m: m.cell.block)
    empty = _empty(name, everything)
    if not mine:
        return empty
    at_primary = [(m, step) for m in mine if (step := m.step_at(plan.primary_rate_per_s)) is not None]
    found = _steps(mine, plan)
    at = next(s for s in found if s.rate_per_s == plan.primary_rate_per_s)
    timed = waterfall.requests(at_primary)
    return replace(
        empty,
        valid_deployments=len(mine),
        steps=found,
        held_rate_per_s=_held_rate(mine, found, plan),
        search=_found_by_search(mine),
        primary=_primary(at, plan, machine, mine[0].cell.load.closed),
        cpu_ms_architecture=at.cpu_ms_architecture,
        cpu_ms_platform=at.cpu_ms_platform,
        memory_mib=_memory(at_primary),
        cold_ms=services.cold_ms(mine),
        cold_phases_ms=services.cold_phases_ms(mine),
        ready_s=services.ready_s(mine),
        waterfall=waterfall.waterfall(timed),
        counts=waterfall.counts(timed, _functions(mine[0].cell)),
        services=services.services(at_primary, plan.scaler),
        timeline=timeline.timeline(mine[0]),
        events=timeline.happenings(mine[0]),
        low_rate_latency_ms=_low_rate(mine),
        correct_share=_correct_share([step for _, step in at_primary]),
        blocks=tuple(m.cell.block for m in mine),
        primary_per_deployment=_per_deployment([step for _, step in at_primary], plan),
        deployed=deployed(at_primary),
    )


def _empty(name: str, cells: Sequence[Measured]) -> Group:
    """Without a valid deployment every figure is missing, and says so."""
    cell, why = cells[0].cell, f"no valid deployment of {len(cells)}"
    return Group(
        name=name,
        architecture=cell.architecture,
        variant=cell.variant,
        provider=cell.provider,
        workload=cell.workload,
        model_size=cell.model_size,
        deployments=len(cells),
        valid_deployments=0,
        steps=(),
        held_rate_per_s=Stat.missing("1/s", why),
        primary=Stat.missing("ms", why),
        cpu_ms_architecture=Stat.missing("ms", why),
        cpu_ms_platform=Stat.missing("ms", why),
        memory_mib=Stat.missing("MiB", why),
        cold_ms=Stat.missing("ms", why),
        cold_phases_ms={},
        ready_s=Stat.missing("s", why),
        waterfall=(),
        counts=replace(waterfall.counts(()), why_missing=why),
        services=(),
        timeline=(),
        options=cell.options,
        code_ref=cell.code_ref,
    )


def _functions(cell: Cell) -> frozenset[str]:
    return frozenset(s.name for s in cell.topology.services if s.billing == "function") if cell.topology else frozenset()


def _steps(cells: Sequence[Measured], plan: Plan) -> tuple[StepFigures, ...]:
    limit = cells[0].cell.wrong_rate_limit
    rates = sorted({s.rate_per_s for c in cells for s in c.steps})
    return tuple(steps.figures(cells, rate, plan, limit) for rate in rates)


def _held_rate(cells: Sequence[Measured], found: Sequence[StepFigures], plan: Plan) -> Stat:
    """Of a search the mean over deployments, with its interval: open above where one of them was not limited by the service."""
    load = cells[0].cell.load
    if load.closed:
        return Stat.missing("1/s", "a closed loop asks for no rate")
    if load.search is None:
        return steps.held_rate(found, len(cells), plan)
    outcomes = [search.outcome(load.search, c.status.probes) for c in cells]
    rates = [o.rate_per_s for o in outcomes if o.rate_per_s is not None]
    if len(rates) < len(outcomes):
        why = f"{len(outcomes) - len(rates)} of {len(outcomes)} deployments held no rate from {load.search.lowest_per_s:g}/s up"
        return Stat.missing("1/s", why, len(outcomes))
    stat = mean_stat(rates, "1/s")
    return stat if all(o.limit == "service" for o in outcomes) else replace(stat, low=stat.low or stat.value, high=None)


def _found_by_search(cells: Sequence[Measured]) -> tuple[str, ...] | None:
    """What each deployment's search found and what limited it, each sentence once."""
    asked = cells[0].cell.load.search
    if asked is None:
        return None
    said = [f"{search.outcome(asked, c.status.probes).sentence}." for c in cells]
    return tuple(f"{s} ({said.count(s)} deployments)" if said.count(s) > 1 else s for s in dict.fromkeys(said))


def _primary(at: StepFigures, plan: Plan, machine: Environment, closed: bool) -> Stat:
    """The headline: missing where the machine allows no claim on such a metric. Of a closed loop it is of service times."""
    q, needed = primary_quantile(plan.primary_metric), claim(plan.primary_metric)
    if needed not in machine.claims:
        return Stat.missing("ms", no_claim(needed, machine.machine_class, plan.isolation))
    if q is not None:
        return (at.service if closed else at.latency)[percentile_name(q)]
    if plan.primary_metric == "cpu_ms":
        return at.cpu_ms_architecture
    raise InputError(f"primary_metric: found {plan.primary_metric!r}, wanted cpu_ms or a percentile such as p50_ms", "mend the scenario")


def _per_deployment(at_primary: Sequence[Step], plan: Plan) -> tuple[float, ...]:
    q = primary_quantile(plan.primary_metric)
    if q is not None:
        return steps.per_deployment_ms([s.latency_ms for s in at_primary], q)
    used = [ms for s in at_primary if (ms := s.cpu_ms(s.cpu_architecture_s)) is not None]
    return tuple(used) if len(used) == len(at_primary) else ()


def _primaries(name: str, verdicts: Sequence[CellVerdict], measured: Sequence[Measured], plan: Plan) -> tuple[float, ...]:
    """The primary metric of each valid deployment of a group."""
    mine = [m for m, v in zip(measured, verdicts, strict=True) if v.valid and m.group == name]
    return _per_deployment([step for m in mine if (step := m.step_at(plan.primary_rate_per_s)) is not None], plan)


def _memory(at_primary: Sequence[tuple[Measured, Step]]) -> Stat:
    """Resident memory of the architecture's processes, mean over the window at the primary rate."""
    found = [m.counters.tier_memory_mib("architecture", s.start_s, s.end_s) for m, s in at_primary]
    known = [f for f in found if f is not None]
    return mean_stat(known, "MiB") if len(known) == len(found) else Stat.missing("MiB", "the provider does not tell the memory")


def _low_rate(cells: Sequence[Measured]) -> tuple[float, ...]:
    """At the lowest rate queueing for the shared core is smallest; at most LOW_RATE_POINTS of it."""
    ordered = steps.merged([min(c.steps, key=lambda s: s.rate_per_s).latency_ms for c in cells])
    if len(ordered) <= LOW_RATE_POINTS:
        return tuple(ordered.tolist())
    return tuple(quantile(ordered, float(q)) for q in (np.arange(LOW_RATE_POINTS) + 0.5) / LOW_RATE_POINTS)


def _correct_share(at_primary: Sequence[Step]) -> float | None:
    """Of the checked answers to headline operations; None where nothing was checked."""
    checked = sum(s.headline_checked for s in at_primary)
    return sum(s.headline_right for s in at_primary) / checked if checked else None
