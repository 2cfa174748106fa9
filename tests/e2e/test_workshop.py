"""A lesson as a learner takes it: start, a run that is refused, predictions, a real run, and what became of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PAGE = "# How fast is nothing?\n"
SCENARIO = """
schema_version: 1
kind: serve
about: A service that does nothing
workload: noop
model_size: S
architectures: [three_tier]
load: {rates_per_s: [20], window_s: 3, warmup_max_s: 0, drain_s: 0.5}
deployments: 1
floor: false
"""
CHECK = '''
"""Nothing is fast."""

from lab.workshops import Question, Truth


def median(evidence):
    (group,) = evidence.summaries["nothing"].groups
    stat = group.steps[0].latency["p50"]
    return Truth(shows=stat.value, low=stat.low, high=stat.high, why=f"{stat.n} requests")


def right(evidence):
    (group,) = evidence.summaries["nothing"].groups
    return Truth(shows="all" if group.correct_share == 1 else "some", why=f"{group.correct_share}")


QUESTIONS = (
    Question(id="median_ms", ask="How fast?", unit="ms", within=1000.0, truth=median),
    Question(id="right", ask="How many answers are right?", choices=("all", "some"), truth=right),
)
'''


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LAB_HOME": str(folder / "home"), "LAB_PROVIDER": "fake", "LAB_LOCK": str(folder / "lock")}
    argv = [sys.executable, "-m", "lab", "--json", *words]
    return subprocess.run(argv, capture_output=True, text=True, cwd=folder, env=env, timeout=120)


@pytest.mark.slow
def test_a_lesson_from_start_to_check(tmp_path: Path) -> None:
    lesson = tmp_path / "scenarios/workshops/nothing"
    lesson.mkdir(parents=True)
    for name, text in (("lesson.md", PAGE), ("check.py", CHECK), ("nothing.yaml", SCENARIO)):
        (lesson / name).write_text(text)
    listed = json.loads(call(tmp_path, "workshop", "list").stdout)
    assert {"nothing", "break-even", "stall"} <= set(listed)
    begun = json.loads(call(tmp_path, "workshop", "start", "nothing").stdout)
    assert "lab run nothing/nothing.yaml" in begun["steps"]

    refused = call(tmp_path, "run", "nothing/nothing.yaml")
    assert refused.returncode == 2
    assert "predict first, then run" in refused.stderr
    assert not (tmp_path / "reports").exists()
    early = call(tmp_path, "workshop", "check", "nothing")
    assert early.returncode == 2
    assert "you have no run" in early.stderr

    (tmp_path / "nothing/predictions.yaml").write_text(yaml.safe_dump({"median_ms": 3, "right": "some"}))
    ran = call(tmp_path, "run", "nothing/nothing.yaml")
    assert ran.returncode in (0, 4), ran.stderr
    done = call(tmp_path, "workshop", "check", "nothing")
    assert done.returncode == ran.returncode, done.stderr
    if done.returncode == 4:  # this machine was too busy for any number to be used
        assert "has no valid deployment" in done.stderr
        return
    median, right = json.loads(done.stdout)["judged"]
    assert (median["right"], median["predicted"]) == (True, 3.0)
    assert median["low"] <= median["shows"] <= median["high"]
    assert (right["right"], right["shows"]) == (False, "all")
    assert call(tmp_path, "workshop", "check", "nothing", "last").stdout == done.stdout
