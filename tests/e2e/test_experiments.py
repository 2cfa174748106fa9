"""The experiments that must end INVALID do, each with its sentence, and none of them shows a headline number anywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import experiment_invalid
from benchmarks.experiment_invalid import Experiment
from lab.analysis.results import Summary
from tests.answering import Answering

pytestmark = pytest.mark.slow


def run(folder: Path, *words: str) -> dict[str, Any]:
    """What `lab run` printed as JSON; with every cell INVALID it exits 4."""
    done = call(folder, "--json", *words)
    assert done.returncode == 4, done.stderr
    return dict(json.loads(done.stdout))


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    own = {"LAB_HOME": str(folder / "home"), "LAB_LOCK": str(folder / "lock"), "LAB_RUNS": str(folder / "runs"), "COLUMNS": "200"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LAB_")} | own
    return subprocess.run([sys.executable, "-m", "lab", *words], cwd=folder, env=environment, text=True, capture_output=True, timeout=180)


def shows_no_figure(folder: Path, found: dict[str, Any]) -> None:
    """Neither JSON, nor the terminal, nor Markdown, nor the page."""
    (group,) = found["summary"]["groups"]
    assert group["valid_deployments"] == 0 and group["steps"] == [] and group["timeline"] == []
    figures = list(stats([group, found["comparison"]["costs"]["at"], found["comparison"]["effects"], found["comparison"]["wins"]]))
    assert len(figures) > 6 and all(figure["value"] is None and figure["why_missing"] for figure in figures)
    assert found["comparison"]["rankings"] == []
    page = Path(found["report"])
    text = page.with_name("report.md").read_text()
    assert "- INVALID " in text and "INVALID" in page.read_text()
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {group['name']} "))
    cells = re.findall(r'<td class="n"[^>]*data-source="[^"]*(?:/groups/0|/costs/at)[^"]*"[^>]*>(.*?)</td>', page.read_text())
    shown = call(folder, "compare", page.parent.name).stdout
    (line,) = (line for line in shown.splitlines() if line.startswith(group["name"]))
    assert line.removeprefix(group["name"]).split()[0] == "INVALID"
    figures = [*row.split("|")[2:], *cells, line]
    assert len(cells) > 10 and not [figure for figure in figures if re.search(r"\d", figure)], figures


def stats(value: Any) -> Iterator[dict[str, Any]]:
    """Every figure below, however deep."""
    if isinstance(value, dict) and "why_missing" in value and "unit" in value:
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from stats(each)


@pytest.mark.parametrize("experiment", experiment_invalid.EXPERIMENTS, ids=lambda e: e.scenario.partition("/")[2])
def test_it_ends_invalid_with_its_sentence(tmp_path: Path, experiment: Experiment) -> None:
    with ExitStack() as around:
        url = around.enter_context(Answering()).url if experiment.wrong else ""
        found = run(tmp_path, *experiment_invalid.words(experiment, url))
    right, line = experiment_invalid.judge(experiment, msgspec.convert(found["summary"], Summary))
    assert right, line
    shows_no_figure(tmp_path, found)
