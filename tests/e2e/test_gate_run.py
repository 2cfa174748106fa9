"""`lab run --base` in somebody else's repository: two commits interleaved, early stop, kill -9, resume, and what can be wrong."""

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

from benchmarks import experiment_aa
from tests import repositories
from tests.repositories import commit, environment, git, lab, processes, worktrees

JUDGED = (str(Path(__file__).parents[1] / "judged_lab.py"),)
DEADLINE_S = 120.0
FAST = repositories.SCENARIO.replace("deployments: 1", "deployments: 1\nfloor: false")


def nothing_left(folder: Path) -> None:
    assert processes(folder) == []
    assert worktrees(folder) == []
    assert not [p.name for p in (folder / "home").iterdir() if p.name.startswith("run-")]
    assert git(folder, "status", "--porcelain") == ""


def medians_ms(run: Path) -> dict[str, list[float]]:
    """Side -> p50 of each of its cells, from the raw samples."""
    found: dict[str, list[float]] = {"base": [], "head": []}
    for path in sorted(run.glob("cells/*-service-*/samples.parquet")):
        samples = pq.read_table(path).to_pandas()
        window = samples[samples.phase == "window"]
        found[path.parent.name.rpartition("-")[2]].append(float(np.median(window.done_s - window.intended_s)) * 1e3)
    return found


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.slow
def test_a_planted_slowdown_is_measured_and_the_run_stops_when_the_gate_is_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = repositories.made(tmp_path / "mine", base_ms=1.0, head_ms=6.0, build="cp busy.py built.py")
    monkeypatch.setenv("DECIDED_AT", "2")
    done = lab(folder, "run", "gate", "--base", "HEAD~1", program=JUDGED)
    assert done.returncode in (0, 4), done.stderr  # 4: this machine is too busy to measure
    assert "Traceback" not in done.stderr
    assert "look at 2 deployments per arm: decided, it stops" in done.stderr
    (run,) = (folder / "reports" / "runs").iterdir()

    plan, summary, comparison = (read(run / f"{name}.json") for name in ("plan", "summary", "comparison"))
    assert [r["commit"] for r in plan["refs"]] == [git(folder, "rev-parse", ref) for ref in ("HEAD~1", "HEAD")]
    subjects = [c for c in plan["cells"] if c["role"] == "subject"]
    assert [c["code_ref"] for c in subjects] == ["base", "head", "head", "base", "base", "head"]
    states = [read(run / "cells" / c["id"] / "status.json")["status"] for c in subjects]
    assert states == ["done"] * 4 + ["skipped"] * 2

    assert [(g["name"], g["code_ref"], g["deployments"]) for g in summary["groups"]] == [
        ("service @base", "base", 2),
        ("service @head", "head", 2),
    ]
    measured = medians_ms(run)
    assert all(len(of) == 2 for of in measured.values())
    assert min(measured["head"]) - max(measured["base"]) > 2, measured
    if all(c["valid"] for c in summary["cells"]):
        (effect,) = comparison["effects"]
        assert (effect["a"], effect["b"]) == ("service @base", "service @head")
        assert effect["ratio"]["value"] > 1.5
        assert summary["groups"][1]["cpu_ms_architecture"]["value"] > summary["groups"][0]["cpu_ms_architecture"]["value"] + 2
        assert "of head is +" in comparison["answer"]
        assert comparison["answer"] in " ".join(lab(folder, "compare", "last").stdout.split())
    assert comparison["costs"] is None and comparison["rankings"] == []
    assert "service &#64;head" in (run / "report.md").read_text()
    judged = lab(folder, "gate", "last")
    assert judged.returncode != 0 and "PASS" not in judged.stdout and "Traceback" not in judged.stderr, judged
    assert "5 of 5" in lab(folder, "runs").stdout
    assert not (folder / "built.py").exists(), "builds run in worktrees"
    assert lab(folder, "run", "--resume", "last", program=JUDGED).returncode in (0, 4)
    assert "look at" not in lab(folder, "run", "--resume", "last", program=JUDGED).stderr
    nothing_left(folder)


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@pytest.mark.slow
def test_kill_9_of_the_run_leaves_nothing_after_clean_and_resume_goes_on(tmp_path: Path) -> None:
    folder = repositories.made(tmp_path / "mine", scenario=FAST.replace("most: 3", "most: 2"))
    argv = [sys.executable, *JUDGED, "run", "gate", "--base", "HEAD~1"]
    with subprocess.Popen(argv, cwd=folder, env=environment(folder), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        try:
            cells = folder / "reports" / "runs"
            wait_for(lambda: running.poll() is not None or list(cells.glob("*/cells/*/samples.parquet")), "the first cell")
            wait_for(lambda: running.poll() is not None or processes(folder / "home"), "the second cell's service")
            assert running.poll() is None
        finally:
            running.kill()
    assert len(worktrees(folder)) == 2
    told = lab(folder, "clean")
    assert told.returncode == 0 and told.stdout.count("deleted worktree") == 2, told
    nothing_left(folder)

    resumed = lab(folder, "run", "--resume", "last", program=JUDGED)
    assert resumed.returncode in (0, 4), resumed.stderr
    (run,) = (folder / "reports" / "runs").iterdir()
    assert {read(path)["status"] for path in run.glob("cells/*/status.json")} == {"done"}
    nothing_left(folder)


@pytest.mark.slow
def test_without_base_the_working_tree_is_measured_as_it_is(tmp_path: Path) -> None:
    folder = repositories.made(tmp_path / "mine", scenario=FAST)
    (folder / "busy.py").write_text("BUSY_MS = 12\n")
    done = lab(folder, "run", "gate", program=JUDGED)
    assert done.returncode in (0, 4), done.stderr
    (run,) = (folder / "reports" / "runs").iterdir()
    (group,) = read(run / "summary.json")["groups"]
    assert (group["name"], group["code_ref"]) == ("service", "")
    samples = pq.read_table(next(run.glob("cells/*-service-*/samples.parquet"))).to_pandas()
    assert np.median(samples.done_s - samples.sent_s) * 1e3 > 11
    assert processes(folder) == []


@pytest.mark.slow
def test_a_trial_of_the_experiment_is_a_real_gate_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_LOCK", str(tmp_path / "lock"))
    bench = experiment_aa.Bench(folder=tmp_path, deployments=2)
    bench.stand()
    trial = bench.measure("same")
    assert bench.trials() == [trial] and trial.verdict == "INCONCLUSIVE", "two deployments tell nothing"
    if not trial.invalid:  # else this machine is too busy to measure
        assert set(trial.metrics) == set(experiment_aa.METRICS)
        assert all(len(m.changes) == 2 for m in trial.metrics.values())
    assert processes(bench.repository) == [] and worktrees(bench.repository) == []


# ---- what can be wrong -------------------------------------------------------------------------------------------------------


def refused(folder: Path, code: int, *words: str, base: str = "HEAD~1") -> str:
    """What `lab run gate --base` says: a sentence, and nothing that looks like a result; nothing is left."""
    done = lab(folder, "run", "gate", "--base", base, program=JUDGED)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and "next:" in done.stderr
    for each in words:
        assert each in done.stderr, done.stderr
    assert "report  " not in done.stdout
    return done.stderr


def test_a_ref_that_does_not_exist(tmp_path: Path) -> None:
    refused(repositories.made(tmp_path), 2, "--base: found 'nope', which names no commit", base="nope")


def test_a_folder_that_is_no_repository(tmp_path: Path) -> None:
    import shutil

    folder = repositories.made(tmp_path)
    shutil.rmtree(folder / ".git")
    refused(folder, 2, "lies in no git repository")


def test_a_dirty_tree(tmp_path: Path) -> None:
    folder = repositories.made(tmp_path)
    (folder / "busy.py").write_text("BUSY_MS = 12\n")
    refused(folder, 2, "busy.py", "--allow-dirty")


def test_a_scenario_without_thresholds(tmp_path: Path) -> None:
    folder = repositories.made(tmp_path, scenario=repositories.SCENARIO.partition("gate:")[0])
    refused(folder, 2, "has no `gate:`", "thresholds")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "words"),
    [
        ("echo the flux capacitor is missing; ! grep -q 4.0 busy.py", ("the build fails on head only", "the flux capacitor is missing")),
        ("! grep -q 1.0 busy.py", ("the build fails on base only",)),
        ("exit 7", ("the build fails on base and head,", "exit code 7")),
    ],
)
def test_a_build_that_fails(tmp_path: Path, build: str, words: tuple[str, ...]) -> None:
    folder = repositories.made(tmp_path, build=build)
    refused(folder, 2, *words)
    nothing_left(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("raise SystemExit('the flux capacitor is missing')\n", ("service @head ended with exit code 1", "the flux capacitor is missing")),
        ("import threading\nthreading.Event().wait()\n", ("service @head (GET /health", "was not ready in time", "service.timeout_s")),
    ],
)
def test_a_service_that_never_gets_ready(tmp_path: Path, broken: str, words: tuple[str, ...]) -> None:
    folder = repositories.made(tmp_path, scenario=FAST.replace("timeout_s: 20", "timeout_s: 3"))
    commit(folder, busy_py=broken)
    refused(folder, 3, *words)
    nothing_left(folder)
