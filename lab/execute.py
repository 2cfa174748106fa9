"""Orders a run from plan to report: one lock, one Lab, cell after cell; everything that starts is stopped, also after ctrl-C."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from lab import arms, checkouts, environment, ownership, refs, registry, rundir, sides, spawn
from lab.cells import Bench
from lab.contracts import Code, Provider, RunsCode
from lab.errors import InputError, LabError
from lab.measuring import exclusive
from lab.model import CodeRef, Environment, EnvironmentPlan, Plan
from lab.plan import compile
from lab.progress import Mode, Progress, progress
from lab.rundir import RunDir
from lab.runs import directory
from lab.scenario import Scenario, Serve, Train, load
from lab.settings import Settings

if TYPE_CHECKING:
    from lab.rework import Finished


@dataclass(frozen=True, kw_only=True)
class Against:
    """What head is measured against, interleaved: a REF of the repository in the working directory."""

    base: str
    allow_dirty: bool = False


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """Base and head; `codes` and `plans` (each side's own of the scenario) only where they stand before the plan is made."""

    refs: tuple[CodeRef, ...] = ()
    codes: Mapping[str, Code] | None = None
    plans: Mapping[str, Plan] = field(default_factory=dict)


# ---- plan ------------------------------------------------------------------------------------------------------------


def plan_of(scenario: str, settings: Settings, against: Against | None = None, mode: Mode = "quiet") -> Plan:
    """With `against` and architectures each side is checked out and built, since only its own code can say what it places."""
    loaded = load(scenario)
    settings = _implied(loaded, settings)
    builds = against is not None and isinstance(loaded.body, Serve) and bool(loaded.body.architectures)
    with exclusive(f"lab plan {scenario} --base") if builds else nullcontext(), _sides(scenario, loaded, settings, against, mode) as found:
        return _compile(loaded, settings, found)


@contextmanager
def _sides(scenario: str, loaded: Scenario, settings: Settings, against: Against | None, mode: Mode) -> Iterator[_Sides]:
    if against is None:
        yield _Sides()
        return
    commits = refs.resolve(registry.project(), against.base, against.allow_dirty)
    body, provider = loaded.body, registry.provider(settings.provider)(settings)
    if not isinstance(body, Serve) or not body.architectures or body.gate is None or not isinstance(provider, RunsCode):
        yield _Sides(refs=commits)
        return
    environment = EnvironmentPlan(**body.environment.model_dump()) if body.environment else None
    with ExitStack() as stack:
        with progress(mode, 0.0) as shown:
            codes = stack.enter_context(checkouts.standing(commits, body.workload, body.model_size, environment, settings, shown))
            shown.phase("asking base and head what they place")
            plans = checkouts.plans(scenario, codes, settings)
        yield _Sides(refs=commits, codes=codes, plans=plans)


def _implied(scenario: Scenario, settings: Settings) -> Settings:
    """A service of the user's own needs no provider to be named: there is one that starts it."""
    own = isinstance(scenario.body, Serve) and scenario.body.service is not None
    return replace(settings, provider="checkout") if own else settings


def _compile(scenario: Scenario, settings: Settings, found: _Sides) -> Plan:
    from lab import driver_budget  # a second of statistics, which an error in the scenario need not wait for

    provider = registry.provider(settings.provider)(settings)
    cpus = 1.0 if isinstance(scenario.body, Train) else scenario.body.budget.cpus
    made = compile(
        scenario,
        settings,
        provider.capabilities(cpus),
        spread=learned_spreads(settings).get(_question(scenario.body)),
        rate_per_driver_per_s=driver_budget.learned(settings),
        refs=found.refs,
        placed=sides.placed(found.plans),
    )
    sides.alike({**found.plans, "the code here": made})
    return made


def _question(body: Serve | Train) -> str:
    """What a spread was learned for: another workload, size or metric has one of its own."""
    return f"{body.workload} {'+'.join(body.model_size)} {body.primary_metric}" if isinstance(body, Serve) else ""


def _spreads(settings: Settings) -> Path:
    identity = environment.identify(environment.machine(settings.provider))
    return Path(settings.home).expanduser() / "spread" / f"{identity}.json"


def learned_spreads(settings: Settings) -> dict[str, float]:
    """question -> log-scale standard deviation between deployments of the same thing, from the last run on this very machine."""
    path = _spreads(settings)
    return rundir.decode(path.read_bytes(), dict[str, float], str(path)) if path.is_file() else {}


# ---- run -------------------------------------------------------------------------------------------------------------


def run(scenario: str, settings: Settings, mode: Mode, keep: bool, against: Against | None = None) -> Finished:
    from lab import rework  # half a second of statistics that an error in the scenario need not wait for
    from lab.workshops import learner

    loaded = load(scenario)
    settings = _implied(loaded, settings)
    with exclusive(f"lab run {scenario}"), _sides(scenario, loaded, settings, against, mode) as sided:
        plan = _compile(loaded, settings, sided)
        registry.provider(settings.provider)(settings).prepare()
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{loaded.name}"
        made = RunDir(Path(settings.runs) / name)
        sealed = learner.seal(registry.find("scenarios", scenario), loaded.sha256, made)
        about = environment.subject(Path.cwd(), loaded.sha256, plan.seed, " ".join(f"{r.name} {r.commit}" for r in plan.refs))
        seen = environment.snapshot(settings.provider, plan.isolation, about, shared=_shared(plan, settings))
        rundir.write(made.plan, rundir.encode(plan))
        rundir.write(made.environment, rundir.encode(seen))
        if sealed is not None:
            rundir.write(made.root / learner.SEAL, rundir.encode(sealed))
        found = _execute(made, plan, settings, mode, keep, sided.codes)
    spread = rework.spread(found)
    if spread is not None:
        learned = {**learned_spreads(settings), _question(loaded.body): spread}
        rundir.write(_spreads(settings), rundir.encode(learned))
    return found


def _shared(plan: Plan, settings: Settings) -> tuple[int, ...]:
    found = registry.provider(settings.provider)(settings).capabilities(plan.budget.cpus)
    return environment.shared_cpus(found.driver_cpus, found.system_cpus)


def resume(name: str, settings: Settings, mode: Mode, keep: bool) -> Finished:
    """Refuses another machine than the one that began: its cells could not stand beside the new ones."""
    made = directory(name, settings)
    plan = made.read(made.plan, Plan)
    began = made.read(made.environment, Environment)
    settings = replace(settings, **{k: v for k, v in plan.settings.items() if k != "name"})  # type: ignore[arg-type]
    now = environment.identify(environment.machine(settings.provider))
    if now != began.identity:
        raise InputError(f"{made.name} began on machine {began.identity}; this is {now}", "`lab run` begins a new one here")
    with exclusive(f"lab run --resume {made.name}"):
        return _execute(made, plan, settings, mode, keep)


def _execute(made: RunDir, plan: Plan, settings: Settings, mode: Mode, keep: bool, codes: Mapping[str, Code] | None = None) -> Finished:
    from lab import history, rework

    began = time.monotonic()
    with progress(mode, plan.expected_s) as shown:
        _measure(made, plan, settings, shown, keep, codes)
        shown.phase("analysis, prices, cloud rankings, report")
        _close(made, time.monotonic() - began)
        found = rework.rework(made, None, 1.0)
        history.keep(made, settings)
    return replace(found, took_s=time.monotonic() - began)


def _measure(made: RunDir, plan: Plan, settings: Settings, shown: Progress, keep: bool, codes: Mapping[str, Code] | None) -> None:
    """Cells that are done (of a resumed run) stay as they are. One that breaks is INVALID and the run goes on, unless the Lab is gone, no
    cell was ever done, or two break in a row: then what is wrong will not pass."""
    ended = ("done", "skipped")
    done = {c.id for c in plan.cells if (status := made.cell(c.id).status()) is not None and status.status in ended}
    if len(done) == len(plan.cells):
        return
    finished_s = sum(c.expected_s for c in plan.cells if c.id in done)
    broke = False
    with (
        _standing(settings, made.name, shown, keep) as (provider, lab),
        arms.standing(plan, made, provider, lab, shown, codes),
        _aside(provider, plan) as cpus,
    ):
        system_cpus = provider.capabilities(plan.budget.cpus).system_cpus
        bench = Bench(
            run=made, provider=provider, settings=lab, progress=shown, total=len(plan.cells), driver_cpus=cpus, system_cpus=system_cpus
        )
        for number, cell in enumerate(plan.cells, 1):
            if cell.id not in done:
                try:
                    bench.measure(cell, number=number, before_s=finished_s)
                    done.add(cell.id)
                    broke = False
                except LabError as error:
                    if broke or not done or provider.find() is None:
                        raise
                    broke = True
                    shown.phase(f"{cell.id} broke, going on: {error.what.partition(chr(10))[0]}")
                finished_s += cell.expected_s
                shown.reach(finished_s)
            if arms.decided_after(cell, plan, made, shown):
                break


@contextmanager
def _aside(provider: Provider, plan: Plan) -> Iterator[tuple[int, ...]]:
    """Gives the driver's CPUs, and keeps this program (sampler, progress, the fake provider's threads) on them."""
    before, cpus = environment.cores(), provider.capabilities(plan.budget.cpus).driver_cpus
    spawn.pin([psutil.Process()], cpus or before)
    try:
        yield cpus
    finally:
        spawn.pin([psutil.Process()], before)


@contextmanager
def _standing(settings: Settings, run_name: str, shown: Progress, keep: bool) -> Iterator[tuple[Provider, Settings]]:
    """The Lab that stands under this name, else one of the run's own, which is destroyed afterwards."""
    provider = registry.provider(settings.provider)(settings)
    provider.prepare()
    if provider.find() is not None:
        yield provider, settings
        return
    own = settings if keep else ownership.claim(settings, run_name)
    provider = registry.provider(settings.provider)(own)
    try:
        provider.up(shown.phase, owner_pid=None if keep else os.getpid())
        yield provider, own
    finally:
        if not keep:
            shown.phase("removing the run's own Lab")
            worktrees = refs.of_lab(own.state)
            provider.destroy()
            worktrees.remove()
            ownership.release(own)


def _close(made: RunDir, took_s: float) -> None:
    began = made.read(made.environment, Environment)
    ended = replace(began, finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), duration_s=round(began.duration_s + took_s, 1))
    rundir.write(made.environment, rundir.encode(ended))


# ---- training ----------------------------------------------------------------------------------------------------------


def train(scenario: str) -> Iterator[Path]:
    """The model files, as they are made."""
    body = load(scenario).body
    if not isinstance(body, Train):
        raise InputError(f"{scenario} is a scenario of kind {body.kind}", "`lab run` runs kind serve")
    from importlib.util import find_spec

    from lab.errors import MachineError

    if find_spec("torch") is None:
        raise MachineError("training needs torch, which is not installed", "pip install 'ai-cloud-lab[train]' (about 3 GB on Linux)")
    from lab.ml import training

    out = Path(body.out)
    for size in body.model_size:
        card = training.train(size=size, out_dir=out, seed=body.seed)
        yield out / f"{card.name}.onnx"
