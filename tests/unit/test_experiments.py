"""The experiments' verdicts on summaries whose truth is known: what reaches a goal, what misses it, and what may not be used at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks import experiment_aa, experiment_invalid, experiment_stall
from lab import rundir
from lab.analysis.gate import judge
from lab.analysis.results import CellVerdict, Summary
from lab.analysis.summarize import summarize
from lab.errors import InputError
from lab.model import Plan
from lab.rundir import RunDir
from tests import repositories
from tests.unit import gates, summaries
from tests.unit.test_lessons import RATE_PER_S, WINDOW_S, closed_loop, stall_run

# ---- the stall -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stall(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Summary]:
    """The open loop, and the same in a closed one."""
    root = tmp_path_factory.mktemp("stall")
    opened = stall_run(root / "open", (np.arange(RATE_PER_S * WINDOW_S) + 0.5) / RATE_PER_S)
    closed = stall_run(root / "closed", closed_loop())
    plan = closed.read(closed.plan, Plan)
    load = replace(plan.cells[0].load, kind="single_stream", rates_per_s=(0.0,), requests=50_000, max_in_flight=1, ends="window")
    cells = (replace(plan.cells[0], load=load),)
    rundir.write(closed.plan, rundir.encode(replace(plan, cells=cells, primary_rate_per_s=0.0, primary_metric="p50_ms")))
    return summarize(opened), summarize(closed)


def test_the_stall_reaches_its_goals_where_it_is_what_theory_says(stall: tuple[Summary, Summary]) -> None:
    found = experiment_stall.judge(*stall)
    assert found.code == 0, found.lines
    _, opened, closed, theory, p99, hides = found.lines
    assert [float(word) for word in opened.split()[-4:]] == pytest.approx([6000, 2, 502, 902], rel=0.01)
    assert closed.split()[-3:] == ["2.0", "2.0", "2.0"] and theory.split()[-2:] == ["500.0", "900.0"]
    assert "reached" in p99 and "reached" in hides


def test_a_stall_that_nobody_sees_misses_both_goals(stall: tuple[Summary, Summary]) -> None:
    """The open loop's run replaced by one whose latencies are the closed loop's."""
    opened, closed = stall
    step = replace(opened.groups[0].steps[0], latency=closed.groups[0].steps[0].service)
    blind = replace(opened, groups=(replace(opened.groups[0], steps=(step,)),))
    found = experiment_stall.judge(blind, closed)
    assert found.code == 1 and [line.split()[-1] for line in found.lines[-2:]] == ["MISSED", "MISSED"]


def test_an_invalid_stall_says_so_and_shows_no_figure(stall: tuple[Summary, Summary]) -> None:
    opened, closed = stall
    cell = replace(closed.cells[0], valid=False, reasons=("the hypervisor took 9.0% of the CPU; limit 5%",))
    bad = replace(closed, cells=(cell,), groups=(replace(closed.groups[0], valid_deployments=0, steps=()),))
    found = experiment_stall.judge(opened, bad)
    assert found.code == 4
    assert found.lines == (f"experiments/stall-closed is INVALID: {cell.cell}: the hypervisor took 9.0% of the CPU; limit 5%",)


# ---- what must end INVALID -------------------------------------------------------------------------------------------


def ended(*reasons: str) -> Summary:
    cell = CellVerdict(cell="01-three_tier-S", group="three_tier", block=0, valid=not reasons, reasons=reasons)
    return summaries.summary(cells=(cell,))


@pytest.mark.parametrize(
    ("reasons", "right", "says"),
    [
        (("at 20/s: other programs used 0.71 of a core; limit 0.25",), True, "INVALID: at 20/s: other programs"),
        ((), False, "VALID: 01-three_tier-S"),
        (("the driver dropped 3 of 160 requests; limit 0",), False, "INVALID for another reason: the driver dropped"),
        (
            ("at 20/s: other programs used 0.71 of a core; limit 0.25", "the planned neighbour at 0.5 s did not happen"),
            False,
            "INVALID for another reason: the planned neighbour",
        ),
    ],
)
def test_only_the_planned_reason_counts(reasons: tuple[str, ...], right: bool, says: str) -> None:
    found, line = experiment_invalid.judge(experiment_invalid.NEIGHBOUR, ended(*reasons))
    assert found is right and line.startswith(says)


# ---- A/A and planted -------------------------------------------------------------------------------------------------

TEXTS = tuple(f"{metric} vs base < +5 %" for metric in experiment_aa.METRICS)


def judged(root: Path, kind: experiment_aa.Kind, effect: float, seed: int, minutes: float = 3.0) -> experiment_aa.Trial:
    """A trial of a run directory that the gate has judged: p50 and CPU differ by `effect`."""
    effects = {"p50_ms": effect, "cpu_ms": effect, "memory_mib": 1.0}
    base, head = (
        {m: gates.noisy(20 * (e if side else 1.0), 10, spread=0.01, seed=seed + 7 * i + side) for i, (m, e) in enumerate(effects.items())}
        for side in (0, 1)
    )
    summary, plan, run = gates.pair(base, head), gates.plan(*TEXTS), RunDir(root / f"{kind}-{seed}")
    rundir.write(run.summary, rundir.encode(summary))
    rundir.write(run.root / "verdict.json", rundir.encode(judge(summary, plan)))
    return experiment_aa.tried(kind, run, minutes)


def simulated(trials: Sequence[experiment_aa.Trial]) -> dict[str, float]:
    """Per cent of the simulated gates, by what is said of them."""
    found = [re.search(r"([\d.]+)% (.+)$", line) for line in experiment_aa.simulated(trials, (10, 15, 20), 2000)[1:]]
    return {match[2]: float(match[1]) for match in found if match}


def test_trials_that_are_right_reach_every_goal(tmp_path: Path) -> None:
    trials = [judged(tmp_path, kind, effect, seed) for seed in range(40) for kind, effect in (("same", 1.0), ("slower", 1.1))]  # type: ignore[arg-type]
    reached, lines = experiment_aa.table(trials)
    assert reached, lines
    assert "0 of 40" in lines[0] and "40 of 40" in lines[1] and "3.0 minutes" in lines[2]
    assert not [line for line in lines if "settle nothing" in line]
    for metric in experiment_aa.METRICS:
        assert experiment_aa.spread(trials, metric) == pytest.approx(0.01, rel=0.15)
    assert experiment_aa.planted(trials, "p50_ms") == pytest.approx(1.1, rel=0.01)
    shares = simulated(trials)
    assert shares["false alarms"] < 0.1 and shares["found"] > 99 and shares["pass"] > 99 and 0 < shares["wrongly pass"] <= 2.5


def test_two_false_alarms_or_three_that_were_not_found_miss_the_goals(tmp_path: Path) -> None:
    same, alarm = judged(tmp_path, "same", 1.0, 1), replace(judged(tmp_path, "same", 1.1, 2), minutes=11.0)
    found, lost = judged(tmp_path, "slower", 1.1, 3), judged(tmp_path, "slower", 1.0, 4)
    assert (same.verdict, alarm.verdict, found.verdict, lost.verdict) == ("PASS", "FAIL", "FAIL", "PASS")
    for wrong, line in ((1, "reached"), (2, "MISSED")):
        _, lines = experiment_aa.table([*[same] * (40 - wrong), *[alarm] * wrong, *[found] * 40])
        assert lines[0].endswith(line) and lines[2].endswith("MISSED"), lines
    for wrong, line in ((2, "reached"), (3, "MISSED")):
        _, lines = experiment_aa.table([*[same] * 40, *[found] * (40 - wrong), *[lost] * wrong])
        assert lines[1].endswith(line), lines
    assert "settle nothing" in experiment_aa.table([same, found])[1][-1]


def test_a_wide_spread_is_not_simulated_away(tmp_path: Path) -> None:
    trial = judged(tmp_path, "same", 1.0, 1)
    wild = replace(trial, metrics={m: replace(v, changes=tuple(20 * c for c in v.changes)) for m, v in trial.metrics.items()})
    assert simulated([wild])["found"] < 50


def test_trials_are_kept_and_another_gate_is_refused(tmp_path: Path) -> None:
    bench = experiment_aa.Bench(folder=tmp_path, deployments=20)
    assert (bench.looks, bench.trials()) == ((10, 15, 20), [])
    bench.stand()
    tags = {name: repositories.git(bench.repository, "show", f"{name}:busy.py") for name in ("same", "slower")}
    same, slower = (int(text.rpartition(" ")[2]) for text in tags.values())
    assert slower == round(1.1 * same) and same > 1000
    trial = judged(tmp_path, "same", 1.0, 1)
    rundir.append(bench.kept, msgspec.json.encode(trial) + b"\n")
    assert bench.trials() == [trial]
    bench.stand()
    with pytest.raises(SystemExit, match="another gate"):
        replace(bench, deployments=12).stand()
    rundir.append(bench.kept, b'{"kind": "sa')
    with pytest.raises(InputError, match=r"trials\.jsonl"):
        bench.trials()
