"""Compiles a scenario and the resolved settings to a Plan: pure, seeded, with every rule that a topology breaks reported at once."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lab import registry, sides
from lab.contracts import Capabilities
from lab.errors import InputError
from lab.model import Budget, Cell, CodeRef, EnvironmentPlan, Load, Plan, ServicePlan, Shape, TimedFault, Topology
from lab.model.plan import Place, Role
from lab.model.workload import ModelSize
from lab.power import VERDICT_DEPLOYMENTS, detectable_ratio
from lab.scenario import Fault, Scenario, Serve, Subject
from lab.settings import Settings
from lab.sides import Placed

LONGEST_ID = 40
Side = Literal["", "base", "head"]
WARMUP_LEAST, WARMUP_USUAL = 24, 40  # requests that the stability test needs, and that nearly always do
DRIVER_RATE_PER_S = 1000.0  # assumed of one driver process that is not late, until this machine's own is learned
ASSUMED_SPREAD = 0.10  # log-scale standard deviation between deployments, until this machine's own is learned
# Upper limits that make the plan's minutes, from the budget per cell of the compare scenario; measured ends are earlier.
START_S, PRELOAD_S, RETIRE_S, COLD_S = 3.0, 0.5, 0.7, 3.0


def shape(workload: str, model_size: ModelSize) -> Shape:
    loaded = registry.workload(workload)
    return Shape(name=workload, model_size=model_size, stages=loaded.stages, operations=loaded.operations)


def place(subject: Subject, workload: str, model_size: ModelSize, budget: Budget) -> Topology:
    """The topology of one subject. Raises InputError with every rule it breaks."""
    architecture = registry.architecture(subject.architecture)
    form = shape(workload, model_size)
    options = architecture.Options(**subject.options)
    topology = dataclasses.replace(architecture.place(form, budget, options), options=dataclasses.asdict(options))
    problems = topology.problems(form.stages, form.operations)
    if (topology.cpus, topology.memory_mib) != (budget.cpus, budget.memory_mib):
        problems.append(
            f"it has {topology.cpus} CPUs and {topology.memory_mib} MiB; the budget is {budget.cpus} and {budget.memory_mib} for all"
        )
    if problems:
        what = f"architecture {subject.architecture} cannot place workload {workload} at size {model_size}"
        raise InputError(what, "give it other options, or a larger budget", problems)
    return topology


def compile(
    scenario: Scenario,
    settings: Settings,
    capabilities: Capabilities,
    *,
    spread: float | None = None,
    rate_per_driver_per_s: float | None = None,
    refs: Sequence[CodeRef] = (),
    placed: Placed | None = None,
) -> Plan:
    """`spread`: the learned log-scale standard deviation between deployments on this machine; None assumes 10 %.
    `rate_per_driver_per_s`: what one driver process was seen to send here without being late; None assumes DRIVER_RATE_PER_S. With `refs`
    (base and head) every subject is planned once of each side, as often as the gate may need; `placed`: as its own code places it."""
    body = scenario.body
    if not isinstance(body, Serve):
        raise InputError(f"{scenario.name} is a scenario of kind {body.kind}", "`lab train` runs kind train")
    _check_sizes(body)
    sides.check(scenario.name, body, refs, placed or {})
    if capabilities.deploys and not body.architectures:
        raise InputError(
            f"{scenario.name} names no architecture", f"provider {settings.provider} deploys; `lab list architectures` shows which"
        )
    driving = _Driving(
        capabilities=capabilities,
        asked=settings.driver_processes,
        place=capabilities.driver,
        rate_per_s=rate_per_driver_per_s or DRIVER_RATE_PER_S,
    )
    deployments = body.gate.most if refs and body.gate else body.deployments
    cells = _Cells(
        body=body,
        provider=settings.provider,
        deploys=capabilities.deploys,
        driving=driving,
        deployments=deployments,
        sides=tuple(r.name for r in refs),
        placed=placed or {},
    ).all()
    _check_scaler(cells, settings.provider, capabilities.scaler)
    _check_faults(cells, settings.provider, capabilities)
    if capabilities.enforcement == "enforced":
        _check_limits(cells)
    return Plan(
        scenario=scenario.name,
        scenario_sha256=scenario.sha256,
        workload=body.workload,
        budget=_budget(body),
        cells=tuple(cells),
        deployments=deployments,
        verdicts=deployments >= VERDICT_DEPLOYMENTS,
        primary_metric=body.primary_metric,
        primary_rate_per_s=_primary_rate(body, driving),
        slo_percentile=body.slo.percentile,
        slo_ms=body.slo.latency_ms,
        error_rate_limit=body.slo.error_rate,
        traffic_per_s=tuple(body.traffic_per_s),
        prices=body.prices,
        seed=body.seed,
        isolation=capabilities.isolation,
        enforcement=capabilities.enforcement,
        expected_s=capabilities.up_s + sum(c.expected_s for c in cells),
        detectable_ratio=detectable_ratio(spread or ASSUMED_SPREAD, deployments, comparisons=_pairs(body, refs)),
        spread=spread or ASSUMED_SPREAD,
        spread_source="learned on this machine" if spread else "assumed",
        settings=_flat(settings),
        scaler=capabilities.scaler,
        refs=tuple(refs),
        gate=sides.gate(body),
        service=ServicePlan(**body.service.model_dump()) if body.service else None,
        environment=EnvironmentPlan(**body.environment.model_dump()) if body.environment else None,
    )


def _primary_rate(body: Serve, driving: _Driving) -> float:
    """Of a search the first probe's, which every deployment has; of a closed loop 0."""
    load = body.load.compile(body.slo, driving.rate_per_s)
    primary, rates = body.primary_rate_per_s or load.rates_per_s[0], load.rates_per_s
    if primary not in rates:
        wanted = "none: a closed loop asks for no rate" if load.closed else f"one of load.rates_per_s {list(rates)}"
        raise InputError(f"primary_rate_per_s: found {primary:g}, wanted {wanted}", "verdicts need a measured rate")
    return primary


