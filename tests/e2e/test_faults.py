"""Timed faults on the embedded cloud: a stall is seen in full, and a process that stands still goes on or is gone however the run ends."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from lab.model import Event
from tests.e2e.test_run import Project

pytestmark = pytest.mark.slow
SCENARIO = """
kind: serve
about: one pause
workload: noop
architectures: [three_tier]
load: {arrival: constant, rates_per_s: [RATE], window_s: WINDOW, warmup_max_s: 0, drain_s: 3}
faults: [{fault: pause, service: app, at_s: 0.5, for_s: FOR}]
deployments: 1
floor: false
"""


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


def scenario(project: Project, rate_per_s: int, window_s: int, for_s: float) -> str:
    text = SCENARIO.replace("RATE", str(rate_per_s)).replace("WINDOW", str(window_s)).replace("FOR", str(for_s))
    (project.folder / "pause.yaml").write_text(text)
    return "pause.yaml"


def stopped(project: Project) -> psutil.Process:
    """Waits for the application to stand still."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in project.left():
            try:
                if process.status() == psutil.STATUS_STOPPED:
                    return process
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    raise AssertionError("nothing was paused")


def test_a_stall_is_seen_in_full(project: Project) -> None:
    """One second of ten, at a constant rate: no request may be quicker than it could be, so that the percentiles have a least value."""
    code, out, err = project.call("run", scenario(project, 100, 10, 1.0))
    assert code in (0, 4), err  # 4: this machine is too busy to measure
    (verdict,) = json.loads(out)["summary"]["cells"]
    assert not [r for r in verdict["reasons"] if "pause" in r], verdict
    (cell,) = (project.run.root / "cells").iterdir()
    samples = pq.read_table(cell / "samples.parquet").to_pandas()
    latency_ms = (samples.done_s - samples.intended_s)[samples.phase == "window"].to_numpy() * 1e3
    assert len(latency_ms) == 1000
    p95, p99 = np.percentile(latency_ms, [95, 99])
    assert p95 > 500 * 0.95 and p99 > 900 * 0.95

    folder = project.run.cell(cell.name)
    status = folder.status()
    assert status is not None and status.origin_s is not None
    begin, end = (e for e in folder.lines(folder.events, Event) if e.kind == "fault")
    planned_s = status.origin_s + status.windows[0][1] + 0.5
    assert begin.at_s >= planned_s and begin.clock == "monotonic"
    assert end.at_s - begin.at_s >= 1.0


def test_kill_9_of_the_cli_leaves_nothing_that_stands_still(project: Project) -> None:
    """On a Lab that stays: the provider itself lets go on what it has stopped."""
    assert project.call("up")[0] == 0
    process = project.start("run", scenario(project, 5, 12, 8.0))
    paused = stopped(project)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while paused.status() == psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline, "it still stands still"
        time.sleep(0.05)
    assert paused.is_running()


def test_ctrl_c_ends_a_long_pause(project: Project) -> None:
    process = project.start("run", scenario(project, 5, 400, 300.0))
    stopped(project)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=90)
    assert process.returncode == 130
    assert project.left() == []
