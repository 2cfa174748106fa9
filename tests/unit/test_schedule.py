"""Arrivals: exact in number and law, the same for the same seed on every machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lab.load import schedule
from lab.load.schedule import RateProfile
from lab.model import Load, Operation

LADDER = Load(rates_per_s=(50.0, 100.0, 200.0), window_s=4.0, warmup_max_s=4.0, warmup_rate_per_s=50.0, drain_s=2.0, timeout_s=5.0)
OPERATIONS = tuple(
    Operation(name=name, kind="read", method="GET", path=f"/{name}", stages=(), weight=weight)
    for name, weight in (("a", 0.7), ("b", 0.2), ("c", 0.1))
)
GOLDEN_OFFSETS = [0.019622, 0.065124, 0.095018, 0.100121, 0.107259]
GOLDEN_OPERATIONS = [1, 0, 1, 2, 1, 0, 1, 1, 1, 0, 0, 0]
seeds = st.integers(0, 2**32)
profiles = st.lists(st.tuples(st.floats(0.01, 5.0), st.floats(0.0, 300.0), st.floats(0.0, 300.0)), min_size=1, max_size=6).map(
    lambda parts: RateProfile(
        np.repeat(np.concatenate(([0.0], np.cumsum([p[0] for p in parts]))), 2)[1:-1].tolist(), [r for p in parts for r in p[1:]]
    )
)


def integral(profile: RateProfile, at_s: float) -> float:
    """By the trapezium rule over the parts up to `at_s`: independent of the closed form under test."""
    total = 0.0
    for t0, t1, r0, r1 in zip(profile.times_s, profile.times_s[1:], profile.rates_per_s, profile.rates_per_s[1:], strict=False):
        if t1 > t0 and at_s > t0:
            end = min(at_s, t1)
            rate = r0 + (r1 - r0) * (end - t0) / (t1 - t0)
            total += (end - t0) * (r0 + rate) / 2
    return total


@given(profiles, st.floats(0.0, 1.0))
def test_when_inverts_the_integral_of_the_rate(profile: RateProfile, share: float) -> None:
    count = share * profile.total
    at = float(profile.when(np.array([count]))[0])
    assert profile.times_s[0] <= at <= profile.times_s[-1]
    assert integral(profile, at) == pytest.approx(count, rel=1e-6, abs=1e-6)


@given(profiles, seeds, st.sampled_from(["poisson", "constant"]))
def test_arrivals_rise_and_stay_inside_the_profile(profile: RateProfile, seed: int, kind: schedule.Kind) -> None:
    offsets = schedule.times(profile, kind, seed)
    assert np.all(np.diff(offsets) >= 0)
    assert len(offsets) == 0 or profile.times_s[0] <= offsets[0] <= offsets[-1] <= profile.times_s[-1]


@given(profiles, seeds)
def test_constant_arrivals_are_the_integral_of_the_rate_in_number(profile: RateProfile, seed: int) -> None:
    assert abs(len(schedule.times(profile, "constant", seed)) - profile.total) <= 0.5 + 1e-6


def test_constant_gaps_are_all_the_same_within_a_step() -> None:
    offsets = schedule.times(RateProfile.steps((200.0,), 5.0), "constant", seed=1)
    assert len(offsets) == 1000
    assert np.diff(offsets) == pytest.approx(1 / 200, abs=2e-6)


@given(seeds)
@settings(max_examples=25)
def test_poisson_counts_have_the_mean_of_the_rate(seed: int) -> None:
    offsets = schedule.times(RateProfile.steps((1000.0,), 10.0), "poisson", seed)
    assert abs(len(offsets) - 10_000) < 6 * 10_000**0.5  # two in a thousand million


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(schedule.times(RateProfile.steps((500.0,), 20.0), "poisson", seed=11))
    assert stats.kstest(gaps * 500, "expon").pvalue > 0.01


def test_poisson_arrivals_of_a_ramp_follow_its_integral() -> None:
    ramp = RateProfile((0.0, 20.0), (0.0, 1000.0))
    offsets = schedule.times(ramp, "poisson", seed=5)
    assert stats.kstest(offsets, lambda t: (np.asarray(t) / 20.0) ** 2).pvalue > 0.01  # given their number, arrivals are i.i.d.


def test_two_streams_add_up_to_one_of_the_summed_rate() -> None:
    both = np.sort(np.concatenate([schedule.times(RateProfile.steps((250.0,), 20.0), "poisson", seed=s) for s in (1, 2)]))
    assert stats.kstest(np.diff(both) * 500, "expon").pvalue > 0.01


def test_the_mix_splits_arrivals_by_weight_and_keeps_them_poisson() -> None:
    load = Load(rates_per_s=(1000.0,), window_s=20.0, warmup_max_s=0.0, warmup_rate_per_s=1.0, drain_s=1.0, timeout_s=1.0)
    arrivals = schedule.windows(load, OPERATIONS, seed=3)
    found = np.bincount(arrivals.operation, minlength=3)
    assert stats.chisquare(found, found.sum() * np.array([0.7, 0.2, 0.1])).pvalue > 0.01
    assert stats.kstest(np.diff(arrivals.offset_s[arrivals.operation == 1]) * 200, "expon").pvalue > 0.01


@given(seeds)
@settings(max_examples=25)
def test_the_same_seed_gives_the_same_schedule_and_payloads_count_up(seed: int) -> None:
    one, again = (schedule.windows(LADDER, OPERATIONS, seed) for _ in range(2))
    assert one.offset_s.tolist() == again.offset_s.tolist() and one.operation.tolist() == again.operation.tolist()
    for operation in range(3):
        mine = one.payload[one.operation == operation]
        assert mine.tolist() == list(range(len(mine)))


def test_steps_belong_to_the_intended_time_and_reach_their_rates() -> None:
    arrivals = schedule.windows(LADDER, OPERATIONS, seed=1)
    assert np.array_equal(arrivals.step, np.minimum(arrivals.offset_s // LADDER.window_s, 2))
    for step, rate in enumerate(LADDER.rates_per_s):
        expected = rate * LADDER.window_s
        assert abs(np.count_nonzero(arrivals.step == step) - expected) < 5 * expected**0.5


def test_another_mix_keeps_the_arrival_times_and_warmup_is_a_stream_of_its_own() -> None:
    assert schedule.windows(LADDER, OPERATIONS[:1], 9).offset_s.tolist() == schedule.windows(LADDER, OPERATIONS, 9).offset_s.tolist()
    warm = schedule.warmup(LADDER, OPERATIONS, 9)
    assert set(warm.step.tolist()) == {schedule.NO_STEP}
    assert warm.offset_s[:5].tolist() != schedule.windows(LADDER, OPERATIONS, 9).offset_s[:5].tolist()


def test_known_arrivals_of_a_seed() -> None:
    """The same on every machine and with every version: a change of these numbers makes old and new runs different loads."""
    arrivals = schedule.windows(LADDER, OPERATIONS, seed=7)
    assert arrivals.offset_s[:5].tolist() == GOLDEN_OFFSETS
    assert arrivals.operation[:12].tolist() == GOLDEN_OPERATIONS


@pytest.mark.parametrize(("times", "rates"), [((0.0,), (1.0,)), ((0.0, 1.0), (1.0,)), ((1.0, 0.0), (1.0, 1.0)), ((0.0, 1.0), (1.0, -1.0))])
def test_profiles_that_are_none_are_refused(times: tuple[float, ...], rates: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        RateProfile(times, rates)
