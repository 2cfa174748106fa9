"""Plans: pure, seeded, interleaved, with equal budgets and the minutes added up."""

import dataclasses
from pathlib import Path

import pytest

from lab import plan, registry, scenario
from lab.contracts import Capabilities
from lab.errors import InputError
from lab.model import Budget, Plan
from lab.settings import Settings

PINNED = Capabilities(isolation="pinned", enforcement="affinity", scales_to_zero=True, measures_usage=True)


def compiled(name: str, spread: float | None = None) -> Plan:
    return plan.compile(scenario.load(name), Settings(), PINNED, spread=spread)


def test_the_same_scenario_gives_the_same_plan() -> None:
    assert compiled("compare") == compiled("compare")


def test_compare_fits_into_five_minutes_and_full_into_forty() -> None:
    assert compiled("compare").expected_s <= 300
    assert compiled("compare-full").expected_s <= 2400
    assert compiled("quick").expected_s <= 60


def test_every_block_holds_every_subject_once_and_orders_differ() -> None:
    found = compiled("compare-full")
    blocks: dict[int, list[str]] = {}
    for cell in found.cells:
        if cell.role == "subject":
            blocks.setdefault(cell.block, []).append(cell.id.partition("-")[2])
    assert len(blocks) == 7
    assert len({frozenset(b) for b in blocks.values()}) == 1
    assert len({tuple(b) for b in blocks.values()}) > 1


def test_floors_come_first_and_measure_noop() -> None:
    first, second, *others = compiled("compare").cells
    assert (first.role, first.provider, first.workload) == ("floor_driver", "fake", "noop")
    assert (second.role, second.provider, second.workload) == ("floor_path", "embedded", "noop")
    assert {c.role for c in others} == {"subject"}


def test_verdicts_need_seven_deployments() -> None:
    assert compiled("compare-full").verdicts
    assert not compiled("compare").verdicts


def test_a_learned_spread_moves_what_can_be_told() -> None:
    narrow, wide = compiled("compare", 0.02), compiled("compare", 0.2)
    assert narrow.detectable_ratio is not None and wide.detectable_ratio is not None
    assert 1 < narrow.detectable_ratio < wide.detectable_ratio
    assert narrow.spread_source == "learned on this machine"
    assert compiled("quick").detectable_ratio is None


def test_an_architecture_that_takes_more_than_the_budget_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    subject = "{architecture: three_tier, options: {model_memory_mib: 9000}}"
    path.write_text(f"kind: serve\nworkload: noop\narchitectures: [{subject}]\nload: {{rates_per_s: [5]}}\n")
    with pytest.raises(InputError, match="three_tier cannot place workload noop") as caught:
        plan.compile(scenario.load(str(path)), Settings(), PINNED)
    assert any("the budget is 3072 MiB" in p for p in caught.value.problems)


def test_the_primary_rate_must_be_measured(tmp_path: Path) -> None:
    path = tmp_path / "off.yaml"
    path.write_text("kind: serve\nworkload: noop\narchitectures: [three_tier]\nload: {rates_per_s: [5]}\nprimary_rate_per_s: 7\n")
    with pytest.raises(InputError, match="primary_rate_per_s: found 7"):
        plan.compile(scenario.load(str(path)), Settings(), PINNED)


@pytest.mark.parametrize("architecture", registry.names("architectures"))
def test_problems_name_every_broken_rule(architecture: str) -> None:
    shape = plan.shape("noop", "S")
    module = registry.architecture(architecture)
    topology = module.place(shape, Budget(), module.Options())
    assert topology.problems(shape.stages, shape.operations) == []
    broken = dataclasses.replace(topology, services=topology.services[:-1], routes={})
    found = "\n".join(broken.problems(shape.stages, shape.operations))
    assert "is placed in no service" in found
    assert "operation 'classify' has no route" in found


@pytest.mark.parametrize(
    ("load", "wanted"), [("rates_per_s: [2, 40]", 10.0), ("rates_per_s: [30]", 30.0), ("rates_per_s: [2], warmup_max_s: 20", 2.0)]
)
def test_warm_up_sends_enough_for_its_stability_test(tmp_path: Path, load: str, wanted: float) -> None:
    path = tmp_path / "slow.yaml"
    path.write_text(f"kind: serve\nworkload: noop\narchitectures: [three_tier]\nfloor: false\nload: {{{load}}}\n")
    (cell, *_) = plan.compile(scenario.load(str(path)), Settings(), PINNED).cells
    assert cell.load.warmup_rate_per_s == wanted


def test_a_warm_up_that_can_never_be_judged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slow.yaml"
    path.write_text(
        "kind: serve\nworkload: noop\narchitectures: [three_tier]\nload: {rates_per_s: [2], warmup_rate_per_s: 2, warmup_max_s: 4}\n"
    )
    with pytest.raises(InputError, match="found 2 for 4 s, wanted 24 requests at least"):
        plan.compile(scenario.load(str(path)), Settings(), PINNED)


def test_autoscaling_is_refused_where_nothing_scales() -> None:
    with pytest.raises(InputError, match="provider embedded has nothing that scales") as caught:
        compiled("autoscale")
    assert caught.value.problems == ("microservices autoscaled: ingest, preprocess, infer, results would stay at the fewest instances",)
    assert "kind or kubernetes" in caught.value.hint
    able = dataclasses.replace(PINNED, scaler="hpa")
    assert plan.compile(scenario.load("autoscale"), Settings(), able).scaler == "hpa"


def test_instances_that_get_more_than_the_budget_are_refused_where_each_is_held_to_its_own(tmp_path: Path) -> None:
    """One core set for all makes the budget equal whatever the services ask for; quotas are what they get."""
    path = tmp_path / "many.yaml"
    subject = "{architecture: serverless, options: {max_instances: 4}}"
    path.write_text(
        f"kind: serve\nworkload: vision\narchitectures: [{subject}]\nbudget: {{memory_mib: 8192}}\nload: {{rates_per_s: [20]}}\n"
    )
    assert plan.compile(scenario.load(str(path)), Settings(), PINNED).cells
    with pytest.raises(InputError, match="the budget would not be the same for all") as caught:
        plan.compile(scenario.load(str(path)), Settings(), dataclasses.replace(PINNED, enforcement="enforced"))
    assert "the budget is 1" in caught.value.problems[0]


def test_cells_know_their_place_in_the_scenario_though_they_are_shuffled() -> None:
    found = [c for c in compiled("map").cells if c.role == "subject" and c.block == 0]
    listed = [f"{c.architecture}-{c.model_size}" for c in sorted(found, key=lambda c: c.order)]
    assert listed == [f"{a}-{size}" for size in "SML" for a in ("three_tier", "microservices", "serverless")]
    assert [c.order for c in found] != sorted(c.order for c in found)
