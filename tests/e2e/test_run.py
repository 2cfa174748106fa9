"""Whole runs on the embedded cloud: what ctrl-C, kill -9, a second run and a full disk leave behind, and that the run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab import spawn
from lab.load import record
from lab.rundir import RunDir

SCENARIO = """
kind: serve
about: as short as it gets
workload: noop
architectures: [ARCHITECTURES]
load: {rates_per_s: [20], window_s: 1, warmup_max_s: 3, drain_s: 1, cold_requests: 1}
deployments: 1
floor: false
"""
SCENARIOS = {"short": "three_tier, serverless", "one": "three_tier"}


class Project:
    """An empty folder with two scenarios, a home of its own, and a lock of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.started: list[subprocess.Popen[str]] = []
        for name, architectures in SCENARIOS.items():
            (folder / f"{name}.yaml").write_text(SCENARIO.replace("ARCHITECTURES", architectures))
        self.environment = {**os.environ, "LAB_HOME": str(self.home), "LAB_LOCK": str(folder / "lock"), "LAB_RUNS": "runs"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "lab", "--json", *words]
        pipe = subprocess.PIPE
        self.started.append(subprocess.Popen(argv, cwd=self.folder, env=self.environment, text=True, stdout=pipe, stderr=pipe))
        return self.started[-1]

    def call(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=180)
        return process.returncode, out, err

    @property
    def run(self) -> RunDir:
        (found,) = (self.folder / "runs").iterdir()
        return RunDir(found)

    def left(self) -> list[psutil.Process]:
        return [p for lab in self.home.iterdir() if lab.is_dir() for p in spawn.of_lab(lab)] if self.home.is_dir() else []


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    for process in made.started:  # of a test that failed
        if process.poll() is None:
            process.kill()
            process.communicate()
    made.call("clean", "--all")
    assert made.left() == []


def until(process: subprocess.Popen[str], *words: str) -> None:
    """Reads progress until a phase holds all `words`."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("{") and all(word in json.loads(line)["phase"] for word in words):
            return
    raise AssertionError(f"ended before {words}: {''.join(said)}")


def resumes(project: Project) -> None:
    measured(project.call("run", "--resume", "last"))
    assert project.left() == []


def measured(ended: tuple[int, str, str]) -> dict[str, Any]:
    """What a run printed, with both groups answered right. Whether this machine was quiet enough for VALID cells is not asked."""
    code, out, err = ended
    assert code in (0, 4), err
    found = json.loads(out)
    verdicts = found["summary"]["cells"]
    assert all(c["valid"] or c["reasons"] for c in verdicts)
    assert (code == 0) == any(c["valid"] for c in verdicts)
    assert {c["group"] for c in verdicts} == {"three_tier", "serverless"}
    assert not [r for c in verdicts for r in c["reasons"] if "wrong" in r or "error" in r or "running" in r], verdicts
    return dict(found)


@pytest.mark.slow
def test_a_run_leaves_a_report_and_nothing_else(project: Project) -> None:
    found = measured(project.call("run", "short.yaml"))
    assert (project.folder / found["report"]).is_file()
    assert project.left() == [] and not list(project.home.glob("run-*"))
    made = [project.run.root / name for name in ("summary.json", "comparison.json", "report.md")]
    first = [path.read_bytes() for path in made]
    for path in made:
        path.unlink()
    assert project.call("analyze", "last")[0] in (0, 4)
    assert [path.read_bytes() for path in made] == first


@pytest.mark.slow
def test_ctrl_c_keeps_samples_stops_everything_and_the_run_goes_on(project: Project) -> None:
    process = project.start("run", "short.yaml")
    until(process, "requests/s")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert project.left() == []
    first = project.run.cell(next(p.name for p in (project.run.root / "cells").iterdir()))
    status = first.status()
    assert status is not None and (status.status, status.reason) == ("broken", "interrupted")
    assert len(record.read(first.stream).table) > 0
    resumes(project)


@pytest.mark.slow
def test_kill_9_of_the_cli_leaves_nothing_that_clean_does_not_find_and_the_run_goes_on(project: Project) -> None:
    """Killed three times, each time later; the cell that was done by then stays as it is."""
    command = ("run", "short.yaml")
    for moment in (("1 of 2", "deploying"), ("1 of 2", "warming up"), ("2 of 2", "requests/s")):
        process = project.start(*command)
        until(process, *moment)
        process.kill()
        process.communicate()
        assert project.call("clean")[0] == 0
        assert project.left() == [], moment
        command = ("run", "--resume", "last")
    (done,) = project.run.root.glob("cells/*/samples.parquet")
    samples = done.read_bytes()
    resumes(project)
    assert done.read_bytes() == samples


@pytest.mark.slow
def test_kill_9_of_the_supervisor_is_a_clear_error(project: Project) -> None:
    process = project.start("run", "one.yaml")
    until(process, "requests/s")
    next(p for p in project.left() if "lab.providers.embedded.supervisor" in p.cmdline()).kill()
    _, err = process.communicate(timeout=90)
    assert process.returncode == 3, err
    assert "error:" in err and "Traceback" not in err
    assert project.left() == []


@pytest.mark.slow
def test_kill_9_of_a_service_makes_the_cell_invalid(project: Project) -> None:
    process = project.start("run", "one.yaml")
    until(process, "requests/s")
    next(p for p in project.left() if "lab.runtime.host" in p.cmdline() and any("app" in word for word in p.cmdline())).kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, 3, 4) and "Traceback" not in err, err
    if process.returncode != 3:
        verdicts = {c["group"]: c for c in json.loads(out)["summary"]["cells"]}
        assert not verdicts["three_tier"]["valid"] and verdicts["three_tier"]["reasons"]


@pytest.mark.slow
def test_a_second_run_exits_3_and_names_the_first(project: Project) -> None:
    process = project.start("run", "one.yaml")
    until(process, "deploying")
    code, _, err = project.call("run", "one.yaml")
    assert code == 3
    assert f"lab run one.yaml (pid {process.pid})" in err
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
def test_a_full_disk_under_the_run_directory_is_told(project: Project) -> None:
    runs = project.folder / "runs"
    runs.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(runs)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.strip()}")
    try:
        code, _, err = project.call("run", "one.yaml")
        assert code == 3
        assert "no space left" in err and "Traceback" not in err
        assert project.left() == []
    finally:
        subprocess.run(["umount", str(runs)], check=True)
