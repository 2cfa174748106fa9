"""Each way in which the instrument may fail makes its cell INVALID, with what was found and what was allowed; nothing else does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lab import rundir
from lab.analysis.results import CellVerdict, Summary
from lab.analysis.summarize import summarize
from lab.analysis.validity import claim, primary_quantile
from lab.errors import InputError
from lab.model import Environment, Event, MachineState, Plan
from lab.rundir import RunDir
from tests.unit.runs import ORIGIN_S, Behaviour, Broken, Recipe, build

BAD = "02-alpha-S"


def verdict(summary: Summary, cell: str = BAD) -> CellVerdict:
    return next(v for v in summary.cells if v.cell == cell)


def test_a_good_run_is_valid_without_a_word(tmp_path: Path) -> None:
    summary = summarize(build(tmp_path))
    assert all(v.valid and not v.reasons and not v.warnings for v in summary.cells)
    assert [v.cell for v in summary.cells][:3] == ["00-floor_driver", "00-floor_path", "01-alpha-S"]
    assert verdict(summary).block == 1 and verdict(summary).group == "alpha"


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        (Behaviour(lag_ms=12.5), "at 10/s: the driver's lag p99 is 12.5 ms over 200 requests; limit 10 ms"),
        (Behaviour(dropped=0.01), "at 10/s: the driver dropped 2 of 200 requests; limit 0"),
        (Behaviour(failed=0.05), "at 10/s: 10 of 200 requests failed (5.0%); limit 1.0%"),
        (Behaviour(cold=0.02), "at 10/s: 4 of 200 requests of the warm window met a cold start; limit 1%"),
        (Behaviour(wrong=0.05), "classify: 9 of 180 answers were wrong (5.0%); limit 0.0%"),
    ],
)
def test_what_the_samples_show(tmp_path: Path, behaviour: Behaviour, sentence: str) -> None:
    found = verdict(summarize(build(tmp_path, Recipe(behaviours={BAD: behaviour}))))
    assert not found.valid
    assert sentence in found.reasons


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (Broken(status="running"), "the cell is running; wanted done"),
        (Broken(status="broken", reason="app died at start"), "the cell is broken: app died at start; wanted done"),
        (Broken(warmup_stable=False), "latency was not stable after 4 s of warm-up"),
        (Broken(driver={"cpu_share": 0.97}), "the driver used 97% of its core; limit 90%"),
        (Broken(driver={"steal_share": 0.08}), "the hypervisor took 8.0% of the CPU; limit 5%"),
    ],
)
def test_what_the_status_says(tmp_path: Path, broken: Broken, sentence: str) -> None:
    found = verdict(summarize(build(tmp_path, Recipe(broken={BAD: broken}))))
    assert found.reasons == (sentence,)
    assert not found.valid


def test_a_cell_that_was_never_begun_is_planned(tmp_path: Path) -> None:
    run = build(tmp_path)
    run.cell(BAD).status_path.unlink()
    assert verdict(summarize(run)).reasons == ("the cell is planned; wanted done",)


def test_steal_is_taken_from_the_states_around_the_cell_where_the_driver_does_not_tell(tmp_path: Path) -> None:
    calm = MachineState(at_s=ORIGIN_S - 60, load1=0.1, steal_share=0.5)
    states = (calm, MachineState(at_s=ORIGIN_S + 500, load1=1.0, steal_share=0.07))
    summary = summarize(build(tmp_path, Recipe(states=states)))
    assert all(v.reasons == ("the hypervisor took 7.0% of the CPU; limit 5%",) for v in summary.cells)
    assert all(v.valid for v in summarize(build(tmp_path / "before", Recipe(states=(calm,)))).cells)


def busy(*cores: float, cpus: int = 2) -> Broken:
    """Of the machine, per window; the driver used 0.1 of a core, the process that started it 0.05."""
    shares = {f"busy_share_{i}": used / cpus for i, used in enumerate(cores)}
    own = {f"{name}_{i}": share for i in range(len(cores)) for name, share in (("driver_share", 0.1), ("parent_share", 0.05))}
    return Broken(driver={"host_cpus": float(cpus), **shares, **own})


@pytest.mark.parametrize(
    ("primary", "above", "reasons", "warnings"),
    [
        (0.54, 0.54, (), ()),  # 0.25 measured, 0.15 the driver and what started it, 0.05 the lab: 0.09
        (0.65, 0.45, (), ("at 10/s: other programs used 0.20 of a core",)),
        (1.06, 0.45, ("at 10/s: other programs used 0.61 of a core; limit 0.25",), ()),
        (0.45, 1.06, (), ("at 20/s: other programs used 0.61 of a core; limit 0.25",)),
    ],
)
def test_a_busy_machine(tmp_path: Path, primary: float, above: float, reasons: tuple[str, ...], warnings: tuple[str, ...]) -> None:
    found = verdict(summarize(build(tmp_path, Recipe(floor=False, broken={BAD: busy(primary, above)}))))
    assert (found.reasons, found.warnings, found.valid) == (reasons, warnings, not reasons)


def test_what_the_hypervisor_took_is_not_used_by_other_programs(tmp_path: Path) -> None:
    calm = busy(0.65, 0.45)
    stolen = Broken(driver={**calm.driver, "steal_share_0": 0.1, "steal_share": 0.04})
    assert verdict(summarize(build(tmp_path, Recipe(floor=False, broken={BAD: stolen})))).warnings == ()


def test_a_service_that_has_no_platform_is_held_against_a_busy_machine_too(tmp_path: Path) -> None:
    """As a gate's: all that is measured is told. The 0.05 of a core that the others' platform used is another program's."""
    run = build(tmp_path, Recipe(floor=False, broken={BAD: busy(1.06, 0.45)}))
    lines = run.cell(BAD).usage.read_bytes().splitlines(keepends=True)
    rundir.write(run.cell(BAD).usage, b"".join(line for line in lines if b'"platform"' not in line))
    assert verdict(summarize(run)).reasons == ("at 10/s: other programs used 0.66 of a core; limit 0.25",)


