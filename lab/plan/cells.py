"""From a scenario's body to the cells of its plan: floors first, then every subject in each block, in seeded orders."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lab import registry
from lab.contracts import Capabilities
from lab.errors import InputError
from lab.model import Budget, Cell, Load, TimedFault, Topology
from lab.model.plan import Place, Role
from lab.model.workload import ModelSize
from lab.plan.placing import place
from lab.scenario import Fault, Serve, Subject
from lab.sides import Placed

LONGEST_ID = 40
Side = Literal["", "base", "head"]
WARMUP_LEAST, WARMUP_USUAL = 24, 40  # requests that the stability test needs, and that nearly always do
# Upper limits that make the plan's minutes, from the budget per cell of the compare scenario; measured ends are earlier.
START_S, PRELOAD_S, RETIRE_S, COLD_S = 3.0, 0.5, 0.7, 3.0


@dataclass(frozen=True, kw_only=True)
class Driving:
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
class Cells:
    """Makes the cells of one scenario on one provider."""

    body: Serve
    provider: str
    deploys: bool
    driving: Driving
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
            for turn, (subject, size) in subjects:
                for side in order_of_sides:
                    name = "-".join(filter(None, (f"{block + 1:02d}", subject.architecture, subject.variant, size, side)))
                    own = self.placed.get((side, subject.architecture, subject.variant, size))
                    cell = self._cell(name, "subject", subject, size, block, own)
                    cells.append(dataclasses.replace(cell, order=turn, code_ref=side))
        return cells

    def _floors(self) -> list[Cell]:
        """noop on the fake provider (floor of the driver), then on the real one (floor of the path)."""
        noop = self.body.model_copy(update={"workload": "noop", "load": self.body.load.floor(), "faults": []})
        three_tier = Subject(architecture="three_tier")
        floors = []
        for driving, of_driver, of_path in self._places():
            fake = Cells(body=noop, provider="fake", deploys=True, driving=driving, deployments=1)
            floors.append(fake._cell(f"00-{of_driver}", of_driver, three_tier, "S", 0))
            if self.deploys:
                real = Cells(body=noop, provider=self.provider, deploys=True, driving=driving, deployments=1)
                floors.append(real._cell(f"00-{of_path}", of_path, three_tier, "S", 0))
        return floors

    def _places(self) -> Iterator[tuple[Driving, Role, Role]]:
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
        topology = own or (place(subject, body.workload, size, budget(body)) if self.deploys else None)
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


def budget(body: Serve) -> Budget:
    return Budget(cpus=body.budget.cpus, memory_mib=body.budget.memory_mib)
