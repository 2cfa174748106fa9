"""The workflow that users copy: YAML of the right shape, its commands and options exist, and nothing in it turns red into green."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from lab.cli import lab

FILE = Path(__file__).parents[2] / ".github" / "workflows" / "perf-gate.yml"


def steps() -> list[dict[str, Any]]:
    return list(yaml.safe_load(FILE.read_text())["jobs"]["gate"]["steps"])


def calls() -> list[list[str]]:
    """The words after `lab` of every command."""
    lines = [line.strip() for step in steps() for line in str(step.get("run", "")).splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("lab ")]


def test_it_runs_on_pull_requests_and_may_only_read() -> None:
    found = yaml.safe_load(FILE.read_text())
    assert found[True] == "pull_request"  # YAML 1.1 reads the key `on` as a boolean
    assert found["permissions"] == {"contents": "read"}
    assert all(("uses" in step) != ("run" in step) for step in steps())
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in steps() if "uses" in step)


def test_the_whole_history_is_checked_out_so_that_base_is_there() -> None:
    assert steps()[0]["with"]["fetch-depth"] == 0


def test_it_measures_then_judges_then_tells() -> None:
    assert [next(w for w in words if not w.startswith("-")) for words in calls()] == ["run", "gate"]
    told = next(s for s in steps() if "GITHUB_STEP_SUMMARY" in str(s.get("run")))
    assert told["if"] == "always()" and "gate.md" in told["run"]


def test_no_step_hides_a_failure_or_tries_again() -> None:
    text = FILE.read_text()
    assert "continue-on-error" not in text and "|| true" not in text and "retry" not in text
    assert "${{" not in " ".join(str(s.get("run", "")) for s in steps())  # a branch's name is data, never shell


@pytest.mark.parametrize("words", calls(), ids=lambda words: " ".join(words))
def test_every_command_and_option_exists(words: list[str]) -> None:
    name = next(w for w in words if not w.startswith("-"))
    command = lab.commands[name]
    known = {o for p in (*lab.params, *command.params) if isinstance(p, click.Option) for o in p.opts}
    wanted = {w for w in words if w.startswith("--")}
    if "--base" in wanted and find_spec("lab.refs") is None:
        pytest.skip("`lab run --base` is not in this branch")
    assert wanted <= known