def test_where_the_providers_cpu_is_unknown_a_busy_machine_is_a_warning(tmp_path: Path) -> None:
    recipe = Recipe(floor=False, behaviours={BAD: Behaviour(cpu_per_s=None)}, broken={BAD: busy(1.06, 0.45)})
    found = verdict(summarize(build(tmp_path, recipe)))
    assert found.valid
    assert found.warnings == ("at 10/s: other programs and what is measured here used 0.86 of a core",)


@pytest.mark.parametrize(
    ("at_s", "reasons", "warnings"),
    [
        (7.0, (), ()),
        (9.0, ("in the warm-up: model died (exit code -9)",), ()),
        (15.0, ("at 10/s: model died (exit code -9)",), ()),
        (35.0, (), ("at 20/s: model died (exit code -9)",)),
        (51.0, (), ()),
    ],
)
def test_a_process_that_died(tmp_path: Path, at_s: float, reasons: tuple[str, ...], warnings: tuple[str, ...]) -> None:
    """The warm-up runs from 8 to 10 s, the windows to 30 s and to 50 s; the activator and the provider tell of the same death."""
    run = build(tmp_path, Recipe(floor=False, broken={BAD: Broken(driver={"warmup_s": 2.0})}))
    _happen(run, at_s, "crash", {"instance": 1, "exit": -9}, {"instance": 1, "exit": -9})
    found = verdict(summarize(run))
    assert (found.reasons, found.warnings) == (reasons, warnings)


def test_starts_that_failed_are_counted(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe(floor=False))
    _happen(run, 12.0, "start_failed", {"error": "no memory"})
    _happen(run, 13.0, "start_failed", {"error": "no memory"})
    assert verdict(summarize(run)).reasons == ("at 10/s: model failed to start 2 times (no memory)",)


def _happen(run: RunDir, at_s: float, kind: str, *values: dict[str, str | int]) -> None:
    for of in values:
        event = Event(at_s=ORIGIN_S + at_s, clock="monotonic", kind=kind, service="model", values=of)
        rundir.append(run.cell(BAD).events, msgspec.json.encode(event) + b"\n")


def test_steps_up_to_the_primary_rate_are_judged(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe(rates_per_s=(10.0, 20.0, 30.0), primary_rate_per_s=20.0, behaviours={BAD: Behaviour(failed=0.2)}))
    found = verdict(summarize(run))
    assert [r.partition(":")[0] for r in found.reasons] == ["at 10/s", "at 20/s"]
    assert [w.partition(":")[0] for w in found.warnings] == ["at 30/s"]


def test_findings_above_the_primary_rate_are_warnings(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe(behaviours={BAD: Behaviour()}))
    _spoil_step(run.cell(BAD).samples, step=1)
    found = verdict(summarize(run))
    assert found.valid
    assert found.warnings == ("at 20/s: 200 of 400 requests failed (50.0%); limit 1.0%",)


