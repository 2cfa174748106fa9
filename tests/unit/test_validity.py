"""Each way in which the instrument may fail makes its cell INVALID, with what was found and what was allowed; nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.analysis.results import CellVerdict, Summary
from lab.analysis.summarize import summarize
from lab.analysis.validity import claim, primary_quantile
from lab.errors import InputError
from lab.model import MachineState
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
