"""The lessons' own checks: what they find in runs and summaries whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest

from lab import registry, rundir
from lab.analysis.results import Summary
from lab.analysis.summarize import summarize
from lab.model import Plan
from lab.rundir import RunDir
from lab.workshops import Evidence, Truth
from tests.unit import summaries
from tests.unit.runs import FIRST_WINDOW_S, Recipe, build, table


def checks(name: str) -> ModuleType:
    return registry.lesson(registry.workshops()[name] / "check.py")


def truths(name: str, evidence: Evidence) -> dict[str, Truth]:
    return {q.id: q.truth(evidence) for q in checks(name).QUESTIONS}


# ---- break-even ------------------------------------------------------------------------------------------------------


def break_even(tmp_path: Path, summary: Summary) -> dict[str, Truth]:
    run = build(tmp_path / "run", Recipe())
    return truths("break-even", Evidence(runs={"break-even": run}, summaries={"break-even": summary}))


def measured(**changes: object) -> Summary:
    """Machines and functions; one of these runs for 4.2 ms, 4.6 ms ... at a time."""
    functions = tuple(replace(s, durations_ms=(4.2, 4.6, 9.7)) if s.billing == "function" else s for s in summaries.SERVICES["serverless"])
    groups = (summaries.group("three_tier"), summaries.group("serverless", services=functions))
    return summaries.summary(groups=groups, traffic_per_s=(1.0, 100.0), **changes)


def test_break_even_is_worked_out_from_the_run(tmp_path: Path) -> None:
    found = break_even(tmp_path, measured())
    assert found["cheaper_at_1_per_s"].shows == "serverless"
    assert found["cheaper_at_100_per_s"].shows == "three_tier"
    even, spot = found["break_even_per_s"], found["spot_break_even_per_s"]
    assert isinstance(even.shows, float) and isinstance(spot.shows, float)
    assert 1 < spot.shows < even.shows < 100, "cheaper machines are worth it sooner"
    assert even.low is not None and even.high is not None
    assert even.low < even.shows < even.high
    assert all(t.why for t in found.values())


def test_dearer_functions_move_the_break_even_down(tmp_path: Path) -> None:
    summary = measured()
    dear = tuple(
        replace(s, billed_ms_per_request=10 * (s.billed_ms_per_request or 0.0)) if s.billing == "function" else s
        for s in summary.groups[1].services
    )
    slow = replace(summary, groups=(summary.groups[0], replace(summary.groups[1], services=dear)))
    before, after = (break_even(tmp_path / name, s)["break_even_per_s"].shows for name, s in (("a", summary), ("b", slow)))
    assert isinstance(before, float) and isinstance(after, float)
    assert after < before / 2


def test_memory_moves_it_only_where_memory_decided_the_price(tmp_path: Path) -> None:
    assert break_even(tmp_path / "a", measured())["double_memory"].shows == "it stays"
    throttled = break_even(tmp_path / "b", measured(enforcement="enforced"))["double_memory"]
    assert throttled.shows != "it stays"
    assert "512 MB" in throttled.why


def test_rounding_costs_short_invocations_most(tmp_path: Path) -> None:
    """About 10 ms become 100 (starts are long either way, so it is less than ten times); 100 to 200 ms become 200 or 300."""
    summary = measured()
    longer = tuple(
        replace(s, billed_ms_per_request=150.0, durations_ms=(110.0, 150.0, 190.0)) if s.billing == "function" else s
        for s in summary.groups[1].services
    )
    slow = replace(summary, groups=(summary.groups[0], replace(summary.groups[1], services=longer)))
    quick, lengthy = (break_even(tmp_path / name, s)["rounding_to_100_ms"].shows for name, s in (("a", summary), ("b", slow)))
    assert isinstance(quick, float) and isinstance(lengthy, float)
    assert 4 < quick < 12
    assert 1.2 < lengthy < 1.5


def test_half_the_price_is_judged_by_what_else_is_in_the_bill(tmp_path: Path) -> None:
    found = break_even(tmp_path, measured())["half_duration_price"]
    assert found.shows in ("less than twice", "about twice", "more than twice")
    assert "%" in found.why


def test_a_run_without_intervals_cannot_tell_who_is_cheaper(tmp_path: Path) -> None:
    def bare(group: summaries.Group) -> summaries.Group:
        return replace(
            group,
            services=tuple(
                replace(
                    s,
                    cpu_ms_per_request=replace(s.cpu_ms_per_request, low=None, high=None),
                    start_s=replace(s.start_s, low=None, high=None),
                )
                for s in group.services
            ),
        )

    summary = measured()
    found = break_even(tmp_path, replace(summary, groups=tuple(map(bare, summary.groups))))
    assert found["cheaper_at_1_per_s"].shows is None
    assert "missing" in found["cheaper_at_1_per_s"].why


# ---- stall -----------------------------------------------------------------------------------------------------------

RATE_PER_S, WINDOW_S, FREEZES_S, SERVICE_S = 200.0, 30.0, (5.0, 15.0, 25.0), 0.002


def frozen(at_s: float) -> float:
    """When an answer to what was sent at `at_s` comes: as usual, or when the freeze of a second ends."""
    end_s = next((f + 1.0 for f in FREEZES_S if f <= at_s < f + 1.0), at_s)
    return end_s + SERVICE_S


def stall_run(root: Path, sent_s: np.ndarray) -> RunDir:
    """A run in which the service was frozen; samples are replaced by those of that load."""
    run = build(root, Recipe(architectures={"three_tier": Recipe().architectures["alpha"]}, deployments=1, rates_per_s=(RATE_PER_S,),
                             window_s=WINDOW_S, floor=False, primary_metric="p99_ms"))  # fmt: skip
    (cell,) = run.read(run.plan, Plan).cells
    sent = FIRST_WINDOW_S + sent_s
    done = FIRST_WINDOW_S + np.array([frozen(t) for t in sent_s])
    n = len(sent)
    part = {
        "operation": np.full(n, "classify"),
        "phase": np.full(n, "window"),
        "step": np.zeros(n, int),
        "intended_s": sent,
        "sent_s": sent,
        "done_s": done,
        "status": np.full(n, 200),
        "ok": np.ones(n, bool),
        "correct": np.ones(n),
        "cold": np.zeros(n, bool),
        "server_timing": np.full(n, ""),
    }
    pq.write_table(table([part]), run.cell(cell.id).samples)
    return run


def closed_loop() -> np.ndarray:
    sent = [0.0]
    while (answered := frozen(sent[-1])) < WINDOW_S:
        sent.append(answered)
    return np.array(sent)


def test_the_stall_is_what_theory_says_and_the_closed_loop_hides_it(tmp_path: Path) -> None:
    module = checks("stall")
    runs = {
        module.OPEN: stall_run(tmp_path / "open", (np.arange(RATE_PER_S * WINDOW_S) + 0.5) / RATE_PER_S),
        module.CLOSED: stall_run(tmp_path / "closed", closed_loop()),
    }
    found = truths("stall", Evidence(runs=runs, summaries={name: summarize(run) for name, run in runs.items()}))
    assert found["open_p99_ms"].shows == pytest.approx(900, rel=0.02)
    assert found["open_slow_percent"].shows == pytest.approx(9.0, rel=0.03)
    assert found["closed_p99_ms"].shows == pytest.approx(1e3 * SERVICE_S, rel=0.01)
    assert found["closed_slow_requests"].shows == len(FREEZES_S)
    assert found["times_hidden"].shows == pytest.approx(450, rel=0.03)
    assert "theory: 900 ms" in found["open_p99_ms"].why
    assert rundir.encode(found)


def test_a_closed_loop_that_met_no_freeze_cannot_tell(tmp_path: Path) -> None:
    module = checks("stall")
    run = stall_run(tmp_path / "closed", np.linspace(0.0, 4.9, 6000))
    evidence = Evidence(runs={module.CLOSED: run}, summaries={module.CLOSED: summarize(run)})
    found = module.met(evidence)
    assert found.shows is None
    assert "none of 6000" in found.why
