"""History: rows of runs in Parquet and back, series that never mix machines, change points that are real, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lab import history, rundir
from lab.analysis import analyze, trend
from lab.analysis.trend import Row
from lab.cli import lab
from lab.errors import InputError
from lab.model import Plan
from lab.report import trend as written
from lab.rundir import RunDir
from lab.settings import Settings
from tests.unit import gates, runs


def settings(folder: Path) -> Settings:
    return Settings(home=str(folder / "home"), runs=str(folder / "runs"))


def made(folder: Path, name: str, **changes: object) -> RunDir:
    run = runs.build(folder / "runs" / name, runs.Recipe(**changes))  # type: ignore[arg-type]
    analyze.analyze(run)
    return run


def row(value: float, number: int, **changes: object) -> Row:
    return replace(
        Row(
            run=f"run-{number:03d}",
            scenario="compare",
            scenario_sha256="0" * 64,
            machine="m" * 16,
            group="app",
            commit=f"{number:040x}",
            metric="p50_ms",
            unit="ms",
            value=value,
            low=None,
            high=None,
            n=3,
            started_at=f"2026-11-{1 + number // 24:02d}T{number % 24:02d}:00:00Z",
        ),
        **changes,  # type: ignore[arg-type]
    )


def walk(values: Sequence[float], **changes: object) -> tuple[Row, ...]:
    return tuple(row(v, i, **changes) for i, v in enumerate(values))


# ---- rows --------------------------------------------------------------------------------------------------------------


def test_a_run_becomes_one_parquet_file_with_its_figures(tmp_path: Path) -> None:
    run = made(tmp_path, "one")
    path = history.keep(run, settings(tmp_path))
    assert path == tmp_path / "home" / "history" / "one.parquet"
    assert pq.read_schema(path).metadata[b"schema_version"] == b"1"
    found = {(r.group, r.metric): r for r in history.rows(settings(tmp_path))}
    summary = rundir.decode(run.summary.read_bytes(), analyze.Summary, "summary.json")
    for group in summary.groups:
        stat = group.steps[0].latency["p50"]
        kept = found[group.name, "p50_ms"]
        assert (kept.value, kept.low, kept.high, kept.n) == (stat.value, stat.low, stat.high, stat.n)
        assert (kept.scenario, kept.started_at) == ("synthetic", "2026-11-22T18:00:00Z")
    assert ("alpha", "cold_ms") not in found  # missing is no row, and never zero


def test_both_sides_of_a_gate_keep_their_own_commit(tmp_path: Path) -> None:
    run = made(tmp_path, "gated")
    plan = run.read(run.plan, Plan)
    sides = {"alpha": "base", "beta": "head"}
    cells = tuple(replace(c, code_ref=sides[c.architecture]) if c.role == "subject" else c for c in plan.cells)  # type: ignore[arg-type]
    rundir.write(run.plan, rundir.encode(replace(plan, cells=cells, refs=gates.REFS)))
    analyze.analyze(run)
    history.keep(run, settings(tmp_path))
    found = {(r.group, r.commit[:1]) for r in history.rows(settings(tmp_path))}
    assert found == {("alpha @base", "b"), ("beta @head", "a")}


def test_a_run_analyzed_again_replaces_its_rows(tmp_path: Path) -> None:
    run = made(tmp_path, "one")
    before = (history.keep(run, settings(tmp_path)), history.rows(settings(tmp_path)))
    assert (history.keep(run, settings(tmp_path)), history.rows(settings(tmp_path))) == before


def test_rebuild_reads_the_run_directories_and_names_what_it_left_out(tmp_path: Path) -> None:
    made(tmp_path, "one")
    made(tmp_path, "two").summary.unlink()
    found = history.rebuild(settings(tmp_path))
    assert found.kept == ("one",)
    assert [name for name, why in found.left_out if "summary.json" in why] == ["two"]
    assert {r.run for r in history.rows(settings(tmp_path))} == {"one"}


def test_export_holds_every_row(tmp_path: Path) -> None:
    history.keep(made(tmp_path, "one"), settings(tmp_path))
    found = history.rows(settings(tmp_path))
    table = list(csv.DictReader(io.StringIO(history.csv(found))))
    assert [r["metric"] for r in table] == [r.metric for r in found]
    assert [float(r["value"]) for r in table] == [r.value for r in found]
    assert json.loads(history.as_json(found))[0].keys() == set(trend.FIELDS)


def test_what_is_not_there_is_an_error_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no history"):
        history.rows(settings(tmp_path))
    path = history.keep(made(tmp_path, "one"), settings(tmp_path))
    with pytest.raises(InputError, match="no run of 'other'") as error:
        history.rows(settings(tmp_path), "other")
    assert "synthetic" in error.value.hint
    with pytest.raises(InputError, match="no run has 'p98_ms'"):
        history.rows(settings(tmp_path), None, "p98_ms")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="cannot be read"):
        history.rows(settings(tmp_path))


def test_the_command_shows_exports_and_rebuilds(tmp_path: Path) -> None:
    made(tmp_path, "one")
    made(tmp_path, "two")
    words = ["--home", str(tmp_path / "home"), "--set", f"runs={tmp_path / 'runs'}"]
    shown = CliRunner().invoke(lab, [*words, "history", "synthetic", "--rebuild"], catch_exceptions=False)
    assert "wrote the rows of 2 runs again" in shown.stderr
    assert "alpha" in shown.stdout and "p50_ms" in shown.stdout and "cpu_ms" not in shown.stdout
    told = CliRunner().invoke(lab, [*words, "--json", "history", "--metric", "all"], catch_exceptions=False)
    assert {len(s["points"]) for s in json.loads(told.stdout)} == {2}
    kept = CliRunner().invoke(lab, [*words, "history", "--export", "csv", "--metric", "cpu_ms"], catch_exceptions=False)
    assert {r["metric"] for r in csv.DictReader(io.StringIO(kept.stdout))} == {"cpu_ms"}


# ---- series and change points ------------------------------------------------------------------------------------------


def test_machines_scenario_files_groups_and_metrics_are_never_joined() -> None:
    rows = [*walk([1.0] * 3), *walk([9.0] * 3, machine="other"), *walk([2.0] * 3, group="b"), *walk([3.0] * 3, scenario_sha256="1")]
    found = trend.series(rows)
    assert len(found) == 4
    assert all(len({p.value for p in s.points}) == 1 and not s.changes for s in found)


def test_points_stand_in_order_of_time() -> None:
    (found,) = trend.series(list(reversed(walk([1.0, 2.0, 3.0]))))
    assert [p.value for p in found.points] == [1.0, 2.0, 3.0]


def test_a_step_is_found_where_it_is() -> None:
    values = [*gates.noisy(20.0, 12, spread=0.02), *gates.noisy(23.0, 10, spread=0.02, seed=2)]
    (found,) = trend.changes(walk(values))
    assert found.run == "run-012" and found.commit == f"{12:040x}"
    assert found.ratio == pytest.approx(1.15, rel=0.01)
    shown = written.sparkline(values)
    assert len(shown) == 22 and max(shown[:12]) < min(shown[12:])


def test_noise_makes_no_change_points() -> None:
    rng = np.random.default_rng(3)
    for n in (12, 30, 60):
        series = np.exp(0.03 * rng.standard_normal((200, n)))
        assert np.mean([bool(trend.changes(walk(values))) for values in series.tolist()]) <= 0.05


def test_ten_per_cent_is_seen_within_a_run_or_two() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(100):
        values = np.exp(0.03 * rng.standard_normal(30))
        values[15:] *= 1.1
        found = trend.changes(walk(values.tolist()))
        hits += len(found) == 1 and abs(int(found[0].run[-3:]) - 15) <= 2
    assert hits >= 80


@pytest.mark.parametrize("values", [[1.0] * 5, [1.0] * 20, [0.0] * 20, [0.0, 0.1] * 10])
def test_too_few_equal_or_zero_figures_have_no_change(values: list[float]) -> None:
    assert trend.changes(walk(values)) == ()


def test_runs_that_tell_a_wide_interval_make_no_change_of_less() -> None:
    values = [20.0, 20.01, 20.02, 20.0, 20.01, 21.0, 21.01, 21.02, 21.0, 21.01]
    assert trend.changes(walk(values))
    assert not trend.changes([replace(p, low=p.value / 1.3, high=p.value * 1.3) for p in walk(values)])
