"""Rankings as lines: one chain where one order holds, pairs that flip beside it, and every reason for silence once; nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from lab.analysis import prices
from lab.analysis.cost import costs
from lab.analysis.results import Comparison, Ranking
from lab.model import Stat
from lab.report import cloud, facts
from lab.report.cloud import Line, Unsaid
from lab.report.evidence import options
from lab.report.tables import headline, own_options
from tests.unit import report_samples as samples
from tests.unit import summaries


def holds(winner: str, loser: str, share: float = 1.0, metric: str = "p50_ms") -> Ranking:
    a, b = sorted((winner, loser))
    shares = {winner: share, loser: 1 - share}
    return Ranking(metric=metric, a=a, b=b, status="holds", winner=winner, shares=shares, flip_at="", sentence="")


def flips(a: str, b: str) -> Ranking:
    return replace(holds(a, b, 0.7), status="flips", winner="", flip_at="one hop costs 1 ms", sentence=f"{a} beats {b} while hops are dear")


def cannot(a: str, b: str, why: str, metric: str = "p99_ms") -> Ranking:
    return replace(holds(a, b, metric=metric), status="cannot", winner="", shares={}, sentence=why)


def compared(*rankings: Ranking) -> Comparison:
    return replace(samples.comparison(), rankings=rankings)


def lines(*rankings: Ranking) -> tuple[Line, ...]:
    return dict(cloud.lines(compared(*rankings)))["p50"]


def test_one_order_of_all_is_one_chain_with_its_weakest_link() -> None:
    made = lines(holds("b", "c", 0.968), holds("a", "b"), holds("a", "c"))
    assert made == (Line(order="a < b < c", status="holds", words="holds (at least 96 % of cloud draws)"),)


def test_a_pair_that_flips_shares_a_place_in_the_chain_and_has_a_line_of_its_own() -> None:
    made = lines(holds("a", "b"), holds("a", "c"), flips("b", "c"))
    assert [line.order for line in made] == ["a < b or c", "b or c"]
    assert made[1].words == "flips: b beats c while hops are dear"


def test_without_a_common_order_every_pair_has_its_line() -> None:
    made = lines(holds("a", "b"), flips("b", "c"), flips("a", "c"))
    assert [(line.order, line.status) for line in made] == [("a < b", "holds"), ("b or c", "flips"), ("a or c", "flips")]
    circle = lines(holds("a", "b"), holds("b", "c"), holds("c", "a"))
    assert [line.order for line in circle] == ["a < b", "b < c", "c < a"]


def test_groups_that_were_never_ranked_against_each_other_get_chains_of_their_own() -> None:
    assert [line.order for line in lines(holds("a", "b"), holds("y", "x"))] == ["a < b", "y < x"]


@given(st.lists(st.sampled_from(["<", ">", "flips", "cannot"]), min_size=6, max_size=6))
def test_no_ranking_is_lost(statuses: list[str]) -> None:
    names = "abcd"
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    make = {"<": holds, ">": lambda a, b: holds(b, a), "flips": flips, "cannot": lambda a, b: cannot(a, b, "why", "p50_ms")}
    made = compared(*(make[status](*pair) for status, pair in zip(statuses, pairs, strict=True)))
    said = [line for _, found in cloud.lines(made) for line in found]
    better = set()
    for line in said:
        classes = [part.split(" or ") for part in line.order.split(" < ")]
        better |= {(x, y) for i, one in enumerate(classes) for other in classes[i + 1 :] for x in one for y in other}
    assert better == {(r.winner, r.b if r.winner == r.a else r.a) for r in made.rankings if r.status == "holds"}
    assert sum(line.status == "flips" for line in said) == statuses.count("flips")
    assert sum(len(u.pairs.split("; ")) if u.pairs else 6 for u in cloud.unsaid(made)) == statuses.count("cannot")


def test_winners_stand_alone_at_the_head_of_an_order_that_holds() -> None:
    assert cloud.winners(compared(holds("a", "b"), holds("a", "c"), flips("b", "c"))) == {("p50_ms", "a")}
    assert cloud.winners(compared(flips("a", "b"), holds("a", "c"), holds("b", "c"))) == set()
    assert cloud.winners(None) == set()


def test_one_reason_of_many_groups_is_said_once_without_their_names() -> None:
    said = [cannot("a", "b", "p99 of a is not supported: 12 samples"), cannot("b", "c", "p99 of b is not supported: 12 samples")]
    (one,) = cloud.unsaid(compared(*said))
    assert one == Unsaid(metrics=("p99",), pairs="", sentence="p99 is not supported: 12 samples")
    assert one.words == one.sentence
    differ = cloud.unsaid(compared(said[0], cannot("b", "c", "p99 of b is not supported: 9 samples")))
    assert [u.words for u in differ] == [
        "p99 of a or b: p99 of a is not supported: 12 samples",
        "p99 of b or c: p99 of b is not supported: 9 samples",
    ]


def test_a_sentence_that_names_its_pair_and_metric_stands_alone() -> None:
    same = cannot("left", "right", "left and right differ at p50 by less than the floor", "p50_ms")
    assert [u.words for u in cloud.unsaid(compared(same, holds("left", "other")))] == [same.sentence]


def test_shares_are_never_rounded_up() -> None:
    assert [cloud.draws(x) for x in (0, 0.004, 0.5, 0.968, 0.9999, 1)] == ["0 %", "< 1 %", "50 %", "96 %", "99 %", "100 %"]


def test_a_break_even_says_where_it_lies_in_a_cloud() -> None:
    assert samples.COSTS_BREAK_EVEN.sentence == ""
    over = Stat(value=3.0, unit="1/s", low=2.0, high=4.0, basis="modelled")
    said = cloud.break_even(replace(samples.COSTS_BREAK_EVEN, in_cloud=over))
    assert said.endswith("requests/s (3.72–6.08); over the cloud ranges below 2.00–4.00 requests/s")


# ---- what is priced and which options --------------------------------------------------------------------------------


def test_it_is_said_that_functions_are_priced_unlike_the_rest() -> None:
    priced = costs(summaries.summary(), prices.load("aws"), today=date(2026, 11, 22))
    said = facts.pricing(priced)
    assert "1769 MB" in said and "a VM or a container is priced at its configured vCPU and memory" in said
    assert facts.pricing(replace(priced, assumptions=())) == ""


def test_variants_show_the_options_in_which_they_differ() -> None:
    summary = samples.summary()
    base = replace(summary.groups[0], options={"batch_max": 0, "app_memory_mib": 512})
    other = replace(base, name="three_tier-batching", variant="batching", options={"batch_max": 8, "app_memory_mib": 512})
    made = replace(summary, groups=(base, other, *summary.groups[1:]))
    assert [own_options(made, g) for g in made.groups] == ["batch_max 0", "batch_max 8", "", ""]
    assert headline(made, None).rows[1].cells[0].interval == "batch_max 8"
    assert [row.strong for row in options(made).rows if row.series == other.name] == [True, False]
    assert facts.heading(made).startswith("vision M · 3 architectures in 4 variants · 3 deployments of each")
