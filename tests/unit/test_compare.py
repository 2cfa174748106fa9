"""Effects between architectures and between runs: found where they are, not found where they are not, claimed only where they may be."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from lab import rundir
from lab.analysis.analyze import analyze, compare_run
from lab.analysis.compare import compare_runs
from lab.analysis.effects import effects
from lab.analysis.results import Comparison, Effect, Summary
from lab.analysis.summarize import summarize
from lab.errors import InputError
from lab.model import Plan, Stat
from lab.rundir import RunDir
from tests.unit.runs import MACHINE, Behaviour, Broken, Recipe, build

SEVEN = Recipe(deployments=7, window_s=10.0)


def only(summary: Summary) -> Effect:
    (effect,) = effects(summary)
    return effect


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """alpha 20 ms against beta 30 ms, seven deployments each."""
    return summarize(build(tmp_path_factory.mktemp("seven"), SEVEN))


def test_a_difference_that_is_there_is_found(seven: Summary) -> None:
    effect = only(seven)
    assert (effect.metric, effect.a, effect.b, effect.verdict) == ("p50_ms", "alpha", "beta", "worse")
    assert effect.ratio.value == pytest.approx(1.5, rel=0.02) and effect.ratio.n == 7
    assert effect.ratio.low is not None and effect.ratio.high is not None
    assert effect.ratio.low < 1.5 < effect.ratio.high
    assert effect.reason.startswith("7 deployments of each, paired by block, p = ")
    swapped = replace(seven, groups=tuple(reversed(seven.groups)))
    assert only(swapped).verdict == "better" and only(swapped).ratio.value == pytest.approx(1 / 1.5, rel=0.02)


def test_the_same_thing_twice_cannot_be_told_apart(seven: Summary) -> None:
    alpha = seven.groups[0]
    jitter = [0.97, 1.04, 0.99, 1.02, 0.96, 1.03, 0.98]
    twin = replace(
        alpha, name="twin", primary_per_deployment=tuple(v * j for v, j in zip(alpha.primary_per_deployment, jitter, strict=True))
    )
    far = replace(seven, groups=(alpha, twin), floor_driver_ms={"p50": Stat(value=0.0, unit="ms")})
    assert only(far).verdict == "cannot tell" and "may be chance" in only(far).reason


def test_fewer_than_seven_deployments_are_exploratory(tmp_path: Path) -> None:
    effect = only(summarize(build(tmp_path)))
    assert effect.verdict == "exploratory" and effect.ratio.low is not None
    assert effect.reason == "3 and 3 valid deployments; a verdict needs 7 of each"


def test_an_invalid_deployment_takes_the_verdict_away(tmp_path: Path) -> None:
    recipe = replace(SEVEN, broken={"04-beta-S": Broken(warmup_stable=False)})
    summary = summarize(build(tmp_path, recipe))
    effect = only(summary)
    assert effect.verdict == "exploratory" and effect.reason.startswith("7 and 6 valid deployments")
    assert effect.ratio.value == pytest.approx(1.5, rel=0.03)


def test_one_deployment_each_gives_a_ratio_without_an_interval(tmp_path: Path) -> None:
    effect = only(summarize(build(tmp_path, Recipe(deployments=1))))
    assert effect.ratio.value == pytest.approx(1.5, rel=0.03) and effect.ratio.low is None
    assert effect.verdict == "exploratory"


def test_no_valid_deployment_cannot_tell(tmp_path: Path) -> None:
    broken = {f"{n:02d}-beta-S": Broken(status="broken", reason="it died") for n in (1, 2, 3)}
    effect = only(summarize(build(tmp_path, Recipe(broken=broken))))
    assert (effect.verdict, effect.ratio.value) == ("cannot tell", None)
    assert effect.reason == "beta: no valid deployment of 3"


def test_a_difference_below_the_floor_of_the_driver_is_none(seven: Summary) -> None:
    high = replace(seven, floor_driver_ms={"p50": Stat(value=15.0, unit="ms")})
    assert only(high).verdict == "cannot tell" and "below the floor of the driver, 15 ms" in only(high).reason
    unknown = replace(seven, floor_driver_ms={"p50": Stat.missing("ms", "not measured")})
    assert only(unknown).verdict == "cannot tell" and "not measured" in only(unknown).reason


def test_a_machine_that_cannot_claim_tails_gives_no_verdict_on_them(seven: Summary) -> None:
    tails = replace(seven, primary_metric="p95_ms", claims=("p50", "cpu"), isolation="none")
    assert only(tails).verdict == "cannot tell"
    assert only(tails).reason == "2 virtual cores with isolation none: no claim on tails"


def test_p_values_are_corrected_over_all_pairs(seven: Summary) -> None:
    """b / a has p = 0.03 by itself, which three pairs do not leave significant."""
    alpha, beta = seven.groups
    wobble = [0.05, -0.05, 0.04, -0.04, 0.05, -0.05, 0.0]
    near = tuple(v * math.exp(0.05 + w) for v, w in zip(alpha.primary_per_deployment, wobble, strict=True))
    floorless = replace(seven, floor_driver_ms={"p50": Stat(value=0.0, unit="ms")})
    twin = replace(alpha, name="twin", primary_per_deployment=near)
    third = replace(alpha, name="third", primary_per_deployment=tuple(v * math.exp(w) for v, w in zip(near, reversed(wobble), strict=True)))
    alone = only(replace(floorless, groups=(alpha, twin)))
    among = {(e.a, e.b): e for e in effects(replace(floorless, groups=(alpha, twin, third, beta)))}
    assert len(among) == 6 and alone.verdict == "worse"
    assert among["alpha", "twin"].ratio == alone.ratio and among["alpha", "twin"].verdict == "cannot tell"
    assert among["alpha", "beta"].verdict == "worse"


def test_groups_that_do_other_work_are_not_compared(seven: Summary) -> None:
    alpha, beta = seven.groups
    assert effects(replace(seven, groups=(alpha, replace(beta, model_size="L")))) == ()


# ---- one run, with costs and rankings --------------------------------------------------------------------------------


def test_summary_and_comparison_can_be_deleted_and_come_out_the_same(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe(architectures={"alpha": Behaviour(), "beta": Behaviour(median_ms=30.0, hops=2, cold_ms=1200.0)}))
    analyze(run)
    compare_run(run)
    first = run.summary.read_bytes(), run.comparison.read_bytes()
    run.summary.unlink()
    run.comparison.unlink()
    summary, comparison = analyze(run), compare_run(run)
    assert (run.summary.read_bytes(), run.comparison.read_bytes()) == first
    assert run.read(run.summary, Summary) == summary
    assert run.read(run.comparison, Comparison) == comparison
    assert comparison.costs is not None and comparison.answer and comparison.rankings


def test_another_price_book_day_or_core_changes_costs_and_nothing_else(tmp_path: Path) -> None:
    run = build(tmp_path)
    analyze(run)
    plain, slower = compare_run(run), compare_run(run, cpu_scale=1.5, today=date(2031, 1, 1))
    assert slower.effects == plain.effects
    assert plain.costs is not None and slower.costs is not None
    assert (plain.costs.cpu_scale, slower.costs.cpu_scale) == (1.0, 1.5)
    assert "on 2031-01-01" in slower.costs.warnings[0] and "on 2026-11-22" in plain.costs.warnings[0]
    assert slower.costs.at != plain.costs.at


def test_a_run_without_valid_cells_or_cpu_still_has_a_comparison(tmp_path: Path) -> None:
    blind = build(tmp_path / "blind", Recipe(architectures={"alpha": Behaviour(cpu_per_s=None), "beta": Behaviour(cpu_per_s=None)}))
    broken = {f"{n:02d}-{name}-S": Broken(warmup_stable=False) for n in (1, 2, 3) for name in ("alpha", "beta")}
    for run in (blind, build(tmp_path / "invalid", Recipe(broken=broken))):
        analyze(run)
        found = compare_run(run)
        assert found.costs is not None and all(at.month_usage.value is None for at in found.costs.at)
        assert found.answer


# ---- two runs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return build(tmp_path_factory.mktemp("two") / "base", SEVEN)


def test_two_runs_of_one_machine_are_compared_group_by_group(base: RunDir, tmp_path: Path) -> None:
    slower = replace(SEVEN, architectures={"alpha": Behaviour(median_ms=26.0), "beta": Behaviour(median_ms=30.0)})
    found = compare_runs(base, build(tmp_path / "head", slower))
    alpha, beta = found.effects
    assert (alpha.a, alpha.b, alpha.verdict) == ("base/alpha", "head/alpha", "worse")
    assert alpha.ratio.value == pytest.approx(1.3, rel=0.02) and "Welch" in alpha.reason and "not interleaved" in alpha.reason
    assert beta.verdict == "cannot tell" and beta.ratio.value == pytest.approx(1.0, rel=0.02)
    assert found.costs is None and found.answer == "head against base: alpha worse, beta cannot tell."


def test_different_machines_are_refused_by_field_and_marked_when_forced(base: RunDir, tmp_path: Path) -> None:
    machine = {**MACHINE, "cores": 8, "kernel": "6.12"}
    head = build(tmp_path / "head", replace(SEVEN, machine=machine))
    with pytest.raises(InputError) as caught:
        compare_runs(base, head)
    assert "cores: 2 against 8; kernel: '6.1' against '6.12'" in caught.value.what
    forced = compare_runs(base, head, force=True)
    assert any("cores: 2 against 8" in note for note in forced.notes)
    assert all(e.verdict in ("exploratory", "cannot tell") for e in forced.effects)


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (replace(SEVEN, primary_metric="p95_ms"), "primary_metric: 'p50_ms' in base, 'p95_ms' in head"),
        (replace(SEVEN, rates_per_s=(20.0,)), "primary_rate_per_s: 10.0 in base, 20.0 in head"),
        (replace(SEVEN, architectures={"gamma": Behaviour()}), "no group is in both: alpha, beta against gamma"),
    ],
)
def test_runs_that_measured_other_things_are_refused(base: RunDir, tmp_path: Path, other: Recipe, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        compare_runs(base, build(tmp_path / "head", other))
    assert caught.value.problems == (problem,)


def test_runs_that_differ_in_what_no_name_tells_are_refused_with_all_of_it(base: RunDir, tmp_path: Path) -> None:
    head = build(tmp_path / "head", SEVEN)
    plan = head.read(head.plan, Plan)
    cells = [replace(c, provider="docker", model_size="M", options={"workers": 2} if c.architecture == "alpha" else {}) for c in plan.cells]
    timed = [replace(c, load=replace(c.load, timeout_s=9.0)) if c.architecture == "beta" else c for c in cells]
    _replan(head, replace(plan, cells=tuple(timed), budget=replace(plan.budget, cpus=2.0)))
    with pytest.raises(InputError) as caught:
        compare_runs(base, head, force=True)
    assert caught.value.problems == (
        "budget.cpus: 1.0 in base, 2.0 in head",
        "alpha: provider: 'fake' in base, 'docker' in head",
        "alpha: model_size: 'S' in base, 'M' in head",
        "alpha: options: {} in base, {'workers': 2} in head",
        "beta: provider: 'fake' in base, 'docker' in head",
        "beta: model_size: 'S' in base, 'M' in head",
        "beta: timeout_s: 5.0 in base, 9.0 in head",
    )


def test_a_ladder_that_goes_on_above_the_primary_rate_is_the_same_work(base: RunDir, tmp_path: Path) -> None:
    head = build(tmp_path / "head", replace(SEVEN, rates_per_s=(10.0, 20.0, 40.0)))
    assert compare_runs(base, head).effects
    lower = build(tmp_path / "lower", replace(SEVEN, rates_per_s=(5.0, 10.0), primary_rate_per_s=10.0))
    with pytest.raises(InputError) as caught:
        compare_runs(base, lower)
    assert "alpha: rates up to the primary one: (10.0,) in base, (5.0, 10.0) in lower" in caught.value.problems


def _replan(run: RunDir, plan: Plan) -> None:
    rundir.write(run.plan, rundir.encode(plan))
