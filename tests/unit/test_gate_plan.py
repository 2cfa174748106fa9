"""Scenarios with a service and a gate: what they may say, and the interleaved plan that they compile to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lab import plan, registry, scenario, sides
from lab.analysis import cost
from lab.analysis.summarize import group_names
from lab.contracts import Capabilities
from lab.errors import InputError
from lab.model import CodeRef, Plan
from lab.settings import Settings
from tests import repositories
from tests.unit.summaries import group

CHECKOUT = Capabilities(isolation="pinned", enforcement="affinity", deploys=False, measures_usage=True)
REFS = (CodeRef(name="base", commit="a" * 40), CodeRef(name="head", commit="b" * 40, dirty=True))
EMBEDDED = dataclasses.replace(CHECKOUT, deploys=True, scales_to_zero=True)
PLACED = """
kind: serve
workload: noop
architectures: [three_tier]
load: {rates_per_s: [5]}
gate: {thresholds: ["p50_ms vs base < +20 %"], least: 2, most: 2}
"""
TEXT = repositories.SCENARIO.format(build="make", python="python3")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads" / "double.py").write_text(repositories.WORKLOAD)
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    return tmp_path


def compiled(project: Path, text: str = TEXT, refs: tuple[CodeRef, ...] = REFS, placed: sides.Placed | None = None) -> Plan:
    path = project / "gate.yaml"
    path.write_text(text)
    loaded = scenario.load(str(path))
    own = isinstance(loaded.body, scenario.Serve) and loaded.body.service is not None
    can, provider = (CHECKOUT, "checkout") if own else (EMBEDDED, "embedded")
    return plan.compile(loaded, Settings(provider=provider), can, refs=refs, placed=placed)


def problems(project: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        compiled(project, text)
    return caught.value.problems


def test_sides_are_interleaved_so_that_none_is_always_first(project: Path) -> None:
    found = compiled(project, TEXT.replace("most: 3", "most: 5"))
    subjects = [c for c in found.cells if c.role == "subject"]
    assert [c.code_ref for c in subjects] == ["base", "head", "head", "base", "base", "head", "head", "base", "base", "head"]
    assert [c.block for c in subjects] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert all(a.seed == b.seed for a, b in zip(subjects[::2], subjects[1::2], strict=True)), "both sides get the same requests"
    assert len({c.id for c in found.cells}) == len(found.cells)
    assert [c.role for c in found.cells if c.role != "subject"] == ["floor_driver"], "floors once"


def test_the_plan_says_what_is_measured_and_when_it_may_stop(project: Path) -> None:
    found = compiled(project, TEXT.replace("least: 2, most: 3", "least: 10, most: 20"))
    assert found.refs == REFS and found.deployments == 20 and found.verdicts
    assert found.gate is not None and found.gate.looks == (10, 15, 20)
    assert found.service is not None and (found.service.build, found.service.ready) == ("make", "/health")
    assert compiled(project, refs=()).deployments == 1


def test_groups_are_named_by_side_and_compared_with_the_other_side_only(project: Path) -> None:
    found = compiled(project)
    assert set(group_names(found.cells).values()) == {"floor_driver", "service @base", "service @head"}
    sides = [dataclasses.replace(group(f"{a} @{r}"), architecture=a, code_ref=r) for a in ("x", "y") for r in ("base", "head")]
    assert [(a.name, b.name) for a, b in cost.comparable(sides)] == [("x @base", "x @head"), ("y @base", "y @head")]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("least: 2", "least: 1", "gate.least: found 1, wanted greater than or equal to 2"),
        ("least: 2, most: 3", "least: 9, most: 3", "gate.looks: found None, wanted `most` of 9 deployments per arm at least"),
        ("most: 3", "most: 3, looks: [1, 3]", "gate.looks: found [1, 3], wanted rising numbers of deployments per arm from 2 (least) to 3"),
        ("most: 3", "most: 3, looks: [2]", "gate.looks: found [2]"),
        ("+20 %", "nonsense", "gate.thresholds[0]: found 'p50_ms vs base < nonsense', wanted a threshold such as"),
        ('["p50_ms vs base < +20 %"]', "[]", "gate.thresholds: found []"),
        ("ready: /health", "ready: health", "service.ready: found 'health'"),
        ("  ready: /health", "  raedy: /health", "service.raedy: found an unknown key"),
        ("workload: double", "workload: double\narchitectures: [three_tier]", "service: found architectures beside it"),
    ],
)
def test_what_a_scenario_may_not_say(project: Path, old: str, new: str, says: str) -> None:
    assert old in TEXT
    assert any(says in problem for problem in problems(project, TEXT.replace(old, new))), problems(project, TEXT.replace(old, new))


def test_two_commits_need_a_gate_and_a_service(project: Path) -> None:
    with pytest.raises(InputError, match="has no `gate:`"):
        compiled(project, TEXT.partition("gate:")[0])
    with pytest.raises(InputError, match="measures architectures"):
        compiled(project, PLACED)


def test_each_side_is_what_its_own_code_places(project: Path) -> None:
    ours = compiled(project, PLACED, ()).cells[-1].topology
    assert ours is not None
    theirs = dataclasses.replace(ours, cpus=0.5, options={"app_concurrency": 3})
    keys = [(side, "three_tier", "", "M") for side in ("base", "head")]
    found = compiled(project, PLACED, placed=dict(zip(keys, (theirs, ours), strict=True)))
    subjects = [c for c in found.cells if c.role == "subject"]
    assert [c.code_ref for c in subjects] == ["base", "head", "head", "base"]
    assert [c.topology for c in subjects] == [theirs, ours, ours, theirs]
    assert subjects[0].options == {"app_concurrency": 3}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "rates_per_s: [5]",
            "rates_per_s: [6]",
            "load of three_tier M: base ladder 5/s for 5 s, poisson, head ladder 6/s for 5 s, poisson",
        ),
        ("workload: noop", "workload: noop\nbudget: {cpus: 0.5}", "budget: base 1 CPU and 3072 MiB, head 0.5 CPU and 3072 MiB"),
        ("workload: noop", "workload: vision", "workload: base noop, head vision"),
        ("[three_tier]", "[three_tier, microservices]", "operations of microservices M: base nothing, head classify"),
    ],
)
def test_sides_that_answer_different_questions_are_refused(project: Path, old: str, new: str, says: str) -> None:
    plans = {"base": compiled(project, PLACED, ()), "head": compiled(project, PLACED.replace(old, new), ())}
    with pytest.raises(InputError, match="base, head do not answer the same question") as caught:
        sides.placed(plans)
    assert any(says in problem for problem in caught.value.problems), caught.value.problems
    same = {"base": plans["base"], "head": compiled(project, PLACED.replace("noop", "noop\nprimary_metric: p50_ms"), ())}
    assert set(sides.placed(same)) == {("base", "three_tier", "", "M"), ("head", "three_tier", "", "M")}


def test_an_environment_belongs_to_architectures(project: Path) -> None:
    made = compiled(project, PLACED + "environment: {build: make venv}\n", ()).environment
    assert made is not None and (made.build, made.python) == ("make venv", ".venv/bin/python")
    assert any("environment: found no architectures beside it" in p for p in problems(project, TEXT + "environment: {build: make venv}\n"))


def test_a_workload_without_stages_needs_a_service(project: Path) -> None:
    with pytest.raises(InputError, match="workload double has no stages"):
        compiled(project, "kind: serve\nworkload: double\narchitectures: [three_tier]\nload: {rates_per_s: [5]}\n", ())


def test_a_workload_for_a_service_says_what_it_lacks(project: Path) -> None:
    (project / "workloads" / "bare.py").write_text("class Workload:\n    operations = ()\n")
    with pytest.raises(InputError, match="class Workload has no payload, check"):
        registry.workload("bare")
    found = registry.workload("double")
    assert (found.name, found.stages, found.wrong_rate_limit("S"), found.preload(1)) == ("double", (), 0.0, ())
