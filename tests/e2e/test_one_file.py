"""A new workload, architecture, provider, scenario or price book is one file in a project: its tests appear by themselves, and pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import registry
from tests.unit.test_registry import ARCHITECTURE

ROOT = Path(__file__).parents[2]
WORKLOAD = (registry.PACKAGE / "workloads" / "noop.py").read_text().replace('name = "noop"', 'name = "mine"')
PROVIDER = '''
"""The fake under another name."""
from lab.providers import fake


class Provider(fake.Provider):
    name = "mine"
'''
SCENARIO = """
kind: serve
about: all that is mine
workload: mine
architectures: [mine]
load: {rates_per_s: [20], window_s: 2}
deployments: 1
prices: mine
"""
FILES = {
    "workloads/mine.py": WORKLOAD.replace("/v1/classify", "/v1/mine"),
    "architectures/mine.py": ARCHITECTURE.replace("monolith", "mine"),
    "providers/mine.py": PROVIDER,
    "scenarios/mine.yaml": SCENARIO,
    "prices/mine.yaml": (registry.PACKAGE / "prices" / "aws.yaml").read_text(),
}
# Of each kind the one of ours that is most alike: each of its tests must have a twin.
ALIKE = {"workload": "noop", "architecture": "three_tier", "provider": "fake", "scenario": "quick", "prices": "aws"}


def pytest_in(project: Path, *words: str) -> str:
    """What the contract tests print where `project` is the user's folder."""
    environment = {**os.environ, registry.PROJECT_VARIABLE: str(project), "TMPDIR": str(project)}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={project}/base", "tests/contract", *words]
    done = subprocess.run(argv, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def collected(project: Path) -> list[str]:
    return [line for line in pytest_in(project, "--collect-only").splitlines() if "::" in line]


@pytest.mark.parametrize("kind", ALIKE)
def test_every_test_of_one_of_ours_is_there_for_the_new_file(collected: list[str], kind: str) -> None:
    name = re.compile(rf"(?<=[\[-]){ALIKE[kind]}(?=[\]-])")
    ours = [test for test in collected if f"test_{kind}.py" in test and name.search(test)]
    assert ours
    assert [test for test in ours if name.sub("mine", test) not in collected] == []


@pytest.mark.slow
def test_they_pass(project: Path, collected: list[str]) -> None:
    """Those on the embedded cloud left out: whole processes take their time."""
    chosen = [test for test in collected if re.search(r"\[(.*-)?mine\b", test) and "embedded" not in test]
    assert {re.search(r"test_(\w+)\.py", test)[1] for test in chosen} == set(ALIKE)  # type: ignore[index]
    said = pytest_in(project, "-k", "mine and not embedded").splitlines()[-1]
    assert re.fullmatch(rf"{len(chosen)} passed, \d+ deselected in .*", said)
