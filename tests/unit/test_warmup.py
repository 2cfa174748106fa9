"""The stability test must end warm-up soon when nothing changes any more, and not while it does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lab.load.warmup import Verdict, judge

Curve = Callable[[np.ndarray], np.ndarray]


def answers(rate_per_s: float, until_s: float, level: Curve, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Completion times, latencies (10 ms times `level`, log-normal; every other operation takes 8 times as long), operations."""
    random = np.random.default_rng(seed)
    at = np.cumsum(random.exponential(1 / rate_per_s, int(rate_per_s * until_s * 2) + 20))
    at = at[at < until_s]
    operation = random.integers(0, 2, len(at))
    return at, 0.01 * level(at) * np.exp(spread * random.standard_normal(len(at))) * np.where(operation, 8.0, 1.0), operation


def ends_at(rate_per_s: float, level: Curve, spread: float, seed: int, limit_s: float = 12.0) -> float:
    """When a driver that looks four times a second would leave the warm-up."""
    at, latency, operation = answers(rate_per_s, limit_s, level, spread, seed)
    for look in np.arange(0.25, limit_s, 0.25):
        seen = at < look
        if judge(at[seen], latency[seen], operation[seen], np.ones(seen.sum(), dtype=bool)).stable:
            return float(look)
    return float("inf")


def flat(at: np.ndarray) -> np.ndarray:
    return np.ones_like(at)


@pytest.mark.parametrize("rate_per_s", [20, 50, 100])
@pytest.mark.parametrize("spread", [0.1, 0.4])
def test_what_is_stable_is_found_so_within_four_seconds(rate_per_s: float, spread: float) -> None:
    ends = [ends_at(rate_per_s, flat, spread, seed) for seed in range(30)]
    assert np.mean([e <= 4.0 for e in ends]) >= 0.9


@pytest.mark.parametrize("rate_per_s", [20, 50, 100])
def test_a_cold_start_that_takes_two_seconds_is_waited_for(rate_per_s: float) -> None:
    ends = [ends_at(rate_per_s, lambda at: np.where(at < 2.0, 5.0, 1.0), 0.3, seed) for seed in range(30)]
    assert min(ends) > 2.0
    assert np.mean([e <= 6.0 for e in ends]) >= 0.9


@pytest.mark.parametrize("rate_per_s", [50, 100])
def test_a_decay_is_nearly_over_when_warm_up_ends(rate_per_s: float) -> None:
    def decay(at: np.ndarray) -> np.ndarray:
        return 1.0 + 4.0 * np.exp(-at)

    left = [float(decay(np.array(ends_at(rate_per_s, decay, 0.2, seed)))) for seed in range(30)]
    assert np.quantile(left, 0.9) < 1.5


@pytest.mark.parametrize("rate_per_s", [50, 100])
def test_latency_that_keeps_growing_is_never_stable(rate_per_s: float) -> None:
    ends = [ends_at(rate_per_s, lambda at: np.exp(0.6 * at), 0.2, seed, limit_s=6.0) for seed in range(20)]
    assert np.mean(np.isfinite(ends)) <= 0.1


def _judge(n: int, *, latency_s: float = 0.01, span_s: float = 4.0, failed: int = -1) -> Verdict:
    at = np.linspace(span_s / n, span_s, n)
    ok = [i != failed % n if failed >= 0 else True for i in range(n)]
    return judge(at.tolist(), [latency_s] * n, [0] * n, ok)


def test_too_little_is_never_stable() -> None:
    assert judge([], [], [], []) == Verdict(False, "no answer yet")
    assert not _judge(10).stable
    assert not _judge(200, span_s=1.0).stable
    assert _judge(200).stable


def test_a_failure_in_the_span_is_not_stable_and_an_early_one_is_forgotten() -> None:
    assert _judge(200, failed=150).reason == "a request failed"
    assert _judge(200, failed=3).stable


def test_shifts_below_the_drivers_own_noise_do_not_matter() -> None:
    at = np.linspace(0.02, 4.0, 200)
    latency = np.where(at < 3.0, 0.0003, 0.0004)
    assert judge(at, latency, [0] * 200, [True] * 200).stable
    assert not judge(at, 100 * latency, [0] * 200, [True] * 200).stable
