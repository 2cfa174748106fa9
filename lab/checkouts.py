"""Base and head of a scenario with architectures: from two commits to checkouts, the interpreter that runs each, and what its code says."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lab import builds, ownership, refs, registry, rundir, spawn
from lab.builds import STOP_S, Build
from lab.contracts import Code, ServedModel
from lab.errors import InputError
from lab.model import CodeRef, EnvironmentPlan, Plan
from lab.model.workload import ModelSize
from lab.progress import Progress
from lab.settings import Settings

ASK_S = 120.0  # for what a side's code is asked: its imports may have to be compiled first
SAID_LINES = 12
VENV = ".venv"
VENV_BUILD_S = 1800.0
ELSEWHERE = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # what would lead another interpreter to our code
MEND = "mend that commit, or say in the scenario how its interpreter is made: `environment: {build: ..., python: .venv/bin/python}`"


@contextmanager
def standing(
    commits: Sequence[CodeRef],
    workload: str,
    sizes: Sequence[ModelSize],
    environment: EnvironmentPlan | None,
    settings: Settings,
    shown: Progress,
) -> Iterator[Mapping[str, Code]]:
    """By side. They stand in a folder of their own below the home, which `lab clean` removes after a kill, and nothing of them stays."""
    own = ownership.claim(settings, f"sides-{os.getpid()}")
    record = spawn.Record(path=own.state / "processes.jsonl", lab_id=spawn.new_lab_id(own.state))
    try:
        for ref in commits:
            shown.phase(f"checking out {ref.name}, {ref.commit[:12]}{' with changes' if ref.dirty else ''}")
        trees = refs.check_out(registry.project().resolve(), own.state, commits)
        codes = {ref.name: Code(folder=trees.of(ref.name), python=_python(trees.of(ref.name), environment)) for ref in commits}
        wanted: dict[str, Build] = {side: _build(code.folder, environment) for side, code in codes.items() if code.python}
        builds.run(wanted, own.state.parent / "builds", record, shown)
        yield {side: replace(code, models=_models(side, code, workload, sizes, own.state)) for side, code in codes.items()}
    finally:
        spawn.end(spawn.of_lab(own.state), STOP_S)
        refs.of_lab(own.state).remove()
        ownership.release(own)


# ---- interpreters ----------------------------------------------------------------------------------------------------


def _python(folder: Path, environment: EnvironmentPlan | None) -> str:
    """That of the side's own environment; empty (ours) where nothing says that it has one."""
    if environment is not None:
        return str(folder / environment.python)
    return str(folder / VENV / "bin" / "python") if _is_project(folder / "pyproject.toml") else ""


def _is_project(path: Path) -> bool:
    """A pyproject.toml may hold nothing but the settings of tools."""
    if not path.is_file():
        return False
    try:
        found = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}", MEND) from error
    return bool(found.keys() & {"project", "build-system"})


def _build(folder: Path, environment: EnvironmentPlan | None) -> Build:
    if environment is not None:
        return Build(text=environment.build, folder=folder, timeout_s=environment.build_timeout_s, bound="environment.build_timeout_s")
    python = shlex.quote(sys.executable)
    if shutil.which("uv"):
        text = f"uv venv --quiet --python {python} {VENV} && uv pip install --quiet --python {VENV}/bin/python -e ."
    else:
        text = f"{python} -m venv {VENV} && {VENV}/bin/python -m pip install --quiet --disable-pip-version-check -e ."
    return Build(text=text, folder=folder, timeout_s=VENV_BUILD_S, bound="the lab's own limit")


# ---- what a side's code says -----------------------------------------------------------------------------------------


def plans(scenario: str, codes: Mapping[str, Code], settings: Settings) -> dict[str, Plan]:
    """Of each side's own lab, for the scenario as that side has it; for ours where one of them has none. Raises InputError."""
    found, here = registry.find("scenarios", scenario).resolve(), registry.project().resolve()
    inside = str(found.relative_to(here)) if found.is_relative_to(here) else ""
    everywhere = bool(inside) and all((code.folder / inside).is_file() for code in codes.values())
    return {side: _plan(side, code, inside if everywhere else str(found), settings) for side, code in codes.items()}


def _plan(side: str, code: Code, scenario: str, settings: Settings) -> Plan:
    given = {"LAB_HOME": str(settings.state.parent), "LAB_PROVIDER": settings.provider}
    said = _ask(side, code, ["-m", "lab", "--json", "plan", scenario], f"plan {Path(scenario).stem}", given)
    return rundir.decode(said.encode(), Plan, f"the plan that the code of {side} makes of {Path(scenario).stem}")


def _models(side: str, code: Code, workload: str, sizes: Sequence[ModelSize], folder: Path) -> dict[ModelSize, ServedModel]:
    program = (registry.PACKAGE / "served_model.py").read_text()
    out = folder / f"models-{side}"
    out.mkdir(exist_ok=True)
    said = _ask(side, code, ["-c", program, workload, str(out), *sizes], f"tell the model of workload {workload}", {})
    last = said.splitlines()[-1] if said else ""
    return rundir.decode(last.encode(), dict[ModelSize, ServedModel], f"what the code of {side} says of the model of workload {workload}")


def _ask(side: str, code: Code, words: Sequence[str], what: str, given: Mapping[str, str]) -> str:
    """Its standard output. Raises InputError with the last lines of what it said instead."""
    unset = [name for name in os.environ if name.startswith(("LAB_", "GIT_")) or (code.python and name in ELSEWHERE)]
    settings = [f"{name}={value}" for name, value in {**given, registry.PROJECT_VARIABLE: str(code.folder)}.items()]
    argv = ["env", *(word for name in unset for word in ("-u", name)), *settings, code.python or sys.executable, *words]
    found = spawn.capture(argv, timeout_s=ASK_S, cwd=code.folder)
    if found.code:
        lines = [line for line in found.output.strip().splitlines() if not line.startswith("next:")]  # ours follows
        hint = (
            "its environment has no lab: name ai-cloud-lab among the project's dependencies"
            if "No module named lab" in found.output
            else MEND
        )
        raise InputError(f"the code of {side} cannot {what}, so nothing was measured; it says", hint, lines[-SAID_LINES:])
    return found.stdout