def _check_scaler(cells: Sequence[Cell], provider: str, scaler: str) -> None:
    """A service that should grow with its load, but stays as it is, would be measured as what it is not."""
    scaled = {
        " ".join(filter(None, (c.architecture, c.variant))): ", ".join(s.name for s in c.topology.autoscaled)
        for c in cells
        if c.topology and c.topology.autoscaled
    }
    if scaled and not scaler:
        problems = [f"{subject}: {services} would stay at the fewest instances" for subject, services in scaled.items()]
        what = f"provider {provider} has nothing that scales services with their CPU, which the scenario asks for"
        raise InputError(
            what,
            "provider kind or kubernetes with `--set kubernetes.metrics=install` has (HorizontalPodAutoscaler); or take `autoscale` out",
            problems,
        )


def _check_faults(cells: Sequence[Cell], provider: str, capabilities: Capabilities) -> None:
    """Every fault can be made, of a service that every subject has, and comes at least once."""
    known = (*capabilities.faults, *(("neighbour",) if capabilities.system_cpus else ()))
    problems: dict[str, None] = {}
    for cell in cells:
        services = [s.name for s in cell.topology.services] if cell.topology else []
        for fault in cell.faults:
            what = f"{fault.fault} {fault.service} at {fault.at_s:g} s".replace("  ", " ")
            if fault.fault not in known:
                problems[f"{what}: provider {provider} can make {', '.join(known) or 'none'}"] = None
            elif fault.service and fault.service not in services:
                problems[f"{what}: {cell.architecture} has {', '.join(services)}"] = None
            elif not fault.moments(cell.windows_s):
                problems[f"{what}: the windows last {cell.windows_s:g} s, and it must end in them"] = None
            elif fault.fault == "pause" and fault.every_s and cell.load.window_s % fault.every_s:
                problems[f"{what}: percentiles are of whole periods, {cell.load.window_s:g} s is not of {fault.every_s:g} s"] = None
    if problems:
        raise InputError("these faults cannot be made", "mend `faults` in the scenario, or take another provider", list(problems))


