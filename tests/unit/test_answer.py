"""The first screen's sentence: a winner only where its rankings hold, else why there is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from lab.analysis import prices
from lab.analysis.answer import answer
from lab.analysis.cost import costs
from lab.analysis.results import CellVerdict, Costs, Effect, Ranking
from lab.analysis.transfer import rankings
from tests.unit.summaries import group, stat, summary


@pytest.fixture(scope="module")
def priced() -> Costs:
    return costs(summary(), prices.load("aws"), today=date(2026, 11, 22))


@pytest.fixture(scope="module")
def ranked(priced: Costs) -> tuple[Ranking, ...]:
    return rankings(summary(), priced, book=prices.load("aws"), draws=200)


def change(ranked: tuple[Ranking, ...], metric: str, **changes: object) -> tuple[Ranking, ...]:
    return tuple(replace(r, **changes) if r.metric == metric else r for r in ranked)  # type: ignore[arg-type]


def test_both_winners_in_one_sentence(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    said, sure, notes = answer(summary(), (), priced, ranked)
    assert said.startswith(
        "At 10 requests/s, model M: three_tier answers fastest (p50; holds in 100 % of cloud ranges); serverless costs least below "
    )
    assert "requests/s (" in said and said.endswith("over the cloud ranges.")
    assert sure == (
        "Exploratory: 3 deployments of each architecture give intervals but no verdict. Measured on 2 virtual cores, with the load driver "
        "and the system on the same cores (isolation none)."
    )
    assert any(n.startswith("serverless is cheaper than three_tier below") for n in notes)
    assert any("cpu_scale 1" in n for n in notes)


def test_a_ranking_that_flips_gets_no_winner(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    flips = change(
        ranked, "p50_ms", status="flips", sentence="three_tier beats serverless at p50 only while one hop costs less than 0.4 ms"
    )
    said, _, _ = answer(summary(), (), priced, flips)
    assert "fastest (p50" not in said
    assert said.endswith(
        "No fastest can be named on this machine, because three_tier beats serverless at p50 only while one hop costs less than 0.4 ms."
    )
    assert said.startswith("At model M: serverless costs least below")


def test_costs_that_flip_below_the_break_even_name_no_cheapest(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    flips = change(ranked, "cost at 1/s", status="flips", winner="", sentence="it depends on memory")
    said, _, _ = answer(summary(), (), priced, flips)
    assert "costs least" not in said
    assert said.endswith("No cheapest can be named, because it depends on memory.")


def test_a_break_even_without_an_interval_names_no_cheapest(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    vague = tuple(
        replace(b, traffic_per_s=replace(b.traffic_per_s, low=None, high=None)) if b.traffic_per_s.value is not None else b
        for b in priced.break_even
    )
    said, _, _ = answer(summary(), (), replace(priced, break_even=vague), ranked)
    assert "costs least" not in said
    assert "No cheapest can be named, because the break-even of serverless and three_tier has no interval." in said
    half_open = tuple(replace(b, traffic_per_s=replace(b.traffic_per_s, high=None)) for b in priced.break_even)
    assert "serverless costs least below" in answer(summary(), (), replace(priced, break_even=half_open), ranked)[0]


def test_one_valid_deployment_of_a_group_names_no_cheapest(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    few = summary(groups=tuple(replace(g, valid_deployments=1) if g.name == "three_tier" else g for g in summary().groups))
    said, _, _ = answer(few, (), priced, ranked)
    assert "costs least" not in said
    assert "because three_tier has one valid deployment only, which tells no spread of the cost." in said


def test_where_nothing_holds_it_says_why(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    nothing = tuple(replace(r, status="cannot", winner="", sentence="the floor is too high") for r in ranked)
    said, _, _ = answer(summary(), (), priced, nothing)
    assert said == "At model M: no winner can be named on this machine, because the floor is too high."


def test_why_there_is_no_winner_is_about_those_that_nobody_beats(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    def tied(r: Ranking) -> Ranking:
        pair = {r.a, r.b}
        if r.metric != "p50_ms" or pair == {"three_tier", "serverless"}:
            return r
        return replace(r, status="cannot", winner="", sentence="first" if "three_tier" in pair else "second")

    said, _, _ = answer(summary(), (), priced, tuple(map(tied, sorted(ranked, key=lambda r: "three_tier" in (r.a, r.b)))))
    assert "No fastest can be named on this machine, because first." in said


def test_a_difference_that_may_be_chance_names_no_fastest(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    effects = (Effect(metric="p50_ms", a="three_tier", b="microservices", ratio=stat(1.02), verdict="cannot tell", reason="p = 0.4"),)
    said, _, _ = answer(summary(primary_metric="p50_ms", verdicts=True), effects, priced, ranked)
    assert "answers fastest" not in said
    assert "the difference between three_tier and microservices cannot be told from chance (p = 0.4)" in said


def test_without_costs_only_speed_is_named(ranked: tuple[Ranking, ...]) -> None:
    said, _, notes = answer(summary(), (), None, ranked)
    assert "three_tier answers fastest" in said and "No cheapest can be named, because no cost was computed." in said
    assert not any("Prices" in n for n in notes)


def test_verdicts_and_invalid_cells_are_said(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    cells = (
        CellVerdict(cell="1", group="three_tier", block=0, valid=True),
        CellVerdict(cell="2", group="three_tier", block=1, valid=False),
    )
    _, sure, _ = answer(summary(verdicts=True, deployments=7, detectable_ratio=1.12, cells=cells), (), priced, ranked)
    assert sure.startswith("7 deployments of each architecture, able to tell differences above 12 %.")
    assert sure.endswith("1 of 2 cells is INVALID and left out.")


def test_an_exploratory_run_says_which_differences_may_be_chance(priced: Costs, ranked: tuple[Ranking, ...]) -> None:
    may_be = Effect(metric="p50_ms", a="three_tier", b="microservices", ratio=stat(1.02, "ratio"), verdict="exploratory")
    sure_one = replace(may_be, b="serverless", ratio=stat(1.6, "ratio"))
    exploratory = summary(primary_metric="p50_ms")
    said = "On these deployments alone the difference in p50 of three_tier and microservices may be chance"
    assert said in answer(exploratory, (may_be, sure_one), priced, ranked)[1]
    every = answer(exploratory, (may_be, replace(may_be, b="serverless")), priced, ranked)[1]
    assert "On these deployments alone every difference in p50 may be chance" in every
    assert "On these deployments" not in answer(exploratory, (sure_one,), priced, ranked)[1]
    assert "On these deployments" not in answer(summary(primary_metric="p50_ms", verdicts=True), (may_be,), priced, ranked)[1]


def test_one_deployment_is_one() -> None:
    assert answer(summary(deployments=1), (), None, ())[1].startswith(
        "Exploratory: 1 deployment of each architecture gives figures but no verdict"
    )


def test_what_stands_for_missing_headers_is_said(ranked: tuple[Ranking, ...]) -> None:
    silent = replace(group("serverless").counts, why_missing="no answer carried a Server-Timing header")
    notes = answer(summary(groups=(group("three_tier"), group("serverless", counts=silent))), (), None, ranked)[2]
    assert any(n.startswith("serverless: no answer carried a Server-Timing header, so") and "means over all operations" in n for n in notes)
    assert not any("header" in n for n in answer(summary(), (), None, ranked)[2])


def test_nothing_to_compare() -> None:
    only = group("three_tier")
    said = answer(summary(groups=(only,)), (), None, ())[0]
    step = next(s for s in only.steps if s.rate_per_s == summary().primary_rate_per_s)
    assert said.startswith(f"three_tier, model M: at {step.rate_per_s:g} requests/s p50 {step.latency['p50'].value:.3g} ms")
    assert said.endswith(" ms. There is nothing to compare it with.")
    searched = answer(summary(groups=(group("three_tier", search=("one",)),)), (), None, ())[0]
    assert f"the largest rate that held is {only.held_rate_per_s.value:.4g} requests/s" in searched
    closed = answer(replace(summary(groups=(only,)), load_kind="single_stream"), (), None, ())[0]
    assert "in a closed loop service p50 " in closed and closed.count(" answers/s") == 1
    assert "no architecture was measured" in answer(summary(groups=()), (), None, ())[0]


def test_each_model_size_gets_its_own_sentence() -> None:
    groups = tuple(replace(group(n, model_size=size), name=f"{n} {size}") for size in ("S", "M") for n in ("three_tier", "serverless"))
    made = summary(groups=groups)
    said, _, _ = answer(made, (), None, rankings(made, None, draws=50))
    assert said.count("answers fastest") == 2 and "model S" in said and "model M" in said
