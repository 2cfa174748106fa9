"""Kinds of load: what each compiles to, and every bad input with its line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lab import plan, rundir, scenario, trace
from lab.contracts import Capabilities
from lab.errors import InputError
from lab.load import schedule
from lab.model import Cell, Load, Operation, Plan
from lab.report.load import planned
from lab.settings import Settings

PINNED = Capabilities(isolation="pinned", enforcement="affinity", scales_to_zero=True, measures_usage=True, driver_cpus=(0, 1, 2))
OPERATIONS = (Operation(name="a", kind="read", method="GET", path="/a", stages=(), weight=1.0),)


def written(folder: Path, load: str, more: str = "") -> Path:
    path = folder / "mine.yaml"
    path.write_text(f"kind: serve\nworkload: noop\narchitectures: [three_tier]\ndeployments: 2\nload:\n  {load}\n{more}")
    return path


def compiled(folder: Path, load: str, more: str = "", settings: Settings | None = None, driver: float | None = None) -> Plan:
    found = scenario.load(str(written(folder, load, more)))
    return plan.compile(found, settings or Settings(), PINNED, rate_per_driver_per_s=driver)


def subject(found: Plan) -> Cell:
    return next(c for c in found.cells if c.role == "subject")


def lines(*parts: str) -> str:
    return "\n  ".join(parts)


def csv(folder: Path, *rows: object) -> str:
    (folder / "trace.csv").write_text("".join(f"{row}\n" for row in rows))
    return lines("kind: replay", "trace: trace.csv")


LADDER_FIELDS = ("rates_per_s", "window_s", "warmup_max_s", "warmup_rate_per_s", "drain_s", "timeout_s", "arrival", "cold_requests")

# ---- what they compile to --------------------------------------------------------------------------------------------


def test_without_a_kind_it_is_a_ladder(tmp_path: Path) -> None:
    assert (
        subject(compiled(tmp_path, "rates_per_s: [5, 10]")).load
        == subject(compiled(tmp_path, lines("kind: ladder", "rates_per_s: [5, 10]"))).load
    )


@pytest.mark.parametrize(("rate", "rates"), [("20", (20.0,)), ("[20, 40]", (20.0, 40.0))])
def test_a_server_has_one_rate_or_several(tmp_path: Path, rate: str, rates: tuple[float, ...]) -> None:
    load = subject(compiled(tmp_path, lines("kind: server", f"rate_per_s: {rate}", "arrival: constant"))).load
    assert (load.kind, load.rates_per_s, load.arrival, load.closed) == ("server", rates, "constant", False)


@pytest.mark.parametrize(
    ("load", "mean", "peak"),
    [
        (lines("kind: burst", "base_per_s: 10", "peak_per_s: 100", "burst_s: 1", "every_s: 5", "window_s: 10"), 28.0, 100.0),
        (lines("kind: burst", "base_per_s: 10", "peak_per_s: 100", "burst_s: 1", "every_s: 4", "window_s: 6"), 25.0, 100.0),
        (lines("kind: ramp", "from_per_s: 90", "to_per_s: 10", "window_s: 10"), 50.0, 90.0),
        (lines("kind: diurnal", "low_per_s: 10", "high_per_s: 50", "day_s: 10", "window_s: 20"), 30.0, 50.0),
    ],
)
def test_a_shape_is_one_window_whose_rate_is_its_mean(tmp_path: Path, load: str, mean: float, peak: float) -> None:
    found = compiled(tmp_path, load + "\n  arrival: constant")
    made = subject(found).load
    assert made.rates_per_s == pytest.approx((mean,)) and made.peak_per_s == pytest.approx(peak)
    assert found.primary_rate_per_s == made.rates_per_s[0]
    arrivals = schedule.windows(made, OPERATIONS, 1)
    assert abs(len(arrivals) - mean * made.window_s) <= 1 and set(arrivals.step.tolist()) == {0}
    assert f"about {round(mean * made.window_s)} requests" in planned(made)


def test_a_burst_comes_at_the_end_of_each_period(tmp_path: Path) -> None:
    load = lines("kind: burst", "base_per_s: 10", "peak_per_s: 100", "burst_s: 1", "every_s: 5", "window_s: 10", "arrival: constant")
    at = schedule.windows(subject(compiled(tmp_path, load)).load, OPERATIONS, 1).offset_s
    assert np.histogram(at, bins=range(11))[0] == pytest.approx([10, 10, 10, 10, 100, 10, 10, 10, 10, 100], abs=1)


def test_a_day_is_lowest_at_midnight_and_highest_at_noon(tmp_path: Path) -> None:
    load = lines("kind: diurnal", "low_per_s: 10", "high_per_s: 100", "window_s: 24", "arrival: constant")
    hours = np.histogram(schedule.windows(subject(compiled(tmp_path, load)).load, OPERATIONS, 1).offset_s, bins=range(25))[0]
    assert hours[0] <= 12 and hours[23] <= 12 and max(hours) in hours[11:13] and max(hours) >= 97
    assert hours[6] == pytest.approx(hours[17], abs=2)


def test_a_trace_is_replayed_at_its_gaps_and_stands_in_the_plan(tmp_path: Path) -> None:
    found = compiled(tmp_path, csv(tmp_path, "timestamp_s", 100, 101, 101, 104.5))
    load = subject(found).load
    assert load.trace is not None and load.trace.offsets_s == (0.0, 1.0, 1.0, 4.5) and len(load.trace.sha256) == 64
    assert load.window_s == pytest.approx(6.0) and load.rates_per_s == (0.6667,) and load.peak_per_s == 3
    assert schedule.windows(load, OPERATIONS, 1).offset_s.tolist() == [0.0, 1.0, 1.0, 4.5]
    (tmp_path / "trace.csv").unlink()
    assert rundir.decode(rundir.encode(found), Plan, "test") == found  # nothing else is needed


def test_speed_divides_the_gaps(tmp_path: Path) -> None:
    load = subject(compiled(tmp_path, csv(tmp_path, 0, 2, 6) + "\n  speed: 2")).load
    assert load.trace is not None and load.trace.offsets_s == (0.0, 1.0, 3.0) and load.window_s == pytest.approx(4.5)


def test_a_heading_names_the_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,timestamp_s\r\na,5\r\nb,7\r\n\r\n")
    assert trace.read(tmp_path / "t.csv").offsets_s == (0.0, 2.0)


@pytest.mark.parametrize(("kind", "in_flight"), [("single_stream", 1), ("offline", 16)])
def test_closed_loops_are_marked_and_ask_for_no_rate(tmp_path: Path, kind: str, in_flight: int) -> None:
    found = compiled(tmp_path, lines(f"kind: {kind}", "requests: 50"))
    load = subject(found).load
    assert load.closed and (load.requests, load.max_in_flight, load.rates_per_s) == (50, in_flight, (0.0,))
    assert all(c.load.closed for c in found.cells)  # so that the floor is that of the same loop
    assert len(schedule.windows(load, OPERATIONS, 1)) == 50
    assert schedule.warmup(load, OPERATIONS, 1).offset_s.size


def test_a_closed_loop_may_end_with_its_window(tmp_path: Path) -> None:
    load = subject(compiled(tmp_path, lines("kind: single_stream", "requests: 5000", "ends: window", "window_max_s: 30"))).load
    assert (load.ends, load.requests, load.window_s) == ("window", 5000, 30.0)
    assert planned(load) == "single_stream: as many requests as fit into 30 s, 1 at once"
    assert "5000 requests, 1 at once, 30 s at most" in planned(dataclasses.replace(load, ends="requests"))


def test_a_search_knows_the_slo_and_its_most_probes(tmp_path: Path) -> None:
    found = compiled(tmp_path, lines("kind: search", "lowest_per_s: 50"), "slo: {latency_ms: 80}\n", driver=400.0)
    load = subject(found).load
    assert load.search is not None and (load.search.highest_per_s, load.search.limit_ms, load.search.percentile) == (400.0, 80.0, 95.0)
    assert load.search.most_probes == 7 and "7 probes at most" in planned(load)
    assert found.primary_rate_per_s == 50
    assert [c.load.kind for c in found.cells if c.role != "subject"] == ["ladder", "ladder"]


def test_processes_come_from_what_one_driver_sends(tmp_path: Path) -> None:
    load = lines("kind: ramp", "from_per_s: 10", "to_per_s: 900", "window_s: 10")
    assert subject(compiled(tmp_path, load)).drivers == 1
    assert subject(compiled(tmp_path, load, driver=400.0)).drivers == 3
    assert subject(compiled(tmp_path, lines("kind: offline", "requests: 5000"), driver=1.0)).drivers == 1


def test_a_load_comes_out_of_the_plan_as_it_went_in(tmp_path: Path) -> None:
    for load in ("kind: single_stream", lines("kind: search", "lowest_per_s: 50")):
        made = subject(compiled(tmp_path, load)).load
        assert rundir.decode(rundir.encode(made), Load, "test") == made


def test_a_plan_of_before_has_ladders(tmp_path: Path) -> None:
    made = subject(compiled(tmp_path, "rates_per_s: [5]")).load
    old = {k: v for k, v in dataclasses.asdict(made).items() if k in LADDER_FIELDS}
    assert rundir.decode(rundir.encode(old), Load, "test") == made


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "problems"),
    [
        ("kind: lader", ["6: load.kind: found 'lader', wanted ladder or server or"]),
        (lines("kind: server", "rate_per_s: 0", "windows: 3"), ["7: load.rate_per_s[0]: found 0, wanted", "8: load.windows: found an"]),
        (lines("kind: server", "rate_per_s: [5, 5]"), ["7: load.rate_per_s: found [5, 5], wanted rates that rise"]),
        ("kind: ramp", ["5: load.from_per_s: found nothing", "5: load.to_per_s: found nothing"]),
        (lines("kind: burst", "base_per_s: 5", "peak_per_s: 4", "burst_s: 1", "every_s: 2"), ["wanted peak_per_s above base_per_s (5)"]),
        (lines("kind: burst", "base_per_s: 5", "peak_per_s: 9", "burst_s: 3", "every_s: 2"), ["wanted burst_s < every_s <= window_s (5)"]),
        (lines("kind: diurnal", "low_per_s: 5", "high_per_s: 5"), ["wanted high_per_s above low_per_s (5)"]),
        (lines("kind: search", "lowest_per_s: 50", "highest_per_s: 50"), ["wanted highest_per_s above lowest_per_s (50)"]),
        (lines("kind: search", "lowest_per_s: 50", "precision: 1"), ["8: load.precision: found 1, wanted"]),
        (lines("kind: offline", "max_in_flight: 0", "arrival: poisson"), ["7: load.max_in_flight", "8: load.arrival: found an"]),
        (lines("kind: single_stream", "requests: 0", "rates_per_s: [5]"), ["7: load.requests: found 0", "8: load.rates_per_s: found an"]),
        (lines("kind: replay", "trace: absent.csv"), ["7: load.trace: found 'absent.csv', wanted a trace that can be replayed: trace "]),
        ("[5]", ["load: found [5], wanted"]),
    ],
)  # fmt: skip
def test_bad_loads_are_told_all_at_once_with_their_lines(tmp_path: Path, load: str, problems: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        scenario.load(str(written(tmp_path, load)))
    assert len(caught.value.problems) == len(problems), caught.value.problems
    for found, start in zip(caught.value.problems, problems, strict=True):
        assert start in found


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((), "trace.csv:1: found 0 timestamps"),
        (("timestamp_s",), "trace.csv:1: found 0 timestamps"),
        ((1,), "trace.csv:1: found 1 timestamps"),
        ((3, 3), "wanted at least two at different times"),
        ((1, 2, "soon"), "trace.csv:3: found 'soon', wanted seconds as a number"),
        ((1, "nan"), "trace.csv:2: found 'nan', wanted seconds as a number"),
        (("timestamp_s", 1, 5, 4), "trace.csv:4: found 4, wanted 5 (of line 3) or later: timestamps must rise"),
        ((0, 4000), "found 4000 s at speed 1, wanted 3600 s at most"),
        (range(10_001), "found 10001 timestamps, wanted 10000 at most"),
    ],
)
def test_a_trace_that_cannot_be_replayed_names_file_and_line(tmp_path: Path, rows: tuple[object, ...], said: str) -> None:
    with pytest.raises(InputError) as caught:
        scenario.load(str(written(tmp_path, csv(tmp_path, *rows))))
    (problem,) = caught.value.problems
    assert "mine.yaml:7: load.trace: found 'trace.csv'" in problem and said in problem


def test_a_first_probe_that_supports_no_percentile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 5 requests in the first probe, wanted 101 for p95") as caught:
        compiled(tmp_path, lines("kind: search", "lowest_per_s: 1"))
    assert "window_s 101" in caught.value.hint


@pytest.mark.parametrize("load", ["kind: offline", lines("kind: search", "lowest_per_s: 50")])
def test_several_drivers_cannot_share_what_depends_on_answers(tmp_path: Path, load: str) -> None:
    with pytest.raises(InputError, match="driver_processes: found 3, wanted 1"):
        compiled(tmp_path, load, "floor: false\n", Settings(driver_processes=3))


def test_a_closed_loop_has_no_primary_rate(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="primary_rate_per_s: found 5, wanted none: a closed loop asks for no rate"):
        compiled(tmp_path, "kind: offline", "primary_rate_per_s: 5\n")
