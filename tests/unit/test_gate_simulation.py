"""Thousands of gates at a fixed seed: how often A/A alarms, how often +10 % is found, and that the judge decides as the simulation does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lab.analysis.gate import decided, judge
from lab.analysis.spending import levels
from tests.gate_trials import LOOKS, drawn, outcomes, share
from tests.unit import gates

METRICS = ("p50_ms", "p95_ms", "cpu_ms", "memory_mib", "mean_ms")


@pytest.mark.parametrize("metrics", [1, 3, 5])
@pytest.mark.parametrize("spread", [0.01, 0.03, 0.1])
def test_a_a_alarms_in_at_most_one_gate_of_forty_even_where_the_limit_is_no_change_at_all(metrics: int, spread: float) -> None:
    base, head = drawn(8000, (1.0,) * metrics, spread)
    assert share(outcomes(base, head, limit=1.0)[0], "FAIL") <= 1 / 40


@pytest.mark.parametrize("metrics", [1, 3, 5])
def test_a_regression_exactly_at_the_limit_passes_in_at_most_one_gate_of_forty(metrics: int) -> None:
    base, head = drawn(8000, (1.05,) + (1.0,) * (metrics - 1))
    assert share(outcomes(base, head, limit=1.05)[0], "PASS") <= 1 / 40


def test_a_a_at_five_per_cent_never_alarms_and_mostly_passes() -> None:
    verdict, at = outcomes(*drawn(8000, (1.0,) * 3), limit=1.05)
    assert share(verdict, "FAIL") <= 1 / 1000
    assert share(verdict, "PASS") >= 0.95
    assert np.mean(at[verdict == "PASS"] < LOOKS[-1]) > 0.5  # most stop early


@pytest.mark.parametrize("slower", [1, 3])
def test_ten_per_cent_is_found_in_ninety_five_of_a_hundred(slower: int) -> None:
    verdict, _ = outcomes(*drawn(8000, (1.10,) * slower + (1.0,) * (3 - slower)), limit=1.05)
    assert share(verdict, "FAIL") >= 0.95
    assert share(verdict, "PASS") <= 1 / 1000


def test_without_correction_the_same_trials_would_alarm_too_often() -> None:
    """The simulation can fail: three looks at three metrics, each at 95 %."""
    base, head = drawn(8000, (1.0,) * 3)
    alarms = [(stats.ttest_1samp((head - base)[:, :, :n], 0.0, axis=-1).confidence_interval(0.95).low > 0).any(axis=1) for n in LOOKS]
    assert np.mean(np.any(alarms, axis=0)) > 0.08


@pytest.mark.parametrize(("effect", "limit"), [(1.0, "+5"), (1.1, "+5"), (1.05, "+5"), (1.0, "+0")])
def test_the_judge_decides_as_simulated(effect: float, limit: str) -> None:
    base, head = drawn(12, (effect, 1.0, 1.0), seed=11)
    plan = gates.plan(*(f"{metric} vs base < {limit} %" for metric in METRICS[:3]))
    expected, at = outcomes(base, head, 1 + float(limit) / 100)
    for trial in range(len(base)):
        for look in LOOKS:
            sides = [{m: np.exp(arm[trial, i, :look]) * 100 for i, m in enumerate(METRICS[:3])} for arm in (base, head)]
            found = gates.pair(*sides)
            if decided(found, plan, look):
                break
        assert (judge(found, plan).verdict, look) == (expected[trial], at[trial])


@pytest.mark.parametrize("looks", [(10, 15, 20), (20,), (5, 6, 7, 8, 9, 10), (2, 100)])
def test_what_the_looks_spend_adds_up_to_alpha(looks: tuple[int, ...]) -> None:
    spent = levels(looks, 0.05)
    assert sum(spent) == pytest.approx(0.05)
    assert all(s > 0 for s in spent) or len(looks) == 2
