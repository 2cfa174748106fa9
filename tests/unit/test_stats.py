"""Quantiles with their support, intervals with their coverage, ratios and Holm's correction, against known distributions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats as known

from lab.analysis import stats
from lab.power import detectable_ratio
from tests import queues

DRAWS = 2000


@pytest.mark.parametrize(("q", "needed"), [(0.5, 6), (0.95, 72), (0.99, 368), (0.05, 72)])
def test_support_begins_where_the_binomial_interval_fits_into_the_sample(q: float, needed: int) -> None:
    assert stats.samples_needed(q) == needed
    low, high = stats.order_interval(np.arange(needed, dtype=float), q)
    assert 0 <= low <= high <= needed - 1
    tail = max(q, 1 - q)
    assert tail**needed <= 0.025 < tail ** (needed - 1)


def test_an_unsupported_percentile_is_missing_with_the_number_needed() -> None:
    stat = stats.quantile_stat(np.arange(62.0), 0.99, "ms")
    assert (stat.value, stat.low, stat.high, stat.n) == (None, None, None, 62)
    assert stat.why_missing == "62 samples; p99 needs 368"
    assert stats.quantile_stat(np.empty(0), 0.5, "ms").value is None


@given(
    values=some.lists(some.floats(0.001, 1e6), min_size=1, max_size=800),
    q=some.sampled_from([0.05, 0.5, 0.9, 0.95, 0.99]),
    factor=some.floats(0.1, 10),
)
def test_a_quantile_is_a_measured_value_inside_its_interval_and_scales(values: list[float], q: float, factor: float) -> None:
    ordered = np.sort(values)
    value = stats.quantile(ordered, q)
    assert value in ordered
    assert np.mean(ordered <= value) >= q - 1e-9
    assert stats.quantile(ordered * factor, q) == pytest.approx(value * factor)
    stat = stats.quantile_stat(ordered, q, "ms")
    if stat.value is None:
        assert len(values) < stats.samples_needed(q)
    else:
        assert stat.low is not None and stat.high is not None and stat.low <= stat.value <= stat.high


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [400, 2000])
def test_the_order_interval_covers_the_true_quantile_of_independent_samples(q: float, n: int) -> None:
    truth = float(known.lognorm(0.5).ppf(q))
    random = np.random.default_rng(11)
    bounds = [stats.order_interval(np.sort(random.lognormal(0, 0.5, n)), q) for _ in range(1500)]
    assert np.mean([low <= truth <= high for low, high in bounds]) >= 0.94


@pytest.mark.parametrize("n", [3, 5, 7, 10, 20])
def test_the_log_t_interval_covers_95_percent_within_2_points(n: int) -> None:
    random = np.random.default_rng(n)
    found = [stats.mean_stat(row.tolist(), "ms") for row in random.lognormal(3.0, 0.15, (DRAWS, n))]
    covered = np.mean([s.low is not None and s.high is not None and s.low <= math.exp(3.0) <= s.high for s in found])
    assert covered == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("n", [3, 7, 10])
@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_a_ratio_covers_and_its_test_keeps_alpha(n: int, paired: bool) -> None:
    random = np.random.default_rng([n, paired])
    blocks = random.normal(0, 0.3 * paired, (800, n))
    a, b = np.exp(blocks + random.normal(0, 0.1, (800, n))), np.exp(blocks + random.normal(math.log(1.2), 0.1, (800, n)))
    found = [stats.ratio(x, y, paired=paired) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    covered = np.mean([f.stat.low is not None and f.stat.high is not None and f.stat.low <= 1.2 <= f.stat.high for f in found])
    assert covered == pytest.approx(0.95, abs=0.02)
    null = [stats.ratio(x, y, paired=paired).p_value for x, y in zip(a.tolist(), (b / 1.2).tolist(), strict=True)]
    assert np.mean(np.array(null) < 0.05) == pytest.approx(0.05, abs=0.02)


@pytest.fixture(scope="module", params=[0.5, 0.7, 0.9])
def p95_of_windows(request: pytest.FixtureRequest) -> np.ndarray:
    """Of 300 requests each in an M/M/1 queue of that load: [trial, deployment], of two arms."""
    drawn = np.sort(queues.sojourns(request.param, 300, (1500, 40), seed=17), axis=0)
    return drawn[stats.rank(300, 0.95)]


@pytest.mark.parametrize("n", [3, 5, 7, 10, 20])
def test_ratios_of_windows_of_a_queue_cover_what_windows_of_that_length_show(p95_of_windows: np.ndarray, n: int) -> None:
    """However correlated requests are within a window, deployments are independent: a verdict rests on nothing else."""
    a, b = p95_of_windows[:, :n].tolist(), (1.1 * p95_of_windows[:, 20 : 20 + n]).tolist()
    found = [stats.ratio(x, y, paired=True).stat for x, y in zip(a, b, strict=True)]
    covered = np.mean([s.low is not None and s.high is not None and s.low <= 1.1 <= s.high for s in found])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_pairing_removes_what_the_blocks_share() -> None:
    blocks = np.array([1.0, 2.0, 4.0, 8.0])
    a, b = (10 * blocks).tolist(), (11 * blocks * [1.01, 0.99, 1.01, 0.99]).tolist()
    assert stats.ratio(a, b, paired=True).p_value < 0.01 < 0.5 < stats.ratio(a, b, paired=False).p_value


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0, 5.0], [0.0, 0.0]])
def test_values_without_spread_have_no_interval(values: list[float]) -> None:
    stat = stats.mean_stat(values, "ms")
    assert (stat.value, stat.low, stat.high, stat.n) == (values[0], None, None, len(values))


def test_no_value_is_missing_and_zero_is_a_value() -> None:
    assert stats.mean_stat([], "ms", "nothing was measured").why_missing == "nothing was measured"
    with_zero = stats.mean_stat([0.0, 1.0, 2.0], "ms")
    assert with_zero.value == 1.0 and with_zero.low is not None and with_zero.low < 0
    assert stats.share_stat(0, 50).value == 0.0
    assert stats.share_stat(0, 0).value is None


def test_shares_have_the_exact_interval() -> None:
    stat = stats.share_stat(0, 100)
    assert stat.low == 0.0 and stat.high == pytest.approx(1 - 0.025 ** (1 / 100))


def test_ratios_without_spread_or_values_prove_nothing() -> None:
    same = stats.ratio([5.0, 5.0, 5.0], [5.0, 5.0, 5.0], paired=True)
    assert (same.stat.value, same.stat.low, same.p_value) == (1.0, None, 1.0)
    assert stats.ratio([], [1.0], paired=False).stat.value is None
    assert stats.ratio([0.0], [1.0], paired=False).stat.why_missing == "a figure is not positive"
    single = stats.ratio([4.0], [5.0], paired=False)
    assert (single.stat.value, single.stat.low, single.p_value) == (pytest.approx(1.25), None, 1.0)


def test_holm_against_a_worked_example() -> None:
    # Holm (1979) as tabulated by R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert stats.holm([]) == ()


@given(some.lists(some.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p_values: list[float]) -> None:
    adjusted = stats.holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert all(adjusted[i] <= adjusted[j] for i, j in pairwise(order))


def test_the_pooled_spread_finds_the_standard_deviation_on_the_log_scale() -> None:
    random = np.random.default_rng(3)
    groups = [np.exp(random.normal(level, 0.1, 7)).tolist() for level in random.uniform(1, 5, 400)]
    assert stats.pooled_spread(groups) == pytest.approx(0.1, rel=0.05)
    assert stats.pooled_spread([[1.0, 2.0]]) is None


# ---- power -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 7, 10])
@pytest.mark.parametrize("comparisons", [1, 3])
def test_the_detectable_ratio_is_detected_in_80_percent_of_simulated_runs(n: int, comparisons: int) -> None:
    effect = detectable_ratio(0.1, n, comparisons=comparisons)
    assert effect is not None
    random = np.random.default_rng([n, comparisons])
    a, b = random.normal(0, 0.1, (DRAWS, n)), random.normal(math.log(effect), 0.1, (DRAWS, n))
    found = known.ttest_1samp(b - a, 0.0, axis=1).pvalue < 0.05 / comparisons
    assert found.mean() == pytest.approx(0.8, abs=0.02)


@given(spread=some.floats(0.001, 0.5), n=some.integers(3, 40))
def test_more_deployments_and_less_spread_detect_smaller_effects(spread: float, n: int) -> None:
    here, more, calmer = detectable_ratio(spread, n), detectable_ratio(spread, n + 1), detectable_ratio(spread / 2, n)
    assert here is not None and more is not None and calmer is not None
    assert 1 < more < here
    assert calmer == pytest.approx(math.sqrt(here))
    assert detectable_ratio(spread, 1) is None
