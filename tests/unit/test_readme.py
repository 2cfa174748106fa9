"""The README's commands exist: make targets, lab commands with their options, scenarios with the minutes it promises."""

import re
import shlex
import subprocess
import textwrap
from dataclasses import replace
from pathlib import Path

import click
import pytest

from lab import plan, registry, scenario
from lab.cli import lab
from lab.contracts import Capabilities
from lab.model import CodeRef, Response
from lab.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = [line.strip().partition("#")[0].strip() for line in README.splitlines() if line.startswith("    ")]
INLINE = re.findall(r"`((?:lab|make) [^`]+)`", README)
COMMANDS = [c for c in BLOCKS + INLINE if c.startswith(("lab ", "make "))]


def test_the_two_commands_come_first() -> None:
    assert [c.split()[1] for c in BLOCKS if c.startswith("make")][:2] == ["compare", "test"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_make_targets_exist(command: str) -> None:
    done = subprocess.run(["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("lab ")])
def test_lab_commands_parse(command: str) -> None:
    """Parsed to the end, command and options; nothing is run."""
    context = lab.make_context("lab", shlex.split(command)[1:])
    name, found, rest = lab.resolve_command(context, [*context._protected_args, *context.args])
    assert found is not None, name
    found.make_context(name, rest, parent=context)


@pytest.mark.parametrize(("name", "minutes"), re.findall(r"^\| `([\w-]+)` \|[^|]*\| (?:under )?(\w+) minutes? \|", README, re.MULTILINE))
def test_scenarios_keep_the_promised_minutes(name: str, minutes: str) -> None:
    limit_s = 60 * (1 if minutes == "a" else int(minutes))
    found = plan.compile(
        scenario.load(name), Settings(), Capabilities(isolation="pinned", enforcement="affinity", scaler="any", faults=("kill", "pause"))
    )
    assert found.expected_s <= limit_s


def test_every_experiment_has_a_command_that_exists() -> None:
    """That the commands parse, and that the make targets are there, is tested above, as of every command."""
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \| (\d+|hours) \| [^|]+ \|$", README, re.MULTILINE)
    commands = [command for command, _ in rows]
    assert set(commands) <= set(COMMANDS)
    targets = re.findall(r"^(experiment-\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {f"make {target}" for target in targets} == {command for command in commands if command.startswith("make")}
    known = {f"experiments/{path.stem}" for path in (ROOT / "scenarios/experiments").glob("*.yaml")}
    runs = {command.split()[-1]: minutes for command, minutes in rows if command.startswith("lab")}
    assert set(runs) == known | {"stall"}
    can = Capabilities(isolation="pinned", enforcement="affinity", scales_to_zero=True, faults=("kill", "pause"), system_cpus=(0,))
    for name, minutes in runs.items():
        outside = replace(can, deploys=bool(scenario.load(name).body.architectures))  # type: ignore[union-attr]
        assert plan.compile(scenario.load(name), Settings(), outside).expected_s <= 60 * int(minutes), name


def test_every_serve_scenario_is_in_the_table() -> None:
    serve = [n for n in registry.names("scenarios") if isinstance(scenario.load(n).body, scenario.Serve)]
    assert all(f"| `{n}` |" in README for n in serve)


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_command_has_help_that_teaches() -> None:
    for name, command in lab.commands.items():
        assert isinstance(command, click.Command)
        assert len((command.help or "").split()) >= 5, name


def test_the_example_of_a_gate_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^    # ((?:scenarios|workloads)/\S+)\n((?:(?!    # workloads/)(?:    .*\n|\n))+)", README, re.MULTILINE)
    assert [name for name, _ in blocks] == ["scenarios/gate.yaml", "workloads/shop.py"]
    for name, text in blocks:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(textwrap.dedent(text))
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    loaded = scenario.load("gate")
    sides = (CodeRef(name="base", commit="a"), CodeRef(name="head", commit="b"))
    can = Capabilities(isolation="pinned", enforcement="affinity", deploys=False)
    found = plan.compile(loaded, Settings(provider="checkout"), can, refs=sides)
    assert found.gate is not None and (found.gate.least, found.gate.most) == (10, 20)
    workload = registry.workload("shop")
    request = workload.payload(1, 7, "price")
    assert workload.check(request, Response(status=200, body=b"7")) and not workload.check(request, Response(status=200, body=b"8"))
