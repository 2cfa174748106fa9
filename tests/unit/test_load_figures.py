"""What closed loops and searches become in a summary and on the page: no latency that hides waiting, and a rate with its interval."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lab import rundir
from lab.analysis.results import Summary
from lab.analysis.summarize import summarize
from lab.model import Load, Plan, Probe, Search
from lab.report import html, load, terminal
from lab.report.markdown import markdown
from lab.rundir import RunDir
from tests.unit.runs import Behaviour, Recipe, build

SEARCH = Search(lowest_per_s=10.0, highest_per_s=80.0, precision=2.0, percentile=95.0, limit_ms=250.0, error_rate_limit=0.01)
PASSED, FAILED, LATE = "passed", "failed", "driver_limited"


def reloaded(made: RunDir, changed: Callable[[Load], Load], probes: Mapping[str, tuple[str, ...]] | None = None) -> Summary:
    """The run with another load for its subjects, and with these verdicts of its windows by cell."""
    plan = made.read(made.plan, Plan)
    cells = tuple(replace(c, load=changed(c.load)) if c.role == "subject" else c for c in plan.cells)
    primary = next(c.load.rates_per_s[0] for c in cells if c.role == "subject")
    rundir.write(made.plan, rundir.encode(replace(plan, cells=cells, primary_rate_per_s=primary)))
    for cell, verdicts in (probes or {}).items():
        status = made.cell(cell).status()
        assert status is not None
        told = tuple(
            Probe(step=k, rate_per_s=10.0 * 2**k, verdict=v, upper_ms=300.0, error_rate=0.0, lag_p99_ms=12.0)  # type: ignore[arg-type]
            for k, v in enumerate(verdicts)
        )
        made.cell(cell).mark(replace(status, probes=told))
    return summarize(made)


def pages(summary: Summary) -> list[str]:
    return [markdown(summary), html.html(summary), terminal_text(summary)]


def terminal_text(summary: Summary) -> str:
    out = io.StringIO()
    Console(width=220, file=out).print(terminal.table(summary))
    return out.getvalue()


def closed(kind: str, requests: int = 200, ends: str = "requests") -> Callable[[Load], Load]:
    return lambda given: replace(given, kind=kind, rates_per_s=(0.0,), requests=requests, max_in_flight=1, ends=ends)  # type: ignore[arg-type]


def late(tmp_path: Path) -> RunDir:
    """Of alpha alone, by a driver that open loops would call late."""
    return build(tmp_path, Recipe(rates_per_s=(10.0,), architectures={"alpha": Behaviour(lag_ms=12.5)}))


@pytest.mark.parametrize("kind", ["single_stream", "offline"])
def test_a_closed_loop_has_service_times_and_says_what_it_hides(tmp_path: Path, kind: str) -> None:
    summary = reloaded(late(tmp_path), closed(kind))
    assert all(v.valid for v in summary.cells), summary.cells  # neither lag nor an offered rate is asked of it
    (group,), (step,) = summary.groups, summary.groups[0].steps
    assert all(s.value is None and "closed loop: hides waiting" in s.why_missing for s in step.latency.values())
    assert step.service["p50"].value == group.primary.value is not None
    assert not step.held and group.held_rate_per_s.why_missing == "a closed loop asks for no rate"
    assert step.achieved_per_s.value == pytest.approx(10, rel=0.05)
    for page in pages(summary):
        assert "closed loop: hides waiting" in page
        assert "alpha: " in page and "throughput" in page and " 0/s" not in page


def test_a_closed_loop_that_was_cut_off_is_invalid(tmp_path: Path) -> None:
    summary = reloaded(late(tmp_path), closed("offline", 500))
    assert "in the closed loop: 200 of 500 requests were sent within 20 s" in summary.cells[2].reasons


def test_a_closed_loop_that_its_window_ends_is_invalid_only_where_requests_ran_out(tmp_path: Path) -> None:
    assert all(v.valid for v in reloaded(late(tmp_path / "a"), closed("single_stream", 500, "window")).cells)
    spent = reloaded(late(tmp_path / "b"), closed("single_stream", 200, "window"))
    assert any("all 200 requests were sent before the window of 20 s ended" in reason for reason in spent.cells[2].reasons)


def searching(tmp_path: Path, verdicts: Mapping[str, tuple[str, ...]]) -> Summary:
    made = build(tmp_path, Recipe(rates_per_s=(10.0, 20.0, 40.0), architectures={"alpha": Behaviour()}))
    return reloaded(made, lambda given: replace(given, kind="search", rates_per_s=(10.0,), search=SEARCH), verdicts)


def three(*verdicts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {f"{k + 1:02d}-alpha-S": v for k, v in enumerate(verdicts)}


def test_a_search_has_the_mean_over_deployments_with_its_interval(tmp_path: Path) -> None:
    summary = searching(tmp_path, three((PASSED, PASSED, FAILED), (PASSED, FAILED, FAILED), (PASSED, PASSED, FAILED)))
    (group,) = summary.groups
    held = group.held_rate_per_s
    assert held.value == pytest.approx((20 * 10 * 20) ** (1 / 3)) and held.low is not None and held.high is not None and held.n == 3
    assert held.low < held.value < held.high
    assert [s.rate_per_s for s in group.steps] == [10, 20, 40]
    assert group.search is not None and group.search[0].startswith("20/s meets p95 within 250 ms; 40/s does not (p95 up to 300 ms")
    assert group.search[0].endswith("(2 deployments)") and group.search[1].startswith("10/s meets")
    for page in pages(summary):
        assert "15.9" in page and "20/s meets p95 within 250 ms" in page


def test_a_search_that_the_driver_limited_gives_a_lower_bound_and_says_so(tmp_path: Path) -> None:
    summary = searching(tmp_path, three(*[(PASSED, PASSED, LATE)] * 3))
    held = summary.groups[0].held_rate_per_s
    assert (held.value, held.low, held.high) == (20, 20, None)
    for page in pages(summary):
        assert "the driver, not the service, was the limit" in page and "≥ 20" in page


def test_a_search_that_found_no_rate_gives_none(tmp_path: Path) -> None:
    summary = searching(tmp_path, three((PASSED, FAILED, FAILED), (FAILED, FAILED, FAILED), (PASSED, FAILED, FAILED)))
    held = summary.groups[0].held_rate_per_s
    assert held.value is None and held.why_missing == "1 of 3 deployments held no rate from 10/s up"


def test_a_server_is_judged_by_the_slo(tmp_path: Path) -> None:
    made = build(tmp_path, Recipe(rates_per_s=(10.0, 20.0), architectures={"alpha": Behaviour()}, slo_ms=15.0))
    summary = reloaded(made, lambda given: replace(given, kind="server"))
    assert load.said(summary)[1] == "alpha: does not meet p95 within 15 ms at 10/s, does not meet p95 within 15 ms at 20/s"
