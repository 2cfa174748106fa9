"""A summary finds what was put into a synthetic run: quantiles, CPU, cold starts, held rates; and says why a figure is missing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats as known

from lab import rundir
from lab.analysis import samples
from lab.analysis.results import Group, StepFigures, Summary
from lab.analysis.steps import curve
from lab.analysis.summarize import group_names, spread, summarize
from lab.errors import InputError
from lab.load import record
from lab.model import Cell, Plan, Stat, Usage
from lab.power import detectable_ratio
from lab.rundir import RunDir
from tests.unit.runs import TIMEOUT_S, Behaviour, Broken, Recipe, build, make_plan, score


def group(summary: Summary, name: str = "alpha") -> Group:
    return next(g for g in summary.groups if g.name == name)


def value(stat: Stat) -> float:
    assert stat.value is not None, stat.why_missing
    return stat.value


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    recipe = Recipe(architectures={"alpha": Behaviour(), "beta": Behaviour(median_ms=30.0, hops=2, cold_ms=1200.0)})
    return summarize(build(tmp_path_factory.mktemp("good"), recipe))


# ---- latency ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "median"), [("alpha", 20.0), ("beta", 30.0)])
def test_percentiles_are_those_of_the_merged_distribution(good: Summary, name: str, median: float) -> None:
    step = group(good, name).steps[0]
    for q, text in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        truth = _mixture_quantile(median, 0.3, 0.05 * np.array([score(name, b) for b in range(3)]), q)
        stat = step.latency[text]
        assert value(stat) == pytest.approx(truth, rel=0.02)
        assert stat.n == 540
        if q == 0.5:
            assert stat.low is not None and stat.high is not None and stat.low < truth < stat.high
        else:
            assert stat.low is None and "no interval: 540 samples tell as much as" in stat.why_missing
        assert value(step.service[text]) == pytest.approx(value(stat) - 0.5)


def _mixture_quantile(median: float, sigma: float, levels: np.ndarray, q: float) -> float:
    grid = np.linspace(1, 200, 40000)
    share = np.mean([known.norm.cdf((np.log(grid) - math.log(median) - level) / sigma) for level in levels], axis=0)
    return float(np.interp(q, share, grid))


def test_each_deployment_keeps_its_own_figure_in_order_of_block(good: Summary) -> None:
    alpha = group(good)
    assert alpha.blocks == (0, 1, 2)
    assert alpha.primary_per_deployment == alpha.steps[0].per_deployment_ms
    assert alpha.primary_per_deployment == pytest.approx([20 * math.exp(0.05 * b) for b in (0.0, 0.8, -0.8)], rel=0.01)
    assert alpha.primary == alpha.steps[0].latency["p50"]


def test_the_curve_has_all_supported_quantiles_and_no_other(good: Summary) -> None:
    found = group(good).steps[0].percentiles
    assert 30 < len(found.x) <= 62
    assert {0.5, 0.95, 0.99} <= set(found.x)
    assert max(found.x) < 0.995  # 540 samples support no more
    assert list(found.y) == sorted(found.y)
    assert all(low <= y <= high for low, y, high in zip(found.low, found.y, found.high, strict=True))
    assert curve(np.arange(5.0)).x == ()


def test_failures_stay_in_the_distribution_at_their_time_out(tmp_path: Path) -> None:
    """Two of the 200 requests of each window fail at once: six of 540, which is what lies above p99."""
    step = group(summarize(build(tmp_path, Recipe(architectures={"alpha": Behaviour(failed=0.01)}, floor=False)))).steps[0]
    assert value(step.latency["p99"]) == value(step.service["p99"]) == TIMEOUT_S * 1e3
    assert value(step.latency["p95"]) < 50
    assert value(step.error_rate) == pytest.approx(0.01)


def test_requests_that_were_never_sent_or_never_answered_count_with_the_time_out(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe(architectures={"alpha": Behaviour(dropped=0.1)}, deployments=1, floor=False))
    taken = samples.read(run.cell("01-alpha-S"))
    took, service = taken.latency_ms(TIMEOUT_S), taken.service_ms(TIMEOUT_S)
    assert (took[np.isnan(taken.sent_s)] == TIMEOUT_S * 1e3).all() and (service[np.isnan(taken.sent_s)] == TIMEOUT_S * 1e3).all()
    assert np.isfinite(took).all() and (took[taken.ok] < 200).all()


def test_the_speed_of_wrong_answers_does_not_count(tmp_path: Path) -> None:
    recipe = Recipe(architectures={"alpha": Behaviour(wrong=0.1)}, wrong_rate_limit=0.2, floor=False)
    alpha = group(summarize(build(tmp_path / "run", recipe)))
    assert alpha.steps[0].latency["p50"].n == 540 - 3 * 18
    assert value(alpha.steps[0].wrong_rate) == pytest.approx(0.1)
    assert alpha.correct_share == pytest.approx(0.9)
    assert alpha.steps[0].held


def test_too_few_samples_for_a_percentile_say_how_many_are_needed(tmp_path: Path) -> None:
    step = group(summarize(build(tmp_path, Recipe(window_s=5.0)))).steps[0]
    assert value(step.latency["p95"])
    assert step.latency["p99"] == Stat.missing("ms", "135 samples; p99 needs 368", 135)


def test_reads_have_figures_of_their_own_and_stay_out_of_the_headline(good: Summary) -> None:
    by_operation = group(good).steps[0].by_operation
    assert value(by_operation["classify"]) == pytest.approx(20, rel=0.03)
    assert value(by_operation["result"]) == pytest.approx(10, rel=0.05)
    assert by_operation["classify"].n == 540 and by_operation["result"].n == 60


# ---- rates -----------------------------------------------------------------------------------------------------------


def test_offered_and_achieved_rates(good: Summary) -> None:
    steps = group(good).steps
    assert [s.rate_per_s for s in steps] == [10.0, 20.0]
    assert [value(s.offered_per_s) for s in steps] == pytest.approx([10.0, 20.0])
    assert [value(s.achieved_per_s) for s in steps] == pytest.approx([10.0, 20.0], rel=0.01)
    assert group(good).held_rate_per_s == Stat(value=20.0, low=20.0, high=None, n=3, unit="1/s")


def test_an_overloaded_step_achieves_its_capacity_and_is_not_held(tmp_path: Path) -> None:
    """A queue in front of a server of 15 requests per second: the latency of the k-th request grows by 1/15 - 1/20 s each."""
    run = build(tmp_path, Recipe(floor=False))
    for block in (1, 2, 3):
        _queue(run.cell(f"{block:02d}-alpha-S").samples, step=1, service_s=1 / 15)
    alpha = group(summarize(run))
    assert [s.held for s in alpha.steps] == [True, False]
    assert value(alpha.steps[1].achieved_per_s) == pytest.approx(15.0, rel=0.02)
    assert alpha.held_rate_per_s == Stat(value=10.0, low=10.0, high=20.0, n=3, unit="1/s")


def _queue(path: Path, step: int, service_s: float) -> None:
    table = pq.read_table(path)
    intended, done = table["intended_s"].to_numpy().copy(), table["done_s"].to_numpy().copy()
    free = 0.0
    for i in np.flatnonzero(table["step"].to_numpy() == step):
        free = done[i] = max(free, intended[i]) + service_s
    place = table.schema.get_field_index("done_s")
    pq.write_table(table.set_column(place, table.schema.field(place), pa.chunked_array([done])), path)


def test_no_held_rate_says_what_was_wanted(tmp_path: Path) -> None:
    alpha = group(summarize(build(tmp_path, Recipe(slo_ms=5.0))))
    assert alpha.held_rate_per_s.value is None
    assert "wanted p95 within 5 ms" in alpha.held_rate_per_s.why_missing


def test_one_deployment_that_fails_the_slo_lets_no_rate_hold(tmp_path: Path) -> None:
    slow = Behaviour(median_ms=400.0)
    alpha = group(summarize(build(tmp_path, Recipe(behaviours={"02-alpha-S": slow}))))
    assert alpha.valid_deployments == 3 and not any(s.held for s in alpha.steps)


# ---- CPU, memory, services -------------------------------------------------------------------------------------------


def test_cpu_per_request_is_split_into_architecture_and_platform(good: Summary) -> None:
    first, second = group(good).steps
    assert value(first.cpu_ms_architecture) == pytest.approx(20.0, rel=0.01)  # 0.2 CPU-seconds per second over 10 requests per second
    assert value(first.cpu_ms_platform) == pytest.approx(5.0, rel=0.01)
    assert value(second.cpu_ms_architecture) == pytest.approx(10.0, rel=0.01)
    assert value(first.utilisation) == pytest.approx(0.2, rel=0.01)
    assert value(group(good).memory_mib) == pytest.approx(200.0)


def test_services_carry_their_part_and_functions_their_invocations(good: Summary) -> None:
    by_name = {s.service: s for s in group(good, "beta").services}
    assert list(by_name) == ["activator", "app", "model", "gateway"]
    assert value(by_name["app"].cpu_ms_per_request) == pytest.approx(15.0, rel=0.01)
    assert value(by_name["gateway"].cpu_ms_per_request) == pytest.approx(5.0, rel=0.01)
    assert (by_name["gateway"].tier, by_name["gateway"].billing) == ("platform", "managed")
    model = by_name["model"]
    assert (model.billing, model.memory_configured_mib, model.cpus_configured) == ("function", 256, 0.5)
    assert model.invocations_per_request == pytest.approx(1.0, rel=0.01)
    assert model.billed_ms_per_request == pytest.approx(8.0, rel=0.01)
    assert value(model.start_s) == 0.9
    assert {s.service: s.start_s.value for s in group(good).services} == {"app": 0.8, "model": 1.2, "gateway": None}
    assert by_name["app"].invocations_per_request is None


def test_a_provider_that_does_not_measure_gives_missing_figures_with_the_reason(tmp_path: Path) -> None:
    alpha = group(summarize(build(tmp_path, Recipe(architectures={"alpha": Behaviour(cpu_per_s=None)}))))
    for stat in (alpha.cpu_ms_architecture, alpha.cpu_ms_platform, alpha.memory_mib, alpha.steps[0].utilisation):
        assert stat.value is None and stat.low is None and "does not tell" in stat.why_missing
    assert value(alpha.primary) == pytest.approx(20, rel=0.03)


def test_usage_that_ends_before_the_window_gives_no_cpu(tmp_path: Path) -> None:
    run = build(tmp_path)
    path = run.cell("01-alpha-S").usage
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if msgspec.json.decode(line, type=Usage).at_s < 1015]
    path.write_bytes(b"".join(kept))
    assert group(summarize(run)).cpu_ms_architecture.value is None


def test_a_service_that_began_in_the_window_is_counted_from_zero(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe(deployments=1, floor=False))
    path = run.cell("01-alpha-S").usage
    late = [Usage(at_s=1020.0 + i, service="late", tier="architecture", instances=1, cpu_s=0.1 * i, memory_mib=10.0) for i in range(1, 40)]
    path.write_bytes(path.read_bytes() + b"".join(msgspec.json.encode(u) + b"\n" for u in late))
    found = {s.service: value(s.cpu_ms_per_request) for s in group(summarize(run)).services}
    assert found["late"] == pytest.approx(1000 * 0.1 * 10 / 200, rel=0.03)  # the window ends 10 s after its start


# ---- cold starts -----------------------------------------------------------------------------------------------------


def test_cold_starts_are_apart_and_their_phases_add_up(good: Summary) -> None:
    beta = group(good, "beta")
    assert value(beta.cold_ms) == pytest.approx(1200.0)
    assert dict(beta.cold_phases_ms) == pytest.approx({"spawn": 100.0, "import": 500.0, "model": 300.0, "first request": 300.0})
    assert beta.steps[0].latency["p50"].n == 540
    assert group(good).cold_ms.why_missing == "nothing scales to zero here"
    assert [e["kind"] for e in beta.events] == ["cold_start"] and beta.events[0]["at_s"] == pytest.approx(1.9)


# ---- the run as a whole ----------------------------------------------------------------------------------------------


def test_floors_spread_and_the_machine(good: Summary) -> None:
    assert value(good.floor_driver_ms["p50"]) == pytest.approx(1.0, rel=0.05)
    assert good.floor_path_ms["p99"].why_missing == "180 samples; p99 needs 368"
    variances = [np.var([score(name, b) for b in range(3)], ddof=1) for name in ("alpha", "beta")]
    assert spread(good) == pytest.approx(0.05 * math.sqrt(np.mean(variances)), rel=0.1)
    assert good.spread == spread(good)
    assert good.detectable_ratio is not None and good.detectable_ratio > 1
    assert (good.machine_class, good.duration_s, good.command) == ("2 virtual cores", 240.0, "lab run synthetic")


def test_the_timeline_has_a_point_per_second(good: Summary) -> None:
    timeline = group(good).timeline
    assert [p.at_s for p in timeline[:3]] == [10.0, 11.0, 12.0]
    assert [p.offered_per_s for p in timeline[:40]] == [10.0] * 20 + [20.0] * 20
    assert sum(p.completed_per_s for p in timeline) == 600 and not any(p.errors for p in timeline)
    assert all(p.p50_ms is not None and 5 < p.p50_ms < 60 for p in timeline[:40])
    assert timeline[0].instances == {"app": 1, "model": 1}


def test_an_invalid_deployment_is_left_out_and_named(tmp_path: Path) -> None:
    alpha = group(summarize(build(tmp_path, Recipe(behaviours={"02-alpha-S": Behaviour(median_ms=500, lag_ms=30)}))))
    assert (alpha.deployments, alpha.valid_deployments, alpha.blocks) == (3, 2, (0, 2))
    assert value(alpha.primary) < 25


def test_a_run_without_a_valid_cell_has_no_figure_at_all(tmp_path: Path) -> None:
    broken = {cell.id: Broken(warmup_stable=False) for cell in make_plan(Recipe()).cells}
    summary = summarize(build(tmp_path, Recipe(broken=broken)))
    assert not any(v.valid for v in summary.cells)
    for found in summary.groups:
        assert found.steps == () and found.waterfall == () and found.timeline == () and found.valid_deployments == 0
        figures = [getattr(found, f) for f in found.__dataclass_fields__ if isinstance(getattr(found, f), Stat)]
        assert len(figures) == 7 and all(f.value is None and f.why_missing == "no valid deployment of 3" for f in figures)
    assert summary.floor_driver_ms["p50"].why_missing == "the floor of the driver is INVALID"
    assert spread(summary) is None and summary.spread == 0.1


def test_a_run_that_was_killed_keeps_its_done_cells_and_its_samples(tmp_path: Path) -> None:
    killed = Broken(status="running", stream_only=True, cut_bytes=777)
    run = build(tmp_path, Recipe(broken={"03-beta-S": killed}))
    whole = samples.read(build(tmp_path / "whole").cell("03-beta-S"))
    kept = samples.read(run.cell("03-beta-S"))
    assert 0 < len(kept) < len(whole) and len(kept) % 50 == 0
    assert np.array_equal(kept.intended_s, whole.intended_s[: len(kept)])
    assert len(kept) == record.read(run.cell("03-beta-S").stream).table.num_rows
    (run.cell("03-alpha-S").root / "samples.parquet").unlink()
    run.cell("03-alpha-S").status_path.unlink()
    summary = summarize(run)
    assert {g.name: g.valid_deployments for g in summary.groups} == {"alpha": 2, "beta": 2}


def test_a_stream_reads_like_its_parquet(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe(broken={"01-alpha-S": Broken(stream_only=True)}))
    whole = build(tmp_path / "whole")
    streamed, parquet = samples.read(run.cell("01-alpha-S")), samples.read(whole.cell("01-alpha-S"))
    assert streamed.operations == parquet.operations
    assert np.array_equal(streamed.done_s, parquet.done_s, equal_nan=True)
    assert summarize(run).groups == summarize(whole).groups


def test_a_damaged_parquet_file_is_the_callers_problem_with_a_way_out(tmp_path: Path) -> None:
    run = build(tmp_path)
    path = run.cell("01-alpha-S").samples
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"samples\.parquet cannot be read") as caught:
        summarize(run)
    assert "--resume" in caught.value.hint


def test_missing_files_are_named(tmp_path: Path) -> None:
    run = build(tmp_path)
    run.environment.unlink()
    with pytest.raises(InputError, match=r"has no environment\.json"):
        summarize(run)


def test_a_tail_is_no_headline_where_the_machine_cannot_claim_it(tmp_path: Path) -> None:
    recipe = Recipe(primary_metric="p95_ms", claims=("p50", "cpu"))
    alpha = group(summarize(build(tmp_path, recipe)))
    assert alpha.primary.why_missing == "2 virtual cores with isolation pinned: no claim on tails"
    assert value(alpha.steps[0].latency["p95"])


def test_cpu_can_be_the_primary_metric(tmp_path: Path) -> None:
    alpha = group(summarize(build(tmp_path, Recipe(primary_metric="cpu_ms"))))
    assert value(alpha.primary) == pytest.approx(20.0, rel=0.01)
    assert alpha.primary_per_deployment == pytest.approx([20.0] * 3, rel=0.01)


def test_groups_are_named_by_what_differs() -> None:
    cells = make_plan(Recipe(deployments=1)).cells
    assert list(group_names(cells).values()) == ["floor_driver", "floor_path", "alpha", "beta"]
    varied = (*cells, replace(cells[2], id="x", variant="batching"), replace(cells[2], id="y", model_size="L"))
    assert list(group_names(varied).values())[2:] == ["alpha-S", "beta-S", "alpha-batching-S", "alpha-L"]


def test_the_summary_survives_its_file(good: Summary, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    rundir.write(path, rundir.encode(good))
    again = RunDir(tmp_path).read(path, Summary)
    assert rundir.encode(again) == path.read_bytes()
    step: StepFigures = again.groups[0].steps[0]
    assert step.latency["p50"] == good.groups[0].steps[0].latency["p50"]


def test_more_pairs_share_the_same_certainty(tmp_path: Path) -> None:
    """What can be told apart is more where three pairs share alpha than where there is one."""
    names = ("alpha", "beta", "gamma")
    two, three = (
        summarize(build(tmp_path / str(n), Recipe(architectures={name: Behaviour() for name in names[:n]}, window_s=4.0, floor=False)))
        for n in (2, 3)
    )
    assert two.detectable_ratio == pytest.approx(detectable_ratio(two.spread, 3))
    assert three.detectable_ratio == pytest.approx(detectable_ratio(three.spread, 3, comparisons=3))


def test_the_replicas_that_a_scaler_kept_are_found_at_each_rate(tmp_path: Path) -> None:
    """Two instances from the second window on; with an order in the plan, groups stand as the scenario lists them."""
    run = build(tmp_path / "run", Recipe(architectures={"alpha": Behaviour(), "beta": Behaviour()}, floor=False))
    plan = run.read(run.plan, Plan)
    cells = [_autoscaled(c) if c.architecture == "alpha" else c for c in plan.cells]
    cells = [replace(c, order=int(c.architecture == "alpha")) for c in cells]
    rundir.write(run.plan, rundir.encode(replace(plan, cells=tuple(cells), scaler="hpa")))
    for cell in cells:
        folder = run.cell(cell.id)
        status = folder.status()
        assert status is not None and status.origin_s is not None
        second_s = status.origin_s + status.windows[1][1]
        lines = [replace(u, instances=2 if u.at_s >= second_s else 1) for u in folder.lines(folder.usage, Usage)]
        folder.usage.write_bytes(b"".join(msgspec.json.encode(u) + b"\n" for u in lines))
    made = summarize(run)
    assert [g.name for g in made.groups] == ["beta", "alpha"]
    model = next(s for s in group(made).services if s.service == "model")
    assert model.scaler == "hpa" and model.replicas is not None
    assert model.replicas.x == (10.0, 20.0)
    assert model.replicas.y == pytest.approx((1.0, 2.0), rel=0.05)  # the reading between two windows belongs to both
    assert all(s.scaler == "" and s.replicas is None for s in group(made, "beta").services)


def _autoscaled(cell: Cell) -> Cell:
    assert cell.topology is not None
    services = tuple(replace(s, scaling="on_cpu", max_instances=2) if s.name == "model" else s for s in cell.topology.services)
    return replace(cell, topology=replace(cell.topology, services=services))
