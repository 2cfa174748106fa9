"""Finds run directories by name, and says how each ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.errors import InputError, LabError
from lab.model import Environment, Plan
from lab.rundir import RunDir
from lab.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Listed:
    name: str
    scenario: str
    started_at: str
    cells: int
    done: int
    ended: str


def directory(name: str, settings: Settings) -> RunDir:
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
    skipped = sum(s is not None and s.status == "skipped" for s in states)
    done = sum(s is not None and s.status == "done" for s in states)
    broken = next((s.reason for s in states if s is not None and s.status == "broken"), "")
    ended = "report" if made.html.is_file() else f"broken: {broken}" if broken else "interrupted; `lab run --resume` goes on"
    return Listed(
        name=made.name, scenario=plan.scenario, started_at=about.started_at, cells=len(plan.cells) - skipped, done=done, ended=ended
    )