def _check_limits(cells: Sequence[Cell]) -> None:
    """Where each instance is held to its own CPUs, they are what an architecture gets: no more than the budget, or it is not equal."""
    beyond = {f"{c.architecture} {c.variant}".strip(): c.topology.beyond_cpus for c in cells if c.topology and c.topology.beyond_cpus}
    if beyond:
        problems = [f"{subject}: {why}" for subject, why in beyond.items()]
        raise InputError("the budget would not be the same for all", "fewer instances, smaller ones, or a larger budget.cpus", problems)


def _check_sizes(body: Serve) -> None:
    sizes = registry.workload(body.workload).model_sizes
    unknown = [s for s in body.model_size if s not in sizes]
    if unknown:
        raise InputError(f"model_size: found {', '.join(unknown)}, wanted {', '.join(sizes)}", f"workload {body.workload} serves no other")


def _pairs(body: Serve, refs: Sequence[CodeRef]) -> int:
    """How many comparisons share the error rate: each pair of architectures at each size; of a gate, each subject's two sides."""
    if refs:
        return max(1, len(body.architectures)) * len(body.model_size)
    return max(1, math.comb(len(body.architectures), 2) * len(body.model_size))


def _budget(body: Serve) -> Budget:
    return Budget(cpus=body.budget.cpus, memory_mib=body.budget.memory_mib)


def _flat(settings: Settings) -> Mapping[str, str | float]:
    return {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("home", "runs")}


@dataclass(frozen=True, kw_only=True)
class _Driving:
    """Where the load of a cell comes from, and from how many processes; `asked`: the setting driver_processes. `rate_per_s`: what one of
    them sends without being late."""

    capabilities: Capabilities
    asked: int
    place: Place
    rate_per_s: float

    def processes(self, load: Load) -> int:
        """As many as the highest rate needs; on this machine more than the driver has CPUs would only take turns."""
        if load.alone:
            if self.asked > 1:
                what = (
                    f"driver_processes: found {self.asked}, wanted 1: in a load of kind {load.kind} what comes next depends on the answers"
                )
                raise InputError(what, "leave the setting away, or take a load of kind ladder or server")
            return 1
        needed = math.ceil(load.peak_per_s / self.rate_per_s)
        if self.place == "outside":
            needed = min(needed, len(self.capabilities.driver_cpus) or needed)
        return self.asked or max(1, needed)


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Makes the cells of one scenario on one provider."""

    body: Serve
    provider: str
    deploys: bool
    driving: _Driving
    deployments: int
    sides: tuple[Side, ...] = ()
    placed: Placed = field(default_factory=dict)

    def all(self) -> list[Cell]:
        return (self._floors() if self.body.floor else []) + self._subjects()

    def _subjects(self) -> list[Cell]:
        """Block after block, in each every subject once, in an order of its own; of a gate once of each side, and the side that comes
        second in one block comes first in the next: base, head, head, base ..."""
        order = random.Random(self.body.seed)
        architectures = (
            self.body.architectures if self.deploys else [Subject(architecture="service" if self.body.service else self.provider)]
        )
        cells: list[Cell] = []
        for block in range(self.deployments):
            order_of_sides = self.sides[:: -1 if block % 2 else 1] or ("",)
            subjects = list(enumerate((s, size) for size in self.body.model_size for s in architectures))
            order.shuffle(subjects)
            for place, (subject, size) in subjects:
                for side in order_of_sides:
                    name = "-".join(filter(None, (f"{block + 1:02d}", subject.architecture, subject.variant, size, side)))
                    own = self.placed.get((side, subject.architecture, subject.variant, size))
                    cell = self._cell(name, "subject", subject, size, block, own)
                    cells.append(dataclasses.replace(cell, order=place, code_ref=side))
        return cells

    def _floors(self) -> list[Cell]:
        """noop on the fake provider (floor of the driver), then on the real one (floor of the path)."""
        noop = self.body.model_copy(update={"workload": "noop", "load": self.body.load.floor(), "faults": []})
        three_tier = Subject(architecture="three_tier")
        floors = []
        for driving, of_driver, of_path in self._places():
            fake = _Cells(body=noop, provider="fake", deploys=True, driving=driving, deployments=1)
            floors.append(fake._cell(f"00-{of_driver}", of_driver, three_tier, "S", 0))
            if self.deploys:
                real = _Cells(body=noop, provider=self.provider, deploys=True, driving=driving, deployments=1)
                floors.append(real._cell(f"00-{of_path}", of_path, three_tier, "S", 0))
        return floors

    def _places(self) -> Iterator[tuple[_Driving, Role, Role]]:
        """Where the subjects are driven from, and where else they could be."""
        yield self.driving, "floor_driver", "floor_path"
        if other := self.driving.capabilities.other_driver:
            yield dataclasses.replace(self.driving, place=other), "floor_driver_other", "floor_path_other"

    def _named(self, name: str) -> str:
        """A folder's name, and part of those of buckets, schemas and logs."""
        if len(name) > LONGEST_ID:
            raise InputError(
                f"cell {name!r} has a name of {len(name)} characters, wanted {LONGEST_ID} at most", "shorten architecture or variant"
            )
        return name

    def _cell(self, name: str, role: Role, subject: Subject, size: ModelSize, block: int, own: Topology | None = None) -> Cell:
        """`own`: as the code of the cell's side places it, else ours does."""
        body, workload = self.body, registry.workload(self.body.workload)
        topology = own or (place(subject, body.workload, size, _budget(body)) if self.deploys else None)
        load = _load(body, self.driving.rate_per_s, topology is not None and topology.activated)
        return Cell(
            id=self._named(name),
            role=role,
            provider=self.provider,
            architecture=subject.architecture,
            variant=subject.variant,
            workload=body.workload,
            model_size=size,
            options=topology.options if topology else {},
            load=load,
            block=block,
            seed=body.seed * 1000 + block,
            topology=topology,
            headline=tuple(o.name for o in workload.operations if o.headline),
            wrong_rate_limit=workload.wrong_rate_limit(size),
            expected_s=_expected_s(load),
            driver=self.driving.place,
            drivers=self.driving.processes(load),
            faults=tuple(map(_timed, body.faults)),
        )


