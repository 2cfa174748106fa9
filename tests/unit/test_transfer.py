"""Whether a local ranking would hold in a cloud: oracles by algebra, and what the machine forbids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from lab.analysis import cloud, prices, ranges
from lab.analysis.cost import costs
from lab.analysis.ranges import Term
from lab.analysis.results import Counts, Group, Ranking, Summary
from lab.analysis.transfer import rankings
from lab.errors import InputError
from lab.model import Stat
from tests.unit.summaries import group, latencies_ms, stat, step, summary

ALL_CLAIMS = ("cpu", "bytes", "cost", "cold", "p50", "tail", "knee")
NO_PASSES = Counts(hops=0, store_writes=0, store_reads=0, database_trips=0, bytes_in=0, bytes_out=0)
EXACT_FLOOR = {"p50": stat(0.01), "p95": stat(0.01), "p99": stat(0.01)}


def term(name: str, low: float, high: float, tail: float = 1.0, says: str = "") -> Term:
    return Term(name=name, low=low, high=high, p99_low=low * tail, p99_high=high * tail, says=says or f"one {name} costs {{}} ms")


def terms(**changed: Term) -> dict[str, Term]:
    """Nothing is drawn but what is given: every local figure stays as it is."""
    still = {name: term(name, 1.0, 1.0) for name in ranges.TERMS}
    for name in ("hop", "store", "database", "call"):
        still[name] = term(name, 1e-9, 1e-9)
    return still | changed


def fixed(name: str, ms: float, counts: Counts = NO_PASSES, **changes: object) -> Group:
    """Every request takes `ms` and next to no CPU."""
    return group(name, low_rate_latency_ms=(ms,) * 50, counts=counts, cpu_ms_architecture=stat(1.0), services=(), **changes)


def hops(count: float, local_ms: float = 0.5) -> Counts:
    return replace(NO_PASSES, hops=count, hop_ms=local_ms)


def ranked(a: Group, b: Group, drawn: Mapping[str, Term], metric: str = "p50_ms", **changes: object) -> Ranking:
    made = summary(groups=(a, b), **({"floor_path_ms": EXACT_FLOOR, "claims": ALL_CLAIMS, "isolation": "pinned"} | changes))
    return next(r for r in rankings(made, None, ranges=drawn, draws=300, seed=7) if r.metric == metric)


# ---- oracles ---------------------------------------------------------------------------------------------------------


def test_equal_counts_and_cpu_never_flip_on_hops() -> None:
    a = group("a", low_rate_latency_ms=latencies_ms(20.0), counts=hops(3), services=())
    b = group("b", low_rate_latency_ms=latencies_ms(21.0), counts=hops(3), services=())
    found = ranked(a, b, terms(hop=term("hop", 0.01, 50.0, tail=6.0)))
    assert (found.status, found.winner) == ("holds", "a")
    assert found.shares == {"a": 1.0, "b": 0.0}


def test_one_hop_more_flips_exactly_where_algebra_says() -> None:
    """a: 10 ms with one hop of 0.5 here, so 9.5 + hop in a cloud; b: 12 ms without. Equal at a hop of 2.5 ms."""
    found = ranked(fixed("a", 10.0, hops(1)), fixed("b", 12.0), terms(hop=term("hop", 0.5, 12.5)))  # middle (log) 2.5
    assert found.status == "flips"
    assert found.winner == ""
    assert found.flip_at == "one hop costs 2.5 ms"
    wider = ranked(fixed("a", 10.0, hops(1)), fixed("b", 12.0), terms(hop=term("hop", 0.5, 5.0)))  # middle 1.58: a wins there
    assert wider.sentence == "a beats b at p50 only while one hop costs less than 2.5 ms"
    assert wider.shares["a"] == pytest.approx(np.log(2.5 / 0.5) / np.log(10), abs=0.01)
    other = ranked(fixed("a", 10.0, hops(1)), fixed("b", 12.0), terms(hop=term("hop", 1.5, 50.0)))  # middle 8.7: b wins there
    assert other.sentence == "b beats a at p50 only while one hop costs more than 2.5 ms"


def test_a_hop_counts_as_often_as_it_is_made() -> None:
    """a makes 4: 10 - 4 x 0.5 + 4 hop = 12 at a hop of 1 ms."""
    found = ranked(fixed("a", 10.0, hops(4)), fixed("b", 12.0), terms(hop=term("hop", 0.5, 4.0)))
    assert found.flip_at == "one hop costs 1 ms"


def test_zero_ranges_give_back_the_local_ranking() -> None:
    """A cloud in which everything costs what it costs here."""
    counts = Counts(
        hops=2, store_writes=1, store_reads=1, database_trips=1, bytes_in=0, bytes_out=0, hop_ms=0.7, store_ms=3.0, database_ms=0.9
    )
    same = terms(hop=term("hop", 0.7, 0.7), store=term("store", 3.0, 3.0), database=term("database", 0.2, 0.2))
    for fast, slow in (("a", "b"), ("b", "a")):
        ms = {fast: 20.0, slow: 22.0}
        found = ranked(fixed("a", ms["a"], counts), fixed("b", ms["b"], hops(1, 0.7)), same)
        assert (found.status, found.winner, found.shares[fast]) == ("holds", fast, 1.0)


def test_wide_ranges_flip() -> None:
    a, b = fixed("a", 10.0, hops(3)), fixed("b", 12.0)
    assert ranked(a, b, terms(hop=term("hop", 0.1, 0.5))).status == "holds"
    assert ranked(a, b, terms(hop=term("hop", 0.1, 50.0))).status == "flips"


def test_an_order_that_turns_in_every_cloud_does_not_hold() -> None:
    found = ranked(fixed("a", 10.0, hops(3)), fixed("b", 12.0), terms(hop=term("hop", 5.0, 10.0)))
    assert (found.status, found.winner) == ("flips", "")
    assert found.shares == {"a": 0.0, "b": 1.0}
    assert found.sentence == "a beats b at p50 as measured here, but it is the other way round in 100 % of the cloud ranges"


def test_cpu_scale_counts_the_difference_in_cpu() -> None:
    """a spends 8 ms of CPU, b 2 ms: 10 + 8 (s - 1) = 12 + 2 (s - 1) at s = 4/3."""
    a, b = replace(fixed("a", 10.0), cpu_ms_architecture=stat(8.0)), replace(fixed("b", 12.0), cpu_ms_architecture=stat(2.0))
    found = ranked(a, b, terms(cpu_scale=term("cpu_scale", 0.7, 2.0, says="a vCPU needs {} times as long")))
    assert found.flip_at == "a vCPU needs 1.3 times as long"


def test_the_nearest_of_several_crossings_is_named() -> None:
    a = fixed("a", 10.0, replace(hops(1), store_writes=1, store_ms=0.5))  # 9 + hop + store
    drawn = terms(hop=term("hop", 0.5, 5.0), store=term("store", 0.01, 100.0))
    found = ranked(a, fixed("b", 12.0), drawn)
    assert found.status == "flips"
    assert found.flip_at.startswith("one store costs 1.4")  # 12 - 9 - 1.58; hop would have to be 2 ms, nearer to its end


def test_percentiles_come_from_resampled_sums() -> None:
    """Two passes with p99 = 10 x median: the p99 of their sum is far below the sum of their p99."""
    of = cloud.Passes(local_hop=2, hop=2, store=0, database=0, call=0, hop_ms=0, store_ms=0, database_ms=0, cpu_ms=0)
    drawn = terms(hop=term("hop", 1.0, 1.0, tail=10.0))
    shared = cloud.luck([of], seed=3, requests=50_000)
    ms = cloud.latency_ms(np.zeros(10), of, dict.fromkeys(ranges.TERMS, 0.5), drawn, shared)
    assert np.quantile(ms, 0.5) == pytest.approx(2.4, rel=0.1)
    assert 11 < np.quantile(ms, 0.99) < 16


def test_a_fraction_of_a_pass_is_met_by_that_share_of_requests() -> None:
    of = cloud.Passes(local_hop=1.25, hop=1.25, store=0, database=0, call=0, hop_ms=0, store_ms=0, database_ms=0, cpu_ms=0)
    shared = cloud.luck([of], seed=3, requests=4000)
    ms = cloud.latency_ms(np.zeros(10), of, dict.fromkeys(ranges.TERMS, 0.5), terms(hop=term("hop", 8.0, 8.0)), shared)
    assert float((ms > 12).mean()) == pytest.approx(0.25, abs=0.03)


def test_draws_are_seeded() -> None:
    made = summary()
    assert rankings(made, None, draws=50, seed=3) == rankings(made, None, draws=50, seed=3)


# ---- what cannot be told ---------------------------------------------------------------------------------------------


def test_a_difference_below_the_floor_is_none() -> None:
    found = ranked(fixed("a", 10.0), fixed("b", 12.0), terms(), floor_path_ms={"p50": stat(2.4)})
    assert (found.status, found.sentence) == ("cannot", "a and b differ at p50 by less than the floor of the path (2.4 ms)")
    assert ranked(fixed("a", 10.0), fixed("b", 12.0), terms(), floor_path_ms={"p50": stat(1.9)}).status == "holds"


def test_without_a_floor_nothing_can_be_told() -> None:
    for floor in ({}, {"p50": Stat.missing("ms", "not planned")}):
        found = ranked(fixed("a", 10.0), fixed("b", 30.0), terms(), floor_path_ms=floor)
        assert found.status == "cannot" and "floor of the path was not measured" in found.sentence


@pytest.mark.parametrize("metric", ["p95_ms", "p99_ms"])
def test_tails_need_cores_of_their_own(metric: str) -> None:
    shared_cores = {"claims": ("p50",), "isolation": "none"}
    found = ranked(fixed("a", 10.0), fixed("b", 30.0), terms(), metric, **shared_cores)
    assert found.status == "cannot" and "share cores" in found.sentence
    assert ranked(fixed("a", 10.0), fixed("b", 30.0), terms(), metric).status == "holds"


def test_an_unsupported_percentile_is_not_ranked() -> None:
    b = fixed("b", 30.0, steps=(step(10.0, 30.0, tails=False),))
    found = ranked(fixed("a", 10.0), b, terms(), "p99_ms")
    assert found.status == "cannot" and "p99 of b is not supported: 159 samples" in found.sentence


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"low_rate_latency_ms": ()}, "b has no latencies at the lowest rate"),
        ({"counts": replace(NO_PASSES, hops=1)}, "the local cost of one hop between services of b was not measured"),
        ({"cpu_ms_architecture": Stat.missing("ms", "x")}, "the CPU of b per request was not measured"),
    ],
)
def test_missing_inputs_are_said(changes: dict[str, object], why: str) -> None:
    found = ranked(fixed("a", 10.0), replace(fixed("b", 30.0), **changes), terms())  # type: ignore[arg-type]
    assert (found.status, found.sentence, found.shares) == ("cannot", why, {})


# ---- cold starts and costs -------------------------------------------------------------------------------------------


def test_cold_is_ranked_only_where_both_start_from_zero() -> None:
    assert not [r for r in rankings(summary(), None, draws=20) if r.metric == "cold_ms"]
    light = group("serverless", cold_phases_ms={"spawn": 240.0, "import": 100.0, "first request": 30.0}, cold_ms=stat(370.0))
    made = summary(groups=(light, replace(group("serverless"), name="heavy")))
    (found,) = [r for r in rankings(made, None, draws=200) if r.metric == "cold_ms"]
    assert (found.status, found.winner) == ("holds", light.name)
    assert found.sentence.startswith("serverless starts from zero faster than heavy in 100 %")


def test_cold_takes_a_sandbox_per_function_and_the_measured_init() -> None:
    """Three functions in a row: 3 x 800 x 1.5, and 450 + 60 + 180 at twice the time; the local spawn is not in it."""
    drawn = terms(sandbox=term("sandbox", 800, 800), package=term("package", 1.5, 1.5), cpu_scale=term("cpu_scale", 2, 2))
    assert cloud.cold_ms(group("serverless"), dict.fromkeys(ranges.TERMS, 0.5), drawn) == pytest.approx(3 * 1200 + 2 * 690)


def test_reads_do_not_dilute_what_a_headline_request_meets() -> None:
    """Two thirds of the requests are headline ones and pass three functions; the rest are reads that one function answers alone."""
    mixed = group("serverless")
    services = tuple(
        replace(s, invocations_per_request=1.0 if s.service == "results" else 2 / 3) if s.billing == "function" else s
        for s in mixed.services
    )
    counted = replace(mixed.counts, function_calls=3.0, functions=3.0, busy_ms=14.0)
    told, mute = replace(mixed, services=services, counts=counted), replace(mixed, services=services)
    assert (cloud.passes(told).call, cloud.passes(told).cpu_ms) == (3.0, 14.0)
    assert (cloud.passes(mute).call, cloud.passes(mute).cpu_ms) == (pytest.approx(7 / 3), 11.0)  # without headers the mix stands for it
    drawn, middle = terms(sandbox=term("sandbox", 800, 800)), dict.fromkeys(ranges.TERMS, 0.5)
    assert cloud.cold_ms(told, middle, drawn) == pytest.approx(3 * 800 + 690)
    assert cloud.cold_ms(mute, middle, drawn) == pytest.approx(7 / 3 * 800 + 690)


def test_costs_are_ranked_at_every_traffic() -> None:
    made, book = summary(), prices.load("aws")
    priced = costs(made, book, today=date(2026, 11, 22))
    found = {(r.metric, r.a, r.b): r for r in rankings(made, priced, book=book, draws=100) if r.metric.startswith("cost")}
    assert len(found) == 9
    cheap = found["cost at 1/s", "three_tier", "serverless"]
    assert (cheap.status, cheap.winner) == ("holds", "serverless")
    assert cheap.sentence == "serverless costs less than three_tier at 1 request/s in 100 % of the cloud ranges"
    assert found["cost at 50/s", "three_tier", "serverless"].winner == "three_tier"


def test_longer_waits_are_billed_to_functions() -> None:
    of = cloud.passes(group("serverless"))
    slow = terms(store=term("store", 50, 50), hop=term("hop", 1, 1), database=term("database", 2, 2))
    waits = cloud.longer_wait_ms(of, dict.fromkeys(ranges.TERMS, 0.5), slow)
    assert waits == pytest.approx(1 * 1 + 50 + 2 - (2 * 1.2 + 3.0 + 0.9))  # the database's hop, a store, a statement


def test_the_activators_hops_are_what_a_function_call_costs_in_a_cloud() -> None:
    functions = replace(group("serverless"), counts=replace(group("serverless").counts, hops=5.0, function_calls=3.0))
    of = cloud.passes(functions)
    assert (of.local_hop, of.hop, of.call) == (5.0, 2.0, 3.0)
    plain = cloud.passes(group("microservices"))
    assert plain.hop == plain.local_hop


def test_the_same_price_is_not_ranked() -> None:
    made: Summary = summary(groups=(group("three_tier"), replace(group("three_tier"), name="twin")))
    book = prices.load("aws")
    found = rankings(made, costs(made, book, today=date(2026, 11, 22)), book=book, draws=20)
    assert {(r.status, r.sentence) for r in found if r.metric == "cost at 10/s"} == {
        ("cannot", "three_tier and twin cost the same at 10 requests/s within 1 %")
    }


# ---- the ranges that ship --------------------------------------------------------------------------------------------


def test_ranges_are_those_of_the_sources() -> None:
    drawn = ranges.load()
    ends = {name: (t.low, t.high, t.p99_low, t.p99_high) for name, t in drawn.items()}
    assert ends["hop"] == (0.2, 2, 1, 12)
    assert ends["store"] == (10, 100, 100, 200)
    assert ends["database"] == pytest.approx((0.3, 2, 0.9, 6))
    assert ends["sandbox"] == pytest.approx((448, 1401, 672, 3642.6))
    assert ends["call"] == (17, 25, 47, 75)
    assert ends["cpu_scale"] == (0.7, 1.5, 0.7, 1.5)
    assert drawn["hop"].median(0.5) == pytest.approx(np.sqrt(0.2 * 2))
    assert drawn["hop"].median(0.0) * np.exp(2.3263 * drawn["hop"].sigma(0.0)) == pytest.approx(1.0, rel=1e-3)
    assert drawn["cpu_scale"].sigma(0.3) == 0.0


def test_a_users_ranges_are_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Path(ranges.__file__).parents[1] / "prices" / "transfer" / "ranges.yaml"
    mine = tmp_path / "prices" / "transfer" / "ranges.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(shipped.read_text().replace("low: 0.7", "low: 1.1").replace("high: 1.5", "high: 1.1"))
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    assert (ranges.load()["cpu_scale"].low, ranges.load()["cpu_scale"].high) == (1.1, 1.1)


def test_broken_ranges_are_reported_at_once(tmp_path: Path) -> None:
    shipped = Path(ranges.__file__).parents[1] / "prices" / "transfer" / "ranges.yaml"
    broken = tmp_path / "ranges.yaml"
    broken.write_text(shipped.read_text().replace("high: 0.6", "high: 0.1").replace("rows: [database]", "rows: [databse]"))
    with pytest.raises(InputError) as caught:
        ranges.load(broken)
    assert len(caught.value.problems) == 2
    assert all(str(broken) in p for p in caught.value.problems)