def _spoil_step(path: Path, step: int) -> None:
    """Every second request of that step fails."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    spoiled = pc.and_(pc.equal(table["step"], step), pc.equal(pc.bit_wise_and(table["sequence"], 1), 0))
    ok = pc.and_(table["ok"], pc.invert(spoiled))
    pq.write_table(table.set_column(table.schema.get_field_index("ok"), table.schema.field("ok"), pa.chunked_array(ok)), path)


def test_few_wrong_answers_that_chance_explains_are_a_warning(tmp_path: Path) -> None:
    recipe = Recipe(wrong_rate_limit=0.02, floor=False, behaviours={BAD: Behaviour(wrong=0.025), "03-alpha-S": Behaviour(wrong=0.15)})
    summary = summarize(build(tmp_path / "run", recipe))
    assert verdict(summary).valid
    assert verdict(summary).warnings == ("classify: 5 of 180 answers were wrong (2.8%); limit 2.0%, which may be chance",)
    assert verdict(summary, "03-alpha-S").reasons[0] == "classify: 27 of 180 answers were wrong (15.0%); limit 2.0%"


@pytest.mark.parametrize(
    ("metric", "window_s", "valid", "sentence"),
    [
        ("p50_ms", 0.5, False, "5 headline requests at the primary rate; p50 of one deployment needs 6"),
        ("p95_ms", 1.0, False, "9 headline requests at the primary rate; p95 of one deployment needs 20"),
        ("p95_ms", 4.0, True, "36 headline requests at the primary rate: p95 of this deployment alone needs 72"),
        ("p95_ms", 8.0, True, ""),
    ],
)
def test_too_few_samples_for_the_primary_metric(tmp_path: Path, metric: str, window_s: float, valid: bool, sentence: str) -> None:
    found = verdict(summarize(build(tmp_path, Recipe(primary_metric=metric, window_s=window_s, floor=False))))
    assert found.valid is valid
    assert " ".join(found.reasons + found.warnings) == sentence


def test_a_driver_whose_lag_is_much_of_the_p99_is_a_warning(tmp_path: Path) -> None:
    found = verdict(summarize(build(tmp_path, Recipe(behaviours={BAD: Behaviour(median_ms=10, sigma=0.1, lag_ms=8.0)}))))
    assert found.valid
    assert found.warnings[0].startswith("the driver's lag p99 of 8.0 ms is 6")


def test_a_schedule_that_is_not_the_planned_one_is_invalid(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe())
    half = build(tmp_path / "half", Recipe(rates_per_s=(5.0, 20.0)))
    run.cell(BAD).samples.write_bytes(half.cell(BAD).samples.read_bytes())
    assert "at 10/s: the schedule held 100 requests, planned were 200; limit 98%" in verdict(summarize(run)).reasons


def test_a_window_that_the_plan_does_not_have_is_refused(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe())
    text = run.cell(BAD).status_path.read_text().replace("[\n   1,", "[\n   7,")
    run.cell(BAD).status_path.write_text(text)
    with pytest.raises(InputError, match="window of step 7, the plan has 2 steps"):
        summarize(run)


def test_metrics_by_name() -> None:
    assert [primary_quantile(m) for m in ("p50_ms", "p95_ms", "p99.9_ms", "cpu_ms")] == [0.5, 0.95, pytest.approx(0.999), None]
    assert [claim(m) for m in ("p50_ms", "p95_ms", "cpu_ms")] == ["p50", "tail", "cpu"]


def test_a_driver_on_the_architectures_physical_core_is_a_warning(tmp_path: Path) -> None:
    run = build(tmp_path)
    about = run.read(run.environment, Environment)
    rundir.write(run.environment, rundir.encode(replace(about, shared_cpus=(0, 2))))
    summary = summarize(run)
    assert verdict(summary).valid
    assert verdict(summary).warnings == ("the driver's CPU 0, 2 shares a physical core with the architecture: no claim on tails",)
    assert verdict(summary, "00-floor_path").warnings == ()


@pytest.mark.parametrize(("learned", "source", "valid"), [(0.02, "learned on this machine", False), (0.02, "assumed", True),
                                                          (0.2, "learned on this machine", True)])  # fmt: skip
def test_deployments_that_differ_far_more_than_this_machines_do(tmp_path: Path, learned: float, source: str, valid: bool) -> None:
    """Seven each: beta, which is as quiet as ever, stays VALID."""
    noisy = {"alpha": Behaviour(spread=0.4), "beta": Behaviour(spread=0.02)}
    run = build(tmp_path, Recipe(architectures=noisy, deployments=7, floor=False))
    plan = run.read(run.plan, Plan)
    rundir.write(run.plan, rundir.encode(replace(plan, spread=learned, spread_source=source)))
    summary = summarize(run)
    assert {v.group: v.valid for v in summary.cells} == {"alpha": valid, "beta": True}
    alpha = next(g for g in summary.groups if g.name == "alpha")
    assert (alpha.primary.value is not None) == valid and (alpha.valid_deployments == 7) == valid
    if not valid:
        (reason,) = verdict(summary, "01-alpha-S").reasons
        assert re.fullmatch(r"the 7 deployments differ by \d+\.\d% \(A/A spread\); this machine's is 2\.0%, limit 9\.\d%", reason)


def test_three_deployments_are_too_few_to_call_a_machine_noisy(tmp_path: Path) -> None:
    run = build(tmp_path, Recipe(architectures={"alpha": Behaviour(spread=0.4)}, floor=False))
    rundir.write(run.plan, rundir.encode(replace(run.read(run.plan, Plan), spread=0.02, spread_source="learned on this machine")))
    assert all(v.valid for v in summarize(run).cells)