def _timed(fault: Fault) -> TimedFault:
    return TimedFault(fault=fault.fault, at_s=fault.at_s, service=fault.service, every_s=fault.every_s or 0.0, for_s=fault.for_s or 0.0)


def _load(body: Serve, driver_per_s: float, activated: bool) -> Load:
    load = body.load.compile(body.slo, driver_per_s)
    warmup_rate = _warmup_rate(load, body.load.warmup_rate_per_s, driver_per_s)
    return dataclasses.replace(load, warmup_rate_per_s=warmup_rate, cold_requests=load.cold_requests if activated else 0)


def _warmup_rate(load: Load, given: float | None, driver_per_s: float) -> float:
    """Not given: the lowest rate, but enough for the stability test to end in time, and no more than one driver can send. Raises
    InputError for one with which it never can end."""
    if not load.warmup_max_s:
        return given or min(load.rates_per_s)
    if given is not None and given * load.warmup_max_s < WARMUP_LEAST:
        what = f"load.warmup_rate_per_s: found {given:g} for {load.warmup_max_s:g} s, wanted {WARMUP_LEAST} requests at least"
        raise InputError(what, f"the stability test needs them: {WARMUP_LEAST / load.warmup_max_s:g}/s, or a longer warmup_max_s")
    return given or min(driver_per_s, max(min(load.rates_per_s), WARMUP_USUAL / load.warmup_max_s))


def _expected_s(load: Load) -> float:
    return START_S + PRELOAD_S + load.cold_requests * COLD_S + load.warmup_max_s + load.windows_s + load.drain_s + RETIRE_S
