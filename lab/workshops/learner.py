"""The learner's folder: a lesson is copied into it, predictions are filled in there, and sealed when the first of its runs begins."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import yaml

from lab import registry, rundir
from lab.errors import InputError
from lab.rundir import RunDir
from lab.workshops.lesson import Prediction, Question

STARTED, PREDICTIONS, SEAL = ".workshop.json", "predictions.yaml", "workshop.json"
FOR_TRAINERS = ("trainer.md", "check.py", "__pycache__")  # what a learner does not need, or should not see first


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal:
    """The predictions as they stood when a run began. `digest` covers all else, so that nothing of it can be changed by itself."""

    lesson: str
    learner: str
    scenario: str
    scenario_sha256: str
    run: str
    predictions: Mapping[str, Prediction]
    sealed_at: str
    digest: str = ""
    schema_version: int = 1

    def sealed(self) -> Seal:
        return replace(self, digest=self.worked_out())

    def worked_out(self) -> str:
        return hashlib.sha256(msgspec.json.encode(replace(self, digest=""), order="deterministic")).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """One start of a lesson. `learner` is random: runs made in this folder carry it. `predictions` are those that its first run sealed."""

    lesson: str
    learner: str
    started_at: str
    predictions: Mapping[str, Prediction] | None = None
    schema_version: int = 1


# ---- lessons ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    name: str
    title: str
    folder: Path
    scenarios: tuple[Path, ...]

    def questions(self) -> tuple[Question, ...]:
        """Of its check.py: the one place that knows how to work out what is true."""
        return tuple(registry.lesson(self.folder / "check.py").QUESTIONS)


def lessons() -> dict[str, Lesson]:
    return {name: _lesson(folder) for name, folder in registry.workshops().items()}


def lesson(name: str) -> Lesson:
    known = registry.workshops()
    if name not in known:
        raise InputError(f"no workshop is called {name!r}; there are: {', '.join(known)}", "`lab workshop list` says what each is about")
    return _lesson(known[name])


def _lesson(folder: Path) -> Lesson:
    """Scenarios in the order in which its page runs them."""
    page = (folder / "lesson.md").read_text()
    title = re.search(r"^# (.+)$", page, re.MULTILINE)
    scenarios = sorted(folder.glob("*.yaml"), key=lambda path: (page.find(f"/{path.name}"), path.name))
    return Lesson(name=folder.name, title=title[1] if title else "", folder=folder, scenarios=tuple(scenarios))


# ---- start -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """`steps`: what the learner does next, in order."""

    title: str
    folder: str
    steps: tuple[str, ...]


def start(name: str, into: Path) -> Begun:
    """Copies the lesson to `into`/NAME with predictions to fill in. Raises InputError where that folder stands already."""
    found, folder = lesson(name), into / name
    if folder.exists():
        raise InputError(f"{folder} stands already", "go on in it, or delete it to begin anew; a new start needs new runs")
    shutil.copytree(found.folder, folder, ignore=shutil.ignore_patterns(*FOR_TRAINERS))
    rundir.write(folder / PREDICTIONS, blank(found).encode())
    begun = Started(lesson=name, learner=secrets.token_hex(8), started_at=_now())
    rundir.write(folder / STARTED, rundir.encode(begun))
    runs = (f"lab run {name}/{path.name}" for path in found.scenarios)
    steps = (f"read {name}/lesson.md", f"fill in {name}/{PREDICTIONS}", *runs, f"lab workshop check {name}")
    return Begun(title=found.title, folder=str(folder), steps=steps)


def blank(found: Lesson) -> str:
    lines = [f"# {found.title}", "# What do you expect? Fill in every line before the run; the run seals them.", ""]
    for number, q in enumerate(found.questions(), 1):
        lines += [f"# {number}. {q.ask}", f"#    {q.wanted}", f"{q.id}:", ""]
    return "\n".join(lines)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# ---- predictions -----------------------------------------------------------------------------------------------------


def predictions(folder: Path, found: Lesson) -> dict[str, Prediction]:
    """Raises InputError with everything that is missing or cannot be judged."""
    path = folder / PREDICTIONS
    if not path.is_file():
        raise InputError(f"there is no {path}", f"`lab workshop start {found.name}` in another folder makes it")
    try:
        given = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}", "one `question: answer` a line") from error
    if not isinstance(given, dict):
        raise InputError(f"{path}: found {given!r}, wanted one `question: answer` a line", "start again from the file of the lesson")
    questions = found.questions()
    problems = [p for q in questions if (p := q.problem(given.get(q.id)))]
    problems += [f"{key}: found a question that the lesson does not ask" for key in given if key not in {q.id for q in questions}]
    if problems:
        raise InputError(f"{path} is not ready: predict first, then run", "fill in these lines; a guess is fine", problems)
    return {q.id: given[q.id] if q.choices else float(given[q.id]) for q in questions}


# ---- sealing ---------------------------------------------------------------------------------------------------------


def started(folder: Path) -> Started:
    path = folder / STARTED
    return rundir.decode(path.read_bytes(), Started, str(path))


def seal(scenario: Path, scenario_sha256: str, run: RunDir) -> Seal | None:
    """To be called before anything is measured: None for a scenario outside a learner's folder. What it gives belongs into the run.

    The first run of a start seals the predictions for all of its runs. Raises InputError while they are not filled in, and when they were
    changed since."""
    folder = scenario.absolute().parent
    if not (folder / STARTED).is_file():
        return None
    begun = started(folder)
    found = predictions(folder, lesson(begun.lesson))
    if begun.predictions is None:
        rundir.write(folder / STARTED, rundir.encode(replace(begun, predictions=found)))
    elif dict(begun.predictions) != found:
        changed = ", ".join(k for k in found if begun.predictions.get(k) != found[k])
        what = f"{folder / PREDICTIONS} was changed after the first run of this lesson: {changed}"
        raise InputError(what, f"put it back ({_listed(begun.predictions)}), or delete {folder} and start anew")
    return Seal(
        lesson=begun.lesson,
        learner=begun.learner,
        scenario=scenario.stem,
        scenario_sha256=scenario_sha256,
        run=run.name,
        predictions=found,
        sealed_at=_now(),
    ).sealed()


def _listed(given: Mapping[str, Prediction]) -> str:
    return ", ".join(f"{k}: {v}" for k, v in given.items())
