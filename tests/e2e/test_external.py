"""A service of the user's own, measured as it runs: one workload file and one scenario in an empty folder, no architecture anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.answering import Answering

WORKLOAD = '''
"""My service, which answers every fourth question wrong."""
from lab.model import Operation, Request, Stage


class Workload:
    name = "mine"
    model_sizes = ("S",)
    stages = (Stage(name="theirs"),)
    operations = (
        Operation(name="ask", kind="write", method="POST", path="/{way}", stages=("theirs",), weight=1.0, headline=True),
    )

    def wrong_rate_limit(self, model_size):
        return 0.45

    def preload(self, seed):
        return ()

    def payload(self, seed, index, operation):
        way = "right" if index % 4 else "wrong"
        return Request(operation=operation, method="POST", path=f"/{way}", body=f"{seed}/{index}".encode())

    def check(self, request, response):
        return response.body == request.body

    def model_name(self, model_size):
        return None

    def model_bytes(self, model_size):
        raise LookupError(model_size)

    def handlers(self, stages, tools):
        raise LookupError(stages)
'''
SCENARIO = """
kind: serve
about: what already runs
workload: mine
model_size: S
load: {rates_per_s: [20, 40], window_s: 2, warmup_max_s: 3}
deployments: 1
"""


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    own = {"LAB_HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LAB_")} | own
    argv = [sys.executable, "-m", "lab", "--json", *words]
    return subprocess.run(argv, cwd=folder, env=environment, text=True, capture_output=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind, name, text in (("workloads", "mine.py", WORKLOAD), ("scenarios", "mine.yaml", SCENARIO)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_text(text)
    (tmp_path / "tmp").mkdir()
    return tmp_path


@pytest.mark.slow
def test_a_service_that_already_runs_is_measured_and_reported(folder: Path) -> None:
    with Answering() as service:
        done = call(folder, "--provider", "external", "--url", service.url, "run", "mine")
        right, wrong = service.seen.count("right"), service.seen.count("wrong")
    assert done.returncode in (0, 4), done.stderr  # 4: this machine is too busy to measure
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    (group,) = found["summary"]["groups"]
    assert group["architecture"] == "external"
    (verdict,) = (c for c in found["summary"]["cells"] if c["group"] == group["name"])
    assert verdict["valid"] or verdict["reasons"]
    assert not [r for r in verdict["reasons"] if "wrong" in r or "error" in r], verdict
    assert (folder / found["report"]).stat().st_size > 20_000

    (path,) = (folder / found["report"]).parent.glob("cells/*external*/samples.parquet")
    samples = pq.read_table(path).to_pandas()
    assert len(samples) == right + wrong > 100, "every request of ours is a sample, and nobody else's is"
    assert samples.correct.sum() == right
    lowest = samples[(samples.phase == "window") & (samples.step == 0)]
    if verdict["valid"]:
        assert group["correct_share"] == pytest.approx(lowest.correct.mean())
    assert 0.6 < lowest.correct.mean() < 0.9


@pytest.mark.slow
def test_a_service_that_is_not_there_is_this_machines_affair(folder: Path) -> None:
    with Answering() as service:
        gone = service.url
    done = call(folder, "--provider", "external", "--url", gone, "run", "mine")
    assert done.returncode == 3
    assert f"{gone} does not answer" in done.stderr and "next:" in done.stderr and "Traceback" not in done.stderr


def test_without_a_url_the_setting_is_named(folder: Path) -> None:
    done = call(folder, "--provider", "external", "run", "mine")
    assert done.returncode == 2
    assert "LAB_URL or --url" in done.stderr
