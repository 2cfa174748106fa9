"""Which interpreter runs a side's code, what makes it, and what it says when its lab cannot plan."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from lab import checkouts
from lab.contracts import Code
from lab.errors import InputError, MachineError
from lab.model import EnvironmentPlan, Topology
from lab.providers.embedded import Provider
from lab.providers.embedded.control import Standing
from lab.settings import Settings
from tests import repositories


@pytest.mark.parametrize(
    ("pyproject", "environment", "python"),
    [
        ("[project]\nname = 'mine'\n", None, ".venv/bin/python"),
        ("[build-system]\nrequires = []\n", None, ".venv/bin/python"),
        ("[tool.ruff]\nline-length = 100\n", None, ""),
        (None, None, ""),
        (None, EnvironmentPlan(build="make", python="env/python3"), "env/python3"),
    ],
)
def test_an_interpreter_of_its_own_where_something_makes_it(
    tmp_path: Path, pyproject: str | None, environment: EnvironmentPlan | None, python: str
) -> None:
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_text(pyproject)
    assert checkouts._python(tmp_path, environment) == (str(tmp_path / python) if python else "")


def test_a_pyproject_that_is_no_toml_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(InputError, match=r"pyproject\.toml is not TOML"):
        checkouts._python(tmp_path, None)


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_the_installer_that_is_there_makes_the_venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installer: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if installer == "uv":
        (tmp_path / "uv").write_text("")
        (tmp_path / "uv").chmod(0o755)
    text = checkouts._build(tmp_path, None).text
    assert installer in text and text.endswith("-e .") and sys.executable in text
    own = checkouts._build(tmp_path, EnvironmentPlan(build="make venv", build_timeout_s=7))
    assert (own.text, own.timeout_s) == ("make venv", 7)


def standing_in(folder: Path, program: str) -> Code:
    """A side whose interpreter does nothing but `program`, in sh."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    return Code(folder=folder, python=str(python))


@pytest.mark.parametrize(
    ("program", "says", "hint"),
    [
        (
            "echo '/x: No module named lab' >&2; exit 1",
            "the code of base cannot plan gate",
            "name ai-cloud-lab among the project's dependencies",
        ),
        (
            "echo 'error: no architecture mine' >&2; echo 'next:  look' >&2; exit 2",
            "the code of base cannot plan gate",
            "environment: {build:",
        ),
        ("echo '{\"schema_version\": 0}'", "the plan that the code of base makes of gate cannot be read", "another version"),
        ("echo words", "the plan that the code of base makes of gate cannot be read", "another version"),
    ],
)
def test_a_side_that_cannot_say_what_it_places(tmp_path: Path, program: str, says: str, hint: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        checkouts._plan("base", standing_in(tmp_path, program), "gate.yaml", Settings(home=str(tmp_path)))
    assert hint in caught.value.hint
    assert not program.startswith("echo 'error") or caught.value.problems == ("error: no architecture mine",)


def test_nothing_of_ours_leads_a_side_to_our_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("LAB_NAME", "ours")
    code = standing_in(tmp_path, 'echo "[$PYTHONPATH$LAB_NAME] $LAB_PROJECT $(pwd)"; echo aside >&2')
    assert checkouts._ask("base", code, [], "answer", {}) == f"[] {tmp_path} {tmp_path}\n"


def test_the_scenario_of_each_side_or_ours_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    codes = {}
    for side in ("base", "head"):
        (tmp_path / side / "scenarios").mkdir(parents=True)
        codes[side] = Code(folder=tmp_path / side)
    (here / "scenarios").mkdir(parents=True)
    monkeypatch.setenv("LAB_PROJECT", str(here))
    asked: list[str] = []
    monkeypatch.setattr(checkouts, "_plan", lambda side, code, scenario, settings: asked.append(scenario))
    for folder in (here, codes["head"].folder):
        (folder / "scenarios" / "gate.yaml").write_text(repositories.SCENARIO)
    checkouts.plans("gate", codes, Settings())
    assert asked == [str(here.resolve() / "scenarios" / "gate.yaml")] * 2, "base has none"
    (codes["base"].folder / "scenarios" / "gate.yaml").write_text(repositories.SCENARIO)
    checkouts.plans("gate", codes, Settings())
    assert asked[2:] == ["scenarios/gate.yaml"] * 2


def test_the_models_of_a_side_are_its_own(tmp_path: Path) -> None:
    """Asked of the interpreter that runs this test, with the workload of another folder."""
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads" / "mine.py").write_text(
        "class Workload:\n    stages = ()\n    operations = ()\n    payload = check = None\n"
        "    def model_name(self, size):\n        print('aside')\n        return f'mine-{size}' if size == 'S' else None\n"
        "    def model_bytes(self, size):\n        return b'weights', 'digest'\n"
    )
    found = checkouts._models("head", Code(folder=tmp_path), "mine", ("S", "M"), tmp_path)
    assert list(found) == ["S"] and (found["S"].name, found["S"].sha256) == ("mine-S", "digest")
    assert Path(found["S"].path).read_bytes() == b"weights"


def test_a_side_without_the_workload_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the code of base cannot tell the model of workload mine") as caught:
        checkouts._models("base", Code(folder=tmp_path), "mine", ("S",), tmp_path)
    (said,) = caught.value.problems
    assert said.startswith("error: no workload is called 'mine'")


def test_a_standing_lab_of_an_older_version_would_run_our_code_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(Settings(home=str(tmp_path)))
    old = Standing(lab_id="a", pid=1, created=0.0, endpoints=())
    monkeypatch.setattr(provider, "_wanted_standing", lambda: old)
    with pytest.raises(MachineError, match="of an older lab"):
        provider.run_code({"base": Code(folder=tmp_path)})
    monkeypatch.setattr(provider, "_wanted_standing", lambda: dataclasses.replace(old, runs_code=True))
    provider.run_code({"base": Code(folder=tmp_path)})
    with pytest.raises(InputError, match="code of side head"):
        provider.deploy(Topology(architecture="a", workload="noop", services=(), routes={}, options={"code_ref": "head"}), "c-1", 1)
