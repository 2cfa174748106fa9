"""Orders a run from plan to report: one lock, one Lab, cell after cell; everything that starts is stopped, also after ctrl-C."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lab import environment, ownership, registry, report, rundir
from lab.analysis import analyze
from lab.analysis.compare import compare_runs
from lab.analysis.results import Comparison, Summary
from lab.cells import Bench
from lab.contracts import Provider
from lab.errors import InputError, LabError
from lab.measuring import exclusive
from lab.model import Environment, Plan
from lab.plan import compile
from lab.progress import Mode, Progress, progress
from lab.rundir import RunDir
from lab.scenario import Scenario, Train, load
from lab.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Finished:
    run: RunDir
    summary: Summary
    comparison: Comparison
    took_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Listed:
    name: str
    scenario: str
    started_at: str
    cells: int
    done: int
    ended: str


# ---- plan ------------------------------------------------------------------------------------------------------------


def plan_of(scenario: str, settings: Settings) -> Plan:
    return _compile(load(scenario), settings)


def _compile(scenario: Scenario, settings: Settings) -> Plan:
    provider = registry.provider(settings.provider)(settings)
    cpus = 1.0 if isinstance(scenario.body, Train) else scenario.body.budget.cpus
    return compile(scenario, settings, provider.capabilities(cpus), spread=_learned(settings).get(_metric(scenario)))


def _metric(scenario: Scenario) -> str:
    return "" if isinstance(scenario.body, Train) else scenario.body.primary_metric


def _spreads(settings: Settings) -> Path:
    identity = environment.identify(environment.machine(settings.provider))
    return Path(settings.home).expanduser() / "spread" / f"{identity}.json"


def _learned(settings: Settings) -> dict[str, float]:
    """metric -> log-scale standard deviation between deployments of the same thing, from the last run on this very machine."""
    path = _spreads(settings)
    return rundir.decode(path.read_bytes(), dict[str, float], str(path)) if path.is_file() else {}


# ---- run -------------------------------------------------------------------------------------------------------------


def run(scenario: str, settings: Settings, mode: Mode, keep: bool) -> Finished:
    loaded = load(scenario)
    plan = _compile(loaded, settings)
    with exclusive(f"lab run {scenario}"):
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{loaded.name}"
        made = RunDir(Path(settings.runs) / name)
        about = environment.subject(Path.cwd(), loaded.sha256, plan.seed)
        rundir.write(made.plan, rundir.encode(plan))
        rundir.write(made.environment, rundir.encode(environment.snapshot(settings.provider, plan.isolation, about)))
        return _execute(made, plan, settings, mode, keep)


def resume(name: str, settings: Settings, mode: Mode, keep: bool) -> Finished:
    """Refuses another machine than the one that began: its cells could not stand beside the new ones."""
    made = run_directory(name, settings)
    plan = made.read(made.plan, Plan)
    began = made.read(made.environment, Environment)
    settings = replace(settings, **{k: v for k, v in plan.settings.items() if k != "name"})  # type: ignore[arg-type]
    now = environment.identify(environment.machine(settings.provider))
    if now != began.identity:
        raise InputError(f"{made.name} began on machine {began.identity}; this is {now}", "`lab run` begins a new one here")
    with exclusive(f"lab run --resume {made.name}"):
        return _execute(made, plan, settings, mode, keep)


def _execute(made: RunDir, plan: Plan, settings: Settings, mode: Mode, keep: bool) -> Finished:
    began = time.monotonic()
    with progress(mode, plan.expected_s) as shown:
        _measure(made, plan, settings, shown, keep)
        shown.phase("analysis, prices, cloud rankings, report")
        _close(made, time.monotonic() - began)
        found = rework(made, None, 1.0)
    spread = analyze.spread(found.summary)
    if spread is not None:
        learned = {**_learned(settings), plan.primary_metric: spread}
        rundir.write(_spreads(settings), rundir.encode(learned))
    return replace(found, took_s=time.monotonic() - began)


def _measure(made: RunDir, plan: Plan, settings: Settings, shown: Progress, keep: bool) -> None:
    """Cells that are done (of a resumed run) stay as they are."""
    waiting = [c for c in plan.cells if (made.cell(c.id).status() or rundir.CellStatus(cell=c.id, status="planned")).status != "done"]
    finished_s = sum(c.expected_s for c in plan.cells) - sum(c.expected_s for c in waiting)
    with _standing(settings, made.name, shown, keep) as (provider, lab):
        bench = Bench(run=made, provider=provider, settings=lab, progress=shown, total=len(plan.cells))
        for cell in waiting:
            bench.measure(cell, number=plan.cells.index(cell) + 1, before_s=finished_s)
            finished_s += cell.expected_s
            shown.reach(finished_s)


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
            provider.destroy()
            ownership.release(own)


def _close(made: RunDir, took_s: float) -> None:
    began = made.read(made.environment, Environment)
    ended = replace(began, finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), duration_s=round(began.duration_s + took_s, 1))
    rundir.write(made.environment, rundir.encode(ended))


# ---- after the run: only the run directory is read --------------------------------------------------------------------


def rework(made: RunDir, prices: str | None, cpu_scale: float) -> Finished:
    """Summary, comparison and report from the raw samples; they can be deleted and come out the same."""
    summary = analyze.analyze(made)
    comparison = analyze.compare_run(made, prices=prices or made.read(made.plan, Plan).prices, cpu_scale=cpu_scale)
    report.write(made)
    return Finished(run=made, summary=summary, comparison=comparison)


def compare(a: RunDir, b: RunDir, force: bool) -> tuple[Comparison, Path]:
    """b against a, kept beside the runs in comparisons/A..B/comparison.json."""
    found = compare_runs(a, b, force=force)
    path = a.root.parent.parent / "comparisons" / f"{a.name}..{b.name}" / "comparison.json"
    rundir.write(path, rundir.encode(found))
    return found, path


def run_directory(name: str, settings: Settings) -> RunDir:
    """`name` is a run's name, its path, or `last`."""
    folder = Path(settings.runs)
    if name == "last":
        known = sorted(p.parent for p in folder.glob("*/plan.json"))
        if not known:
            raise InputError(f"there are no runs in {folder}", "`lab run quick` makes one")
        return RunDir(known[-1])
    for path in (Path(name), folder / name):
        if (path / "plan.json").is_file():
            return RunDir(path)
    raise InputError(f"no run is called {name!r} in {folder}", "`lab runs` lists them; `last` is the newest")


def listing(folder: Path) -> tuple[Listed, ...]:
    return tuple(_listed(RunDir(p.parent)) for p in sorted(folder.glob("*/plan.json"), reverse=True))


def _listed(made: RunDir) -> Listed:
    try:
        plan, about = made.read(made.plan, Plan), made.read(made.environment, Environment)
    except LabError as error:
        return Listed(name=made.name, scenario="?", started_at="?", cells=0, done=0, ended=error.what)
    states = [made.cell(c.id).status() for c in plan.cells]
    done = sum(s is not None and s.status == "done" for s in states)
    broken = next((s.reason for s in states if s is not None and s.status == "broken"), "")
    ended = "report" if made.html.is_file() else f"broken: {broken}" if broken else "interrupted; `lab run --resume` goes on"
    return Listed(name=made.name, scenario=plan.scenario, started_at=about.started_at, cells=len(plan.cells), done=done, ended=ended)


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
