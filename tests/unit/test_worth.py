"""How often the interval of a merged quantile holds the truth, and how often it is withheld: of independent requests and in queues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from numpy.typing import NDArray
from scipy import stats as known

from lab.analysis import stats, worth
from tests import queues

TRIALS = 300
SLACK = 3 * (0.05 * 0.95 / TRIALS) ** 0.5  # three standard errors of a share of 5 % in so many trials


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Shares of all trials."""

    given: float
    wrong: float


def seen(latencies: NDArray[np.float64], truth: float, q: float) -> Seen:
    """`latencies`: [request, trial, deployment]."""
    given = wrong = 0
    for trial in range(latencies.shape[1]):
        windows = [_runs(latencies[:, trial, i]) for i in range(latencies.shape[2])]
        found = stats.quantile_stat(np.sort(latencies[:, trial].ravel()), q, "ms", windows)
        if found.low is not None and found.high is not None:
            given += 1
            wrong += not found.low <= truth <= found.high
    return Seen(given=given / latencies.shape[1], wrong=wrong / latencies.shape[1])


def _runs(latencies: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    return worth.runs(latencies, np.arange(len(latencies)) / len(latencies))


# ---- known distributions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.0, 0.05])
@pytest.mark.parametrize("q", [0.5, 0.95])
@pytest.mark.parametrize("deployments", [3, 5, 7, 10, 20])
def test_independent_requests_get_an_interval_that_covers(deployments: int, q: float, spread: float) -> None:
    """Lognormal, with and without a spread between deployments."""
    random = np.random.default_rng([deployments, round(100 * q)])
    drawn = np.exp(random.normal(0, spread, (1, TRIALS, deployments)) + random.normal(0, 0.3, (200, TRIALS, deployments)))
    found = seen(drawn, float(np.exp(np.hypot(0.3, spread) * known.norm.ppf(q))), q)
    assert found.wrong <= 0.05 + SLACK
    assert found.given >= (0.97 if deployments >= 7 or q == 0.5 else 0.1)


def test_one_window_of_independent_requests_is_enough_for_a_median() -> None:
    found = seen(np.random.default_rng(4).lognormal(0, 0.3, (60, TRIALS, 1)), 1.0, 0.5)
    assert found.given > 0.95 and found.wrong <= 0.05 + SLACK


@given(n=some.integers(72, 2000), q=some.sampled_from([0.05, 0.5, 0.9, 0.95]))
def test_without_windows_the_bounds_are_those_of_independent_values(n: int, q: float) -> None:
    found = worth.bounds(np.arange(n, dtype=float), (q,), ())
    low, high = stats.order_interval(np.arange(n, dtype=float), q)
    assert found.independent[0] == n
    assert abs(found.low[0] - low) <= 2 and abs(found.high[0] - high) <= 2


def test_a_load_that_changes_alike_in_every_deployment_is_no_chance() -> None:
    """Latency doubles in the second half of each window: held against the same part of the other deployments it does not vary."""
    drawn = np.random.default_rng(6).lognormal(0, 0.1, (2000, 7)) * np.where(np.arange(2000) < 1000, 1.0, 2.0)[:, None]
    windows = [_runs(drawn[:, i]) for i in range(7)]
    confirmed, alone = (worth.bounds(np.sort(drawn[:, :n].ravel()), (0.5,), windows[:n]).independent[0] for n in (7, 2))
    assert confirmed > 4000 and alone < 20


def test_what_is_said_where_the_interval_is_withheld() -> None:
    """Every request of a window is as slow as the others: two windows tell as much as two requests."""
    drawn = np.repeat(np.random.default_rng(2).lognormal(0, 0.3, 4), 250)
    found = stats.quantile_stat(np.sort(drawn), 0.95, "ms", [_runs(drawn)])
    assert found.value is not None and found.low is None and found.high is None
    assert found.why_missing.startswith("no interval: 1000 samples tell as much as")
    assert found.why_missing.endswith("an interval of p95 needs 72")


# ---- queues ----------------------------------------------------------------------------------------------------------

LOADS, NEAR_SATURATION = (0.5, 0.7, 0.9), 0.9


@pytest.fixture(scope="module", params=LOADS)
def queued(request: pytest.FixtureRequest) -> tuple[float, NDArray[np.float64]]:
    return request.param, queues.sojourns(request.param, 1000, (TRIALS, 20), seed=9)


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("deployments", [3, 5, 7, 10, 20])
def test_in_a_queue_a_wrong_interval_is_hardly_ever_given(queued: tuple[float, NDArray[np.float64]], deployments: int, q: float) -> None:
    load, drawn = queued
    found = seen(drawn[:, :, :deployments], queues.quantile(load, q), q)
    assert found.wrong <= 0.07 + SLACK
    if q == 0.5 and deployments >= 7:
        assert found.given > 0.9


@pytest.mark.parametrize("requests", [100, 500])
def test_near_saturation_short_windows_give_no_interval_of_a_tail(requests: int) -> None:
    drawn = queues.sojourns(NEAR_SATURATION, requests, (TRIALS, 7), seed=3)
    for q in (0.95, 0.99):
        assert seen(drawn, queues.quantile(NEAR_SATURATION, q), q).given < 0.1


def test_merged_requests_taken_as_independent_are_nearly_always_wrong() -> None:
    """What the check is for."""
    drawn, truth = queues.sojourns(0.9, 1000, (TRIALS, 7), seed=5), queues.quantile(0.9, 0.95)
    alone = [stats.order_interval(np.sort(drawn[:, t].ravel()), 0.95) for t in range(TRIALS)]
    assert np.mean([low <= truth <= high for low, high in alone]) < 0.3
