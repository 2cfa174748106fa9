"""A learner's folder and runs in, each prediction beside what the runs show out; everything is worked out from the raw samples again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import rundir
from lab.analysis.results import Summary
from lab.analysis.summarize import summarize
from lab.errors import InputError, LabError, UnusableError
from lab.model import Environment, Plan
from lab.rundir import RunDir
from lab.workshops import learner
from lab.workshops.learner import PREDICTIONS, SEAL, STARTED, Lesson, Seal, Started
from lab.workshops.lesson import Evidence, Judged, judge


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    lesson: str
    title: str
    runs: tuple[str, ...]
    sealed_at: str
    judged: tuple[Judged, ...]
    notes: tuple[str, ...] = ()


def check(name: str, here: Path, runs: Path, given: Sequence[RunDir] = ()) -> Checked:
    """`here`: where the lesson was started, or its folder itself; `runs`: the folder of runs; `given`: instead of the newest ones there.

    Raises InputError for runs that are not this learner's runs of this lesson, UnusableError where their numbers may not be used."""
    found = learner.lesson(name)
    folder = _folder(name, here)
    begun = learner.started(folder)
    chosen = _chosen(found, begun, runs, given)
    seals = [_seal(run, found, begun, scenario) for scenario, run in chosen.items()]
    evidence = Evidence(runs=chosen, summaries={scenario: _usable(run) for scenario, run in chosen.items()})
    sealed = seals[0].predictions
    judged = tuple(judge(q, sealed[q.id], q.truth(evidence)) for q in found.questions())
    return Checked(
        lesson=name,
        title=found.title,
        runs=tuple(run.name for run in chosen.values()),
        sealed_at=min(s.sealed_at for s in seals),
        judged=judged,
        notes=tuple(_edited(folder, found, seals[0])),
    )


def _folder(name: str, here: Path) -> Path:
    for folder in (here / name, here):
        if (folder / STARTED).is_file() and learner.started(folder).lesson == name:
            return folder
    raise InputError(
        f"the workshop {name!r} was not started in {here}", f"`lab workshop start {name}`, or change to the folder where you did"
    )


def _chosen(found: Lesson, begun: Started, runs: Path, given: Sequence[RunDir]) -> dict[str, RunDir]:
    """Scenario -> run: of each the one given, else the learner's newest."""
    named = {run.read(run.plan, Plan).scenario: run for run in given}
    mine = {seal.scenario: run for run, seal in _sealed(runs) if seal.learner == begun.learner}
    chosen = {s.stem: named.pop(s.stem, mine.get(s.stem)) for s in found.scenarios}
    if named:
        scenario, run = next(iter(named.items()))
        wanted = " or ".join(chosen)
        raise InputError(f"{run.name} is a run of {scenario!r}, wanted one of {wanted}", f"`lab workshop check {found.name}` finds yours")
    missing = [s for s in found.scenarios if chosen[s.stem] is None]
    if missing:
        steps = ", then ".join(f"`lab run {found.name}/{s.name}`" for s in missing)
        raise InputError(f"you have no run of {', '.join(s.stem for s in missing)} in {runs} since you started this lesson", steps)
    return {name: run for name, run in chosen.items() if run is not None}


def _sealed(runs: Path) -> Iterator[tuple[RunDir, Seal]]:
    """Oldest first; runs that are of no lesson, or cannot be read, are not the learner's."""
    for path in sorted(runs.glob(f"*/{SEAL}")):
        try:
            yield RunDir(path.parent), rundir.decode(path.read_bytes(), Seal, str(path))
        except LabError:
            continue


def _seal(run: RunDir, found: Lesson, begun: Started, scenario: str) -> Seal:
    """The run's, after every doubt that it is the learner's own run of the lesson as it stands."""
    path = run.root / SEAL
    again = f"`lab run {found.name}/{scenario}.yaml` makes one"
    if not path.is_file():
        raise InputError(f"{run.name} was not made from the folder of this lesson, or before you started it", again)
    seal = rundir.decode(path.read_bytes(), Seal, str(path))
    plan, about = run.read(run.plan, Plan), run.read(run.environment, Environment)
    shipped = hashlib.sha256((found.folder / f"{scenario}.yaml").read_bytes()).hexdigest()
    doubts = {
        f"its seal does not fit: {SEAL} was changed after the run": seal.digest != seal.worked_out() or seal.run != run.name,
        f"it was made by another learner, or before you started this lesson at {begun.started_at}": seal.learner != begun.learner
        or about.started_at < begun.started_at,
        f"its scenario is not the lesson's {scenario}.yaml": not (seal.scenario_sha256 == plan.scenario_sha256 == shipped),
        f"its predictions are not those that your first run sealed; {STARTED} was changed": dict(seal.predictions)
        != dict(begun.predictions or {}),
    }
    if wrong := [why for why, doubted in doubts.items() if doubted]:
        raise InputError(f"{run.name} cannot be checked: {wrong[0]}", again)
    return seal


def _usable(run: RunDir) -> Summary:
    """Every group needs a valid deployment."""
    summary = summarize(run)
    bad = [g.name for g in summary.groups if not g.valid_deployments]
    if bad or not summary.groups:
        reasons = [f"{c.cell}: {reason}" for c in summary.cells for reason in c.reasons]
        what = f"{run.name} has no valid deployment of {', '.join(bad) or 'anything'}: {'; '.join(reasons[:3])}"
        raise UnusableError(what, "`lab doctor --noise` says what disturbs this machine; then run it again, your predictions stay")
    return summary


def _edited(folder: Path, found: Lesson, seal: Seal) -> Iterator[str]:
    try:
        now = learner.predictions(folder, found)
    except InputError:
        now = {}
    if now != dict(seal.predictions):
        yield f"{PREDICTIONS} was changed after the run; judged is what the run sealed at {seal.sealed_at}"
