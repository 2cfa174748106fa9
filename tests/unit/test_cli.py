"""The command line: help that is quick, errors in one place with the class's exit code, nothing started by plan."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.cli import lab


def call(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lab", *words], capture_output=True, text=True, cwd=cwd, timeout=60)


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(lab, ["--help"]).output
    for name in ["doctor", "up", "status", "logs", "down", "list", "plan", "run", "analyze", "compare", "report", "runs", "clean", "train"]:
        assert f"\n  {name} " in shown
    assert "\n  gate " in shown and "\n  history " in shown


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, lab.cli; print(','.join(m for m in ('numpy','pandas','rich','yaml','pydantic','psutil','locust') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_wrong_scenario_exits_2_with_every_problem(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("kind: serve\nworkload: nope\ndeployments: 0\n")
    done = call("plan", "bad.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "bad.yaml:2: workload: found 'nope'" in done.stderr
    assert "bad.yaml:3: deployments" in done.stderr
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr


def test_plan_starts_nothing_and_speaks_json(tmp_path: Path) -> None:
    done = call("--home", str(tmp_path / "home"), "--json", "plan", "compare", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["scenario"] == "compare"
    assert len([c for c in found["cells"] if c["role"] == "subject"]) == 9
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scenario", ["quick", "compare", "compare-full", "map"])
def test_plan_prints_budget_isolation_minutes_and_power(scenario: str) -> None:
    shown = CliRunner().invoke(lab, ["plan", scenario], catch_exceptions=False).output
    for word in ("budget", "isolation", "minutes", "can tell"):
        assert f"\n{word}" in shown


def test_unknown_commands_and_options_exit_2(tmp_path: Path) -> None:
    assert call("frobnicate", cwd=tmp_path).returncode == 2
    assert call("run", cwd=tmp_path).returncode == 2


def test_names_are_listed_with_what_they_are() -> None:
    shown = CliRunner().invoke(lab, ["--json", "list", "architectures"], catch_exceptions=False).output
    assert "three_tier" in json.loads(shown)["architectures"]


def test_a_listed_file_is_named_as_it_is_typed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "mine.yaml").write_text("about: One of mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    shown = CliRunner().invoke(lab, ["list", "scenarios"], catch_exceptions=False).output
    assert re.search(r"^scenarios +mine +One of mine", shown, re.MULTILINE)
    assert " scenarios/mine.yaml" in shown and str(tmp_path) not in shown
    assert "lab plan NAME" in shown


def test_help_lists_every_command_once_below_a_theme() -> None:
    shown = CliRunner().invoke(lab, ["--help"]).output
    assert sorted(c.name or "" for commands in lab.themes.values() for c in commands) == sorted(lab.commands)
    places = [shown.index(f"\n{theme}:") for theme in lab.themes]
    assert places == sorted(places)
    assert [len([line for line in shown.splitlines() if line.startswith(f"  {name} ")]) for name in lab.commands] == [1] * len(lab.commands)


@pytest.mark.parametrize("words", [[], *([name] for name in lab.commands)], ids=lambda words: " ".join(words) or "lab")
def test_help_of_each_command_fits_and_ends_its_sentences(words: list[str]) -> None:
    shown = CliRunner().invoke(lab, [*words, "--help"], terminal_width=110).output
    assert max(map(len, shown.splitlines())) <= 110
    command = lab.commands[words[0]] if words else lab
    assert (command.help or "").strip().endswith((".", "`"))
    for parameter in command.params:
        help_text = getattr(parameter, "help", None)
        assert help_text is None or help_text.rstrip().endswith((".", ")", "]")), (words, parameter.name)
