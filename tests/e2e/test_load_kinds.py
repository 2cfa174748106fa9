"""Closed loops, searches and replays against a real service; whole runs of them on the fake provider and on the embedded cloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.analysis import search
from lab.load import record
from lab.load.drive import drive
from lab.load.job import DriveJob, DriverRecord, Progress
from lab.model import Load, Search, Trace
from tests.answering import QUEUE_S, Answering
from tests.e2e.test_load import own, project

__all__ = ["project"]
PLAIN: dict[str, Any] = {"warmup_max_s": 0.0, "warmup_rate_per_s": 0.0, "drain_s": 1.0, "timeout_s": 3.0}
CLOSED: dict[str, Any] = {**PLAIN, "rates_per_s": (0.0,), "window_s": 20.0}


def run(folder: Path, operations: dict[str, float], load: Load, seen: list[Progress] | None = None) -> tuple[DriverRecord, pd.DataFrame]:
    with Answering(slow_s=0.3) as service:
        told = DriveJob(url=service.url, workload=own(folder, operations), load=load, seed=5, stream=str(folder / "samples.arrows"))
        driven = drive(told, (seen if seen is not None else []).append, log=folder / "driver.log")
    return driven, record.read(folder / "samples.arrows").table.to_pandas()


def most_at_once(found: pd.DataFrame) -> int:
    moments = [(at, 1) for at in found.sent_s] + [(at, -1) for at in found.done_s]
    return int(np.cumsum([change for _, change in sorted(moments)]).max())


def test_a_single_stream_has_one_request_in_flight(project: Path) -> None:
    told, found = run(project, {"right": 1.0}, Load(kind="single_stream", requests=120, max_in_flight=1, **CLOSED))
    assert len(found) == told.sent == 120 and found.ok.all() and told.max_in_flight == 1
    ordered = found.sort_values("sequence")
    assert (ordered.sent_s.to_numpy()[1:] >= ordered.done_s.to_numpy()[:-1]).all()  # the next only on the answer
    assert (found.sent_s - found.intended_s).max() < 1e-3  # nothing is due before it is sent
    ((step, start_s, end_s),) = told.steps()
    assert step == 0 and start_s <= found.sent_s.min() and found.done_s.max() <= end_s < start_s + 20


def test_offline_keeps_so_many_on_the_wire(project: Path) -> None:
    seen: list[Progress] = []
    told, found = run(project, {"slow": 1.0}, Load(kind="offline", requests=20, max_in_flight=6, **CLOSED), seen)
    assert len(found) == 20 and found.ok.all()
    assert most_at_once(found) == told.max_in_flight == 6
    assert sorted(found.sequence) == list(range(20))
    assert told.windows[0].end_s - told.windows[0].start_s >= 4 * 0.3  # 20 by 6 in turn
    assert {(p.phase, p.total) for p in seen if p.phase == "window"} == {("window", 20)}


def test_a_closed_loop_sends_nothing_more_after_its_longest_window(project: Path) -> None:
    told, found = run(project, {"slow": 1.0}, Load(kind="offline", requests=500, max_in_flight=2, **{**CLOSED, "window_s": 1.0}))
    assert 2 <= len(found) <= 8 and found.ok.all() and not told.censored
    assert found.sent_s.max() - told.windows[0].start_s <= 1.0 < told.windows[0].end_s - told.windows[0].start_s


def test_a_failed_answer_does_not_stop_a_closed_loop(project: Path) -> None:
    load = Load(kind="single_stream", requests=60, max_in_flight=1, **{**CLOSED, "timeout_s": 0.2})
    _, found = run(project, {"right": 0.5, "fails": 0.3, "cut": 0.15, "hang": 0.05}, load)
    assert len(found) == 60 and set(found.operation[found.ok]) == {"right"}


def test_a_replay_sends_at_the_recorded_gaps(project: Path) -> None:
    offsets = (0.0, 0.05, 0.05, 0.4, 0.41, 0.9)
    load = Load(
        kind="replay", rates_per_s=(5.556,), window_s=1.08, arrival="constant", trace=Trace(file="t", sha256="", offsets_s=offsets), **PLAIN
    )
    told, found = run(project, {"right": 1.0}, load)
    assert (found.sort_values("sequence").intended_s - told.windows[0].start_s).tolist() == pytest.approx(offsets, abs=1e-6)


@pytest.mark.slow
def test_a_search_brackets_what_a_queue_can_do(project: Path) -> None:
    """One server that takes 10 ms or more each: it can never hold more than 100/s."""
    asked = Search(lowest_per_s=25.0, highest_per_s=1000.0, precision=1.3, percentile=95.0, limit_ms=150.0, error_rate_limit=0.01)
    load = Load(kind="search", rates_per_s=(25.0,), window_s=4.0, search=asked, **{**PLAIN, "timeout_s": 1.0})
    seen: list[Progress] = []
    told, found = run(project, {"queue": 1.0}, load, seen)
    rates = [p.rate_per_s for p in told.probes]
    assert rates[:2] == [25, 50] and len(rates) == len(told.windows) and [p.step for p in told.probes] == list(range(len(rates)))
    assert all(p.verdict != "passed" for p in told.probes if p.rate_per_s > 1.05 / QUEUE_S)
    ended = search.outcome(asked, told.probes)
    assert search.next_rate(asked, told.probes) is None
    assert ended.rate_per_s is None or ended.rate_per_s <= 1.05 / QUEUE_S
    windows = found[found.phase == "window"]
    for probe, (step, start_s, end_s) in zip(told.probes, told.steps(), strict=True):
        mine = windows[windows.step == step]
        assert mine.intended_s.between(start_s, end_s).all()
        assert abs(len(mine) - 4 * probe.rate_per_s) < 6 * (4 * probe.rate_per_s) ** 0.5
        later = windows[windows.step > step]
        assert later.empty or later.intended_s.min() >= mine.done_s.max()  # the queue of one is not that of the next
    over = [p for p in told.probes if p.verdict != "passed"]
    assert over and all(p.recovered for p in over)
    assert (found.phase == "drain").sum() >= 3 * len(over)
    assert not found.bytes_sent[found.phase == "window"].empty and found.sequence.is_unique
    assert {p.rate_per_s for p in seen if p.phase == "window"} <= set(rates)


# ---- whole runs ------------------------------------------------------------------------------------------------------

SHORT = "kind: serve\nworkload: noop\nmodel_size: S\narchitectures: [three_tier]\ndeployments: 1\nfloor: false\n"
LOADS = {
    "single_stream": "requests: 100",
    "offline": "requests: 300, max_in_flight: 8",
    "server": "rate_per_s: 40, window_s: 2",
    "burst": "base_per_s: 20, peak_per_s: 80, burst_s: 0.5, every_s: 1, window_s: 2",
    "search": "lowest_per_s: 40, highest_per_s: 80, window_s: 3, precision: 2",
}


def ran(folder: Path, provider: str, kind: str) -> dict[str, Any]:
    """What `lab run` says, whether or not this machine was quiet enough for a VALID cell."""
    (folder / "mine.yaml").write_text(f"{SHORT}load: {{kind: {kind}, {LOADS[kind]}}}\n")
    environment = {**os.environ, "LAB_HOME": str(folder / "home"), "LAB_LOCK": str(folder / "lock"), "LAB_RUNS": "runs"}
    argv = [sys.executable, "-m", "lab", "--json", "--provider", provider, "run", "mine.yaml"]
    done = subprocess.run(argv, cwd=folder, env=environment, text=True, capture_output=True, timeout=180)
    assert done.returncode in (0, 4), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["summary"]
    assert found["load_kind"] == kind
    (cell,) = found["cells"]
    assert not [r for r in cell["reasons"] if "lag" in r or "schedule" in r or "failed" in r or "wrong" in r] or kind not in (
        "single_stream",
        "offline",
    )
    return found


def closed_figures(found: dict[str, Any]) -> None:
    (group,) = found["groups"]
    for step in group["steps"]:
        assert all(s["value"] is None for s in step["latency"].values())
        assert step["service"]["p50"]["value"] > 0 and step["achieved_per_s"]["value"] > 0
    assert group["held_rate_per_s"]["value"] is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOADS)
def test_every_kind_runs_on_the_fake_provider(tmp_path: Path, kind: str) -> None:
    found = ran(tmp_path, "fake", kind)
    if kind in ("single_stream", "offline"):
        closed_figures(found)
    status = json.loads(next(tmp_path.glob("runs/*/cells/*/status.json")).read_text())
    assert status["status"] == "done" and len(status["windows"]) >= 1
    if kind == "search":
        assert status["probes"][0]["rate_per_s"] == 40 and len(status["probes"]) == len(status["windows"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single_stream", "offline"])
def test_closed_loops_run_on_the_embedded_cloud(tmp_path: Path, kind: str) -> None:
    closed_figures(ran(tmp_path, "embedded", kind))
