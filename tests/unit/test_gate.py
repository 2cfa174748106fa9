"""The judge on figures whose truth is known: PASS, FAIL, INCONCLUSIVE with their reasons, and what is an error and never a pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.analysis.gate import decided, judge
from lab.analysis.results import Deployed, Summary
from lab.analysis.spending import levels
from lab.analysis.stats import ratio
from lab.errors import InputError
from tests.unit import gates, summaries

SLOWER = "p50_ms vs base < +5 %"
N = 20


def both(base: float = 20.0, head: float = 20.0, spread: float = 0.02, n: int = N, metric: str = "p50_ms") -> Summary:
    return gates.pair({metric: gates.noisy(base, n, spread=spread)}, {metric: gates.noisy(head, n, spread=spread, seed=2)})


@pytest.mark.parametrize(
    ("head", "spread", "verdict", "says"),
    [
        (20.0, 0.02, "PASS", "keeps the limit"),
        (22.4, 0.02, "FAIL", "breaks the limit"),
        (21.0, 0.02, "INCONCLUSIVE", "the interval holds the limit"),
        (20.0, 0.30, "INCONCLUSIVE", "the interval holds the limit"),
    ],
)
def test_the_interval_decides(head: float, spread: float, verdict: str, says: str) -> None:
    found = judge(both(20.0, head, spread), gates.plan(SLOWER))
    assert found.verdict == verdict
    assert says in found.judged[0].why
    assert found.judged[0].effect.value == pytest.approx(head / 20.0)


def test_the_interval_is_that_of_the_ratio_at_the_corrected_level() -> None:
    base, head = gates.noisy(20.0, N), gates.noisy(21.0, N, seed=2)
    found = judge(
        gates.pair({"p50_ms": base, "cpu_ms": base}, {"p50_ms": head, "cpu_ms": head}), gates.plan(SLOWER, "cpu_ms vs base < +5 %")
    ).judged[0]
    alpha = levels((10, 15, 20))[-1] / 2
    wanted = ratio(base, head, paired=True, confidence=1 - alpha).stat
    assert found.alpha == pytest.approx(alpha)
    assert (found.effect.low, found.effect.high) == (wanted.low, wanted.high)
    assert found.paired


def test_one_broken_threshold_fails_the_gate_and_an_open_one_keeps_it_from_passing() -> None:
    base = {"p50_ms": gates.noisy(20.0, N), "cpu_ms": gates.noisy(5.0, N, seed=3)}
    slow = {"p50_ms": gates.noisy(24.0, N, seed=2), "cpu_ms": gates.noisy(5.0, N, seed=4)}
    open_ = {"p50_ms": gates.noisy(20.0, N, seed=2), "cpu_ms": gates.noisy(5.25, N, seed=4)}
    plan = gates.plan(SLOWER, "cpu_ms vs base < +5 %")
    assert judge(gates.pair(base, slow), plan).verdict == "FAIL"
    found = judge(gates.pair(base, open_), plan)
    assert [j.verdict for j in found.judged] == ["PASS", "INCONCLUSIVE"]
    assert found.verdict == "INCONCLUSIVE"
    assert "cpu_ms" in found.sentence and "p50_ms" not in found.sentence


def test_an_improvement_is_told() -> None:
    found = judge(both(20.0, 17.0), gates.plan(SLOWER))
    assert found.verdict == "PASS" and found.judged[0].improved
    assert "better than base on p50_ms" in found.sentence
    assert not judge(both(), gates.plan(SLOWER)).judged[0].improved


def test_more_requests_per_second_is_better() -> None:
    plan = gates.plan("achieved_per_s vs base > -2 %")
    assert judge(both(100.0, 110.0, metric="achieved_per_s"), plan).judged[0].improved
    assert judge(both(100.0, 90.0, metric="achieved_per_s"), plan).verdict == "FAIL"


@pytest.mark.parametrize(("limit", "verdict"), [(25.0, "PASS"), (15.0, "FAIL"), (20.01, "INCONCLUSIVE")])
def test_an_absolute_limit_is_held_against_the_interval_over_deployments(limit: float, verdict: str) -> None:
    found = judge(both(), gates.plan(f"p50_ms < {limit}"))
    assert found.verdict == verdict
    assert found.judged[0].effect.value == pytest.approx(20.0)


def test_equal_figures_decide_once_they_are_enough() -> None:
    plan = gates.plan("achieved_per_s > 95")
    same = {"achieved_per_s": (100.0,) * N}
    assert judge(gates.pair(same, same), plan).verdict == "PASS"
    few = {"achieved_per_s": (100.0,) * 3}
    found = judge(gates.pair(few, few), gates.plan("achieved_per_s > 95", least=2, most=3, looks=(3,)))
    assert found.verdict == "INCONCLUSIVE" and "all equal" in found.judged[0].why


@pytest.mark.parametrize(("errors", "verdict"), [(0.0, "PASS"), (0.05, "FAIL"), (0.01, "INCONCLUSIVE")])
def test_a_share_is_judged_by_its_counts_too(errors: float, verdict: str) -> None:
    shares = {"error_rate": (errors,) * N}
    assert judge(gates.pair(shares, shares), gates.plan("error_rate < 1 %")).verdict == verdict


def test_no_error_in_few_requests_is_no_proof_of_a_small_rate() -> None:
    few = {"error_rate": Deployed(unit="share", values=(0.0,) * N, asked=(10,) * N)}
    groups = [gates.group(side, {"error_rate": (0.0,) * N}, deployed=few) for side in ("base", "head")]
    assert judge(gates.summary(*groups), gates.plan("error_rate < 1 %")).verdict == "INCONCLUSIVE"


# ---- cells that do not count -----------------------------------------------------------------------------------------


def test_invalid_cells_do_not_count_and_too_few_valid_ones_decide_nothing() -> None:
    base = gates.group("base", {"p50_ms": gates.noisy(20.0, 9)})
    head = gates.group("head", {"p50_ms": gates.noisy(40.0, 9, seed=2)})
    found = judge(gates.summary(base, head, measured=20), gates.plan(SLOWER))
    assert found.verdict == "INCONCLUSIVE"
    assert "9 valid deployments of app @base; the gate needs 10" in found.sentence
    assert len(found.invalid) == 22 and "lag p99" in found.invalid[0]


def test_blocks_that_are_whole_are_paired() -> None:
    drift = [1.0 + 0.2 * (i % 5) for i in range(N)]  # far more than the difference: only pairs can see it
    base = {"p50_ms": [20.0 * d for d in drift]}
    head = {"p50_ms": [23.0 * d * (1 + 0.001 * (i % 3)) for i, d in enumerate(drift)]}
    assert judge(gates.pair(base, head), gates.plan(SLOWER)).verdict == "FAIL"
    fewer = gates.group("head", {"p50_ms": head["p50_ms"][2:]}, blocks=range(2, N))
    found = judge(gates.summary(gates.group("base", base), fewer, measured=N), gates.plan(SLOWER)).judged[0]
    assert found.verdict == "FAIL" and found.paired and found.effect.n == 18


def test_where_too_few_blocks_are_whole_all_deployments_are_compared() -> None:
    base = gates.group("base", {"p50_ms": gates.noisy(20.0, 10)}, blocks=range(10))
    head = gates.group("head", {"p50_ms": gates.noisy(30.0, 10, seed=2)}, blocks=range(10, 20))
    found = judge(gates.summary(base, head, measured=20), gates.plan(SLOWER)).judged[0]
    assert found.verdict == "FAIL" and found.paired is False


def test_no_claim_no_verdict() -> None:
    found = judge(replace(both(metric="p99_ms"), claims=("p50", "cpu")), gates.plan("p99_ms vs base < +5 %"))
    assert found.verdict == "INCONCLUSIVE" and "no claim on tails" in found.sentence


def test_a_percentile_that_one_deployment_does_not_support_decides_nothing() -> None:
    thin = {"p99_ms": Deployed(unit="ms", why_missing="p99 of one deployment needs 368 headline requests; the smallest has 159")}
    groups = [gates.group(side, {"p50_ms": (20.0,) * N}, deployed=thin) for side in ("base", "head")]
    found = judge(gates.summary(*groups), gates.plan("p99_ms < 250"))
    assert found.verdict == "INCONCLUSIVE" and "needs 368" in found.sentence


def test_a_difference_below_the_floor_of_the_driver_does_not_fail() -> None:
    found = both(1.0, 1.2)
    plan = gates.plan(SLOWER)
    assert judge(found, plan).verdict == "FAIL"
    coarse = judge(replace(found, floor_driver_ms={"p50": summaries.stat(0.9)}), plan)
    assert coarse.verdict == "INCONCLUSIVE" and "below the floor" in coarse.sentence


# ---- noise and power -------------------------------------------------------------------------------------------------


def test_noise_floor_and_power_are_told() -> None:
    quiet, loud = (judge(both(spread=s), gates.plan(SLOWER)).judged[0] for s in (0.01, 0.04))
    assert quiet.noise == pytest.approx(0.01) and loud.noise == pytest.approx(0.04)
    assert quiet.detectable is not None and loud.detectable is not None
    assert 1.05 < quiet.detectable < loud.detectable < 1.15


# ---- looks -----------------------------------------------------------------------------------------------------------


def test_a_run_stops_at_a_look_that_decides_and_is_judged_there() -> None:
    plan = gates.plan(SLOWER)
    plain, close = both(20.0, 26.0, n=10), both(20.0, 21.0, n=10)
    assert decided(plain, plan, 10) and not decided(close, plan, 10)
    assert decided(both(20.0, 21.0), plan, 20)
    found = judge(plain, plan)
    assert (found.verdict, found.deployments) == ("FAIL", 10)
    assert found.judged[0].alpha == pytest.approx(levels((10, 15, 20))[0])


def test_an_early_look_spends_its_own_share_even_where_the_run_planned_no_more_in_its_summary() -> None:
    """What was skipped after a decision is not in the summary."""
    found = judge(gates.pair(*({"p50_ms": gates.noisy(v, 10, seed=s)} for v, s in ((20.0, 1), (26.0, 2))), planned=10), gates.plan(SLOWER))
    assert found.looks == (10, 15, 20) and found.judged[0].alpha < 0.01


def test_a_run_whose_open_thresholds_no_deployment_can_decide_stops() -> None:
    base, head = ({"p50_ms": gates.noisy(20.0, 10, spread=0.01, seed=s), "p99_ms": gates.noisy(50.0, 10, seed=s)} for s in (1, 2))
    found = gates.pair(base, head)
    plan = gates.plan(SLOWER, "p99_ms < 50")
    assert not decided(found, plan, 10)
    assert decided(replace(found, claims=("p50",)), plan, 10)


def test_a_run_that_can_never_be_judged_stops() -> None:
    assert decided(both(), gates.plan("cpu_ms < 5"), 10)


# ---- errors, never a pass --------------------------------------------------------------------------------------------


def test_a_run_cut_off_between_looks_is_an_error() -> None:
    with pytest.raises(InputError, match="cut off after 12 deployments per arm; the next look is at 15"):
        judge(both(n=12), gates.plan(SLOWER))


def test_no_base_is_an_error() -> None:
    alone = gates.summary(gates.group("head", {"p50_ms": gates.noisy(20.0, N)}))
    with pytest.raises(InputError, match="no base"):
        judge(alone, gates.plan(SLOWER))
    unsided = gates.summary(gates.group("", {"p50_ms": gates.noisy(20.0, N)}))
    with pytest.raises(InputError, match="no base"):
        judge(unsided, replace(gates.plan(SLOWER), refs=()))


def test_a_base_without_its_head_is_an_error() -> None:
    one, other = (gates.group(side, {"p50_ms": gates.noisy(20.0, N)}) for side in ("base", "head"))
    gone = replace(one, name="gone @base", architecture="serverless")
    with pytest.raises(InputError, match="no head beside gone @base"):
        judge(gates.summary(one, other, gone), gates.plan(SLOWER))


def test_a_run_with_one_side_is_judged_by_absolute_limits() -> None:
    unsided = gates.summary(gates.group("", {"p50_ms": gates.noisy(20.0, N)}))
    plan = replace(gates.plan("p50_ms < 25"), refs=(), deployments=N)
    assert judge(unsided, plan).verdict == "PASS"


def test_no_data_is_an_error() -> None:
    empty = [gates.group(side, {}) for side in ("base", "head")]
    with pytest.raises(InputError, match="no data"):
        judge(gates.summary(*empty), gates.plan(SLOWER))
    with pytest.raises(InputError, match="no head"):
        judge(gates.summary(), gates.plan(SLOWER))


def test_all_invalid_is_inconclusive() -> None:
    empty = [gates.group(side, {}) for side in ("base", "head")]
    found = judge(gates.summary(*empty, measured=20), gates.plan(SLOWER))
    assert found.verdict == "INCONCLUSIVE" and "0 valid deployments" in found.sentence


def test_a_metric_nobody_measured_is_an_error() -> None:
    with pytest.raises(InputError, match="nobody measured cpu_ms"):
        judge(both(), gates.plan("cpu_ms < 5"))


def test_no_thresholds_and_an_older_summary_are_errors() -> None:
    with pytest.raises(InputError, match="no thresholds"):
        judge(both(), replace(gates.plan(SLOWER), gate=None))
    old = [gates.group(side, {"p50_ms": (20.0,) * N}, deployed={}) for side in ("base", "head")]
    with pytest.raises(InputError, match="no figures per deployment"):
        judge(gates.summary(*old), gates.plan(SLOWER))
