"""`lab run --base` of architectures: two commits that place and compute differently, each with its own code, and what can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.repositories import IDENTITY, environment, git, lab, processes, worktrees

DEADLINE_S = 120.0
WORKLOAD = '''
"""Gives the double of a number, in stages that only this commit has, after the processor was busy for so many milliseconds."""
import time

from lab.contracts import Handlers
from lab.model import Message, Operation, Request, Stage

STAGES = {stages}


def double(message):
    until = time.perf_counter() + {busy_ms} / 1e3
    while time.perf_counter() < until:
        pass
    return Message(body=str(2 * int(message.fields["n"])).encode())


class Workload:
    name = "double"
    model_sizes = ("M",)
    stages = tuple(Stage(name=name, after=STAGES[:i]) for i, name in enumerate(STAGES))
    operations = (Operation(name="double", kind="read", method="GET", path="/double/{{n}}", stages=STAGES, headline=True),)

    def wrong_rate_limit(self, model_size):
        return 0.0

    def preload(self, seed):
        return ()

    def payload(self, seed, index, operation):
        return Request(operation=operation, method="GET", path=f"/double/{{index}}", expected=str(2 * index))

    def check(self, request, response):
        return response.body == request.expected.encode()

    def model_name(self, model_size):
        return None

    def model_bytes(self, model_size):
        raise KeyError(model_size)

    def handlers(self, stages, tools):
        return Handlers(single={{name: double if name == STAGES[-1] else (lambda message: message) for name in stages}})
'''
ARCHITECTURE = '''
"""One service for each stage."""
from dataclasses import dataclass

from lab.model import Service, Topology
from lab.model.wiring import calls, entries


@dataclass(frozen=True, kw_only=True)
class Options:
    concurrency: int = 8


def place(shape, budget, options):
    cpus = budget.cpus / len(shape.stages)
    services = tuple(Service(name=f"of-{s.name}", stages=(s.name,), concurrency=options.concurrency, cpus=cpus) for s in shape.stages)
    routes = entries(services, shape.operations)
    edges = calls(services, routes, shape.operations, timeout_s=5.0, retries=0)
    return Topology(
        architecture="mine",
        workload=shape.name,
        model_size=shape.model_size,
        services=services,
        edges=edges,
        routes=routes,
        needs=(),
        cpus=budget.cpus,
        memory_mib=budget.memory_mib,
    )
'''
SCENARIO = """
kind: serve
about: my architecture, against the commit that it is merged into
workload: double
architectures: [mine]
load: {rates_per_s: [20], window_s: 3, warmup_max_s: 4}
slo: {percentile: 95, latency_ms: 250}
floor: false
gate: {thresholds: ["p50_ms vs base < +20 %"], least: 2, most: 2}
"""
BASE = {"workloads/double.py": WORKLOAD.format(stages=("whole",), busy_ms=1), "architectures/mine.py": ARCHITECTURE}
HEAD = {"workloads/double.py": WORKLOAD.format(stages=("front", "back"), busy_ms=12)}


def commit(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, *IDENTITY, "commit", "-q", "--allow-empty", "-m", "a change")
    return git(folder, "rev-parse", "HEAD")


def made(folder: Path, base: dict[str, str], head: dict[str, str], scenario: str = SCENARIO) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, {".gitignore": "reports/\nhome/\ntmp/\n__pycache__/\n", "scenarios/gate.yaml": scenario, **base})
    commit(folder, head)
    (folder / "tmp").mkdir()
    return folder


def nothing_left(folder: Path) -> None:
    assert processes(folder) == []
    assert worktrees(folder) == []
    assert not [p.name for p in (folder / "home").iterdir() if p.name.startswith("run-")]
    assert git(folder, "status", "--porcelain") == ""


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def medians_ms(run: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"base": [], "head": []}
    for path in sorted(run.glob("cells/*-mine-*/samples.parquet")):
        samples = pq.read_table(path).to_pandas()
        window = samples[samples.phase == "window"]
        assert window.status.eq(200).all() and window.correct.all()
        found[path.parent.name.rpartition("-")[2]].append(float(np.median(window.done_s - window.intended_s)) * 1e3)
    return found


@pytest.mark.slow
def test_each_side_runs_its_own_architecture_and_workload(tmp_path: Path) -> None:
    folder = made(tmp_path / "mine", BASE, HEAD)
    planned = lab(folder, "plan", "gate", "--base", "HEAD~1")
    assert planned.returncode == 0, planned.stderr
    assert "differently on base and head: mine M" in planned.stdout
    nothing_left(folder)

    done = lab(folder, "run", "gate", "--base", "HEAD~1")
    assert done.returncode in (0, 4), done.stderr  # 4: this machine is too busy to measure
    assert "Traceback" not in done.stderr
    (run,) = (folder / "reports" / "runs").iterdir()
    plan, summary = read(run / "plan.json"), read(run / "summary.json")
    assert [r["commit"] for r in plan["refs"]] == [git(folder, "rev-parse", ref) for ref in ("HEAD~1", "HEAD")]
    assert [c["code_ref"] for c in plan["cells"]] == ["base", "head", "head", "base"]
    services = {c["code_ref"]: [s["name"] for s in c["topology"]["services"]] for c in plan["cells"]}
    assert services == {"base": ["of-whole"], "head": ["of-front", "of-back"]}
    assert {read(path)["status"] for path in run.glob("cells/*/status.json")} == {"done"}
    assert [(g["name"], g["deployments"]) for g in summary["groups"]] == [("mine @base", 2), ("mine @head", 2)]

    measured = medians_ms(run)
    assert all(len(of) == 2 for of in measured.values())
    assert min(measured["head"]) - max(measured["base"]) > 5, measured
    judged = lab(folder, "--json", "gate", "last")
    verdict = json.loads(judged.stdout)
    assert [(j["threshold"]["text"]) for j in verdict["judged"]] == ["p50_ms vs base < +20 %"]
    assert (judged.returncode, verdict["verdict"]) in ((1, "FAIL"), (4, "INCONCLUSIVE")), judged
    assert (run / "gate.md").is_file()
    assert lab(folder, "run", "--resume", "last").returncode in (0, 4)
    nothing_left(folder)


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@pytest.mark.slow
def test_kill_9_leaves_nothing_after_clean_and_resume_goes_on(tmp_path: Path) -> None:
    """The Lab's supervisor removes its Lab by itself; the worktrees are `lab clean`'s."""
    folder = made(tmp_path / "mine", BASE, HEAD)
    argv = [sys.executable, "-m", "lab", "run", "gate", "--base", "HEAD~1"]
    with subprocess.Popen(argv, cwd=folder, env=environment(folder), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        try:
            first = lambda: list((folder / "reports" / "runs").glob("*/cells/*/samples.parquet"))  # noqa: E731
            wait_for(lambda: running.poll() is not None or first(), "the first cell")
            assert running.poll() is None
        finally:
            running.kill()
    assert len(worktrees(folder)) == 2
    told = lab(folder, "clean")
    assert told.returncode == 0 and told.stdout.count("deleted worktree") == 2, told
    wait_for(lambda: not processes(folder), "the supervisor's end")
    nothing_left(folder)

    resumed = lab(folder, "run", "--resume", "last")
    assert resumed.returncode in (0, 4), resumed.stderr
    (run,) = (folder / "reports" / "runs").iterdir()
    assert {read(path)["status"] for path in run.glob("cells/*/status.json")} == {"done"}
    assert min(medians_ms(run)["head"]) - max(medians_ms(run)["base"]) > 5
    nothing_left(folder)


# ---- what can be wrong -------------------------------------------------------------------------------------------------------


def refused(folder: Path, code: int, *words: str, options: tuple[str, ...] = ()) -> None:
    """A sentence and a next step; no run directory, and nothing is left."""
    done = lab(folder, *options, "run", "gate", "--base", "HEAD~1")
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and "next:" in done.stderr
    for each in words:
        assert each in done.stderr, done.stderr
    assert not (folder / "reports").exists()
    if (folder / "home").exists():
        nothing_left(folder)


@pytest.mark.slow
def test_a_base_without_the_architecture(tmp_path: Path) -> None:
    base = {name: text for name, text in BASE.items() if name.startswith("workloads")}
    folder = made(tmp_path / "mine", base, {**HEAD, "architectures/mine.py": ARCHITECTURE})
    refused(folder, 2, "the code of base cannot plan gate", "found 'mine', wanted one of")


@pytest.mark.slow
def test_sides_that_answer_different_questions(tmp_path: Path) -> None:
    folder = made(tmp_path / "mine", BASE, {**HEAD, "scenarios/gate.yaml": SCENARIO.replace("[20]", "[30]")})
    refused(folder, 2, "base, head do not answer the same question", "load of mine M: base ladder 20/s", "head ladder 30/s")


@pytest.mark.slow
def test_a_scenario_that_base_has_not_is_given_to_both(tmp_path: Path) -> None:
    folder = made(tmp_path / "mine", BASE, HEAD)
    git(folder, "checkout", "-q", "HEAD~1")
    git(folder, "rm", "-q", "scenarios/gate.yaml")
    commit(folder, {})
    commit(folder, {**HEAD, "scenarios/gate.yaml": SCENARIO})
    planned = lab(folder, "plan", "gate", "--base", "HEAD~1")
    assert planned.returncode == 0, planned.stderr
    nothing_left(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("fails_on", "build"), [("head", "test -f architectures/mine.py && ! test -f new"), ("base", "test -f new")])
def test_a_build_that_fails_on_one_side(tmp_path: Path, fails_on: str, build: str) -> None:
    scenario = SCENARIO + f"environment: {{build: 'echo the flux capacitor is missing; {build}'}}\n"
    folder = made(tmp_path / "mine", BASE, {**HEAD, "new": ""}, scenario)
    refused(folder, 2, f"the build fails on {fails_on} only", "the flux capacitor is missing")


@pytest.mark.slow
def test_an_environment_of_its_own_runs_each_side(tmp_path: Path) -> None:
    """Here a script in the place of a venv's Python, which leaves a trace of what it was asked to run."""
    script = (
        f'printf "#!/bin/sh\\necho \\"\\$0 \\$*\\" >> {tmp_path}/asked\\nexec {sys.executable} \\"\\$@\\"\\n" > python3 && chmod +x python3'
    )
    scenario = SCENARIO + f"environment:\n  build: {json.dumps(script)}\n  python: python3\n"
    folder = made(tmp_path / "mine", BASE, HEAD, scenario)
    done = lab(folder, "run", "gate", "--base", "HEAD~1")
    assert done.returncode in (0, 4), done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    hosts = [line for line in asked if "-m lab.runtime.host" in line]
    assert [sum(f"/refs/{side}/python3 " in line for line in hosts) for side in ("base", "head")] == [2, 4], "1 and 2 services, twice each"
    assert sum("lab --json plan" in line for line in asked) == 2
    nothing_left(folder)


@pytest.mark.slow
def test_a_provider_that_runs_one_tree_only(tmp_path: Path) -> None:
    refused(made(tmp_path / "mine", BASE, HEAD), 2, "this provider runs the code of one tree only", options=("--provider", "fake"))
