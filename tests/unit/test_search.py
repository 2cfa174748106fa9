"""The search for the largest rate: its ends always enclose the true one, and on a simulated queue it finds what theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lab.analysis import search
from lab.model import Probe, Search

ASKED = Search(lowest_per_s=10.0, highest_per_s=1000.0, precision=1.1, percentile=95.0, limit_ms=250.0, error_rate_limit=0.01)
MU_PER_S, LIMIT_MS = 200.0, 60.0


def probe(rate: float, verdict: str, **changes: object) -> Probe:
    plain = {"step": 0, "rate_per_s": rate, "verdict": verdict, "upper_ms": 1.0, "error_rate": 0.0, "lag_p99_ms": 0.1}
    return Probe(**(plain | changes))  # type: ignore[arg-type]


def searched(asked: Search, true_per_s: float, over: str = "failed") -> list[Probe]:
    """All probes against a service that holds every rate up to the true one."""
    probes: list[Probe] = []
    while (rate := search.next_rate(asked, probes)) is not None:
        assert len(probes) < 100
        probes.append(probe(rate, "passed" if rate <= true_per_s else over))
    return probes


@given(st.floats(1.0, 50.0), st.floats(1.1, 1000.0), st.floats(1.01, 2.0), st.floats(0.1, 20_000.0))
def test_the_ends_enclose_the_true_rate_within_the_precision(lowest: float, span: float, precision: float, true: float) -> None:
    asked = Search(
        lowest_per_s=lowest, highest_per_s=lowest * span, precision=precision, percentile=95.0, limit_ms=1.0, error_rate_limit=0.0
    )
    probes = searched(asked, true)
    rates = [p.rate_per_s for p in probes]
    assert len(probes) <= asked.most_probes
    assert len(set(rates)) == len(rates) and rates[0] == lowest and max(rates) <= asked.highest_per_s
    found = search.outcome(asked, probes)
    if true < lowest:
        assert found.rate_per_s is None and len(probes) == 1
    elif true >= asked.highest_per_s:
        assert (found.rate_per_s, found.limit) == (asked.highest_per_s, "highest")
    else:
        assert found.rate_per_s is not None and found.limit == "service"
        above = min(r for r in rates if r > true)
        assert found.rate_per_s <= true < above and above <= precision * found.rate_per_s * (1 + 1e-9)


def test_rates_are_doubled_and_then_bisected() -> None:
    assert [p.rate_per_s for p in searched(ASKED, 100.0)] == [10, 20, 40, 80, 160, 113.1, 95.12, 103.7]


def test_a_late_driver_is_told_from_a_slow_service() -> None:
    found = search.outcome(ASKED, searched(ASKED, 100.0, "driver_limited"))
    assert found.limit == "driver" and found.rate_per_s == 95.12
    assert "the driver, not the service, was the limit" in found.sentence
    below = [probe(10, "passed"), probe(20, "passed"), probe(40, "driver_limited"), probe(28.28, "failed"), probe(23.78, "passed")]
    assert search.outcome(ASKED, below).limit == "service"  # it failed where the driver was in time


def test_a_queue_that_does_not_drain_ends_the_search() -> None:
    probes = [probe(10, "passed"), probe(20, "failed", recovered=False)]
    assert search.next_rate(ASKED, probes) is None
    found = search.outcome(ASKED, probes)
    assert (found.rate_per_s, found.limit) == (10, "queue") and "did not drain" in found.sentence


def test_the_lowest_rate_that_does_not_hold_is_no_rate() -> None:
    found = search.outcome(ASKED, [probe(10, "failed", upper_ms=None, error_rate=0.5)])
    assert found.rate_per_s is None and found.sentence.startswith("no rate was found; 10/s does not")


# ---- one window ------------------------------------------------------------------------------------------------------


def judged(latency_ms: NDArray[np.float64], asked: Search = ASKED, **changes: object) -> Probe:
    plain = {"step": 0, "rate_per_s": 10.0, "failed": 0, "offered": len(latency_ms), "lag_ms": np.zeros(10), "driver_share": 0.1}
    return search.judge(asked, latency_ms=latency_ms, **(plain | changes))  # type: ignore[arg-type]


def test_a_window_passes_with_confidence_or_not_at_all() -> None:
    fast = np.full(200, 20.0)
    assert judged(fast).verdict == "passed"
    nearly = np.sort(np.concatenate((np.full(192, 20.0), np.full(8, 900.0))))  # p95 is 20 ms, the upper end of its interval is not
    assert np.percentile(nearly, 95) == 20 and judged(nearly).verdict == "failed" and judged(nearly).upper_ms == 900
    assert judged(fast[:40]).verdict == "failed" and judged(fast[:40]).upper_ms is None  # 40 samples support no p95
    assert judged(fast, failed=3).verdict == "failed"
    assert judged(fast, lag_ms=np.full(50, 11.0)).verdict == "driver_limited"
    assert judged(fast, driver_share=0.95).verdict == "driver_limited"


def test_a_queue_that_grows_fails_by_the_spread_between_parts_of_the_window() -> None:
    growing = np.linspace(1.0, 260.0, 1000)  # p95 of all is 247 ms with a narrow interval of order statistics
    assert judged(growing).verdict == "failed"


def waits_ms(random: np.random.Generator, rate: float, seconds: float) -> NDArray[np.float64]:
    """Times in an M/M/1 queue that begins in its steady state."""
    count = int(rate * seconds)
    gaps, service = random.exponential(1 / rate, count), random.exponential(1 / MU_PER_S, count)
    wait = np.empty(count)
    wait[0] = random.exponential(1 / (MU_PER_S - rate)) if rate < MU_PER_S and random.random() < rate / MU_PER_S else 0.0
    for k in range(1, count):
        wait[k] = max(0.0, wait[k - 1] + service[k - 1] - gaps[k])
    found: NDArray[np.float64] = (wait + service) * 1e3
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_on_a_queue_the_found_rate_is_near_the_true_one(seed: int) -> None:
    """Time in an M/M/1 queue is exponential with mean 1 / (mu - rate): p95 is 60 ms at mu - ln(20) / 0.06 s = 150/s. Samples of one window
    are correlated, so some windows mislead; the upper end of the interval keeps what is found from lying far above."""
    true = MU_PER_S + math.log(1 - 0.95) / (LIMIT_MS / 1e3)
    random = np.random.default_rng(seed)
    asked = Search(lowest_per_s=10.0, highest_per_s=1000.0, precision=1.05, percentile=95.0, limit_ms=LIMIT_MS, error_rate_limit=0.01)
    probes: list[Probe] = []
    while (rate := search.next_rate(asked, probes)) is not None:
        probes.append(judged(waits_ms(random, rate, 60.0), asked, rate_per_s=rate, step=len(probes)))
    found = search.outcome(asked, probes).rate_per_s
    assert found is not None and 0.75 * true <= found <= 1.12 * true


def test_searches_on_a_queue_are_at_or_below_the_true_rate_nearly_always() -> None:
    true = MU_PER_S + math.log(1 - 0.95) / (LIMIT_MS / 1e3)
    asked = Search(lowest_per_s=10.0, highest_per_s=1000.0, precision=1.1, percentile=95.0, limit_ms=LIMIT_MS, error_rate_limit=0.01)
    found = []
    for seed in range(40):
        random, probes = np.random.default_rng(seed), list[Probe]()
        while (rate := search.next_rate(asked, probes)) is not None:
            probes.append(judged(waits_ms(random, rate, 60.0), asked, rate_per_s=rate, step=len(probes)))
        found.append(search.outcome(asked, probes).rate_per_s or 0.0)
    assert np.mean(np.asarray(found) <= true * 1.01) >= 0.9
    assert np.median(found) == pytest.approx(true, rel=0.15)
