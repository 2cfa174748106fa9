"""Which one wins where: a winner with its factor or a reason at each size and rate, in the page, in Markdown and on the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from functools import cache
from html import unescape

import pytest
from rich.console import Console

from lab.analysis.results import Comparison, Summary
from lab.report import terminal, wins
from lab.report.compared import monthly
from lab.report.figures import figure
from lab.report.html import html
from lab.report.markdown import markdown
from tests.unit import map_samples
from tests.unit import report_samples as samples

SUMMARY, COMPARISON = map_samples.summary(), map_samples.comparison()
OVERLAP = "the intervals of three_tier and microservices overlap"


@cache
def page() -> str:
    return html(SUMMARY, COMPARISON)


def places(summary: Summary = SUMMARY, comparison: Comparison = COMPARISON) -> dict[tuple[str, str, float], wins.Place]:
    return {
        (grid.metric, size, rate): place
        for grid in wins.grids(summary, comparison)
        for size, row in grid.rows
        for rate, place in zip(grid.rates, row, strict=True)
    }


def test_every_size_and_rate_has_a_winner_or_a_reason() -> None:
    found = places()
    assert len(found) == 3 * 5 + 3 * 4
    assert all(bool(p.name) != bool(p.why) for p in found.values())
    fast = found["p50_ms", "M", 5.0]
    assert (fast.series, fast.name, fast.factor, fast.beside) == ("three_tier-M", "three_tier", "1.3×", "faster than microservices")
    assert found["p50_ms", "M", 40.0].name == "microservices"
    assert found["p50_ms", "S", 5.0].why == OVERLAP
    assert found["p50_ms", "L", 20.0].cell.interval == "the only one that held this rate"
    assert found["p50_ms", "L", 40.0].why == "none held this rate"
    assert found["cost", "S", 1.0].beside == "cheaper than three_tier"


def test_each_place_names_the_win_that_it_shows() -> None:
    for (metric, size, rate), place in places().items():
        win = COMPARISON.wins[int(place.source.removeprefix("comparison.json /wins/"))]
        assert (win.metric, win.model_size, win.rate_per_s, win.winner) == (metric, size, rate, place.series)


def test_a_group_that_may_not_be_used_wins_nothing() -> None:
    groups = tuple(replace(g, valid_deployments=0) if g.name == "three_tier-M" else g for g in SUMMARY.groups)
    place = places(replace(SUMMARY, groups=groups))["p50_ms", "M", 5.0]
    assert place.why.startswith("INVALID") and not place.name and not place.factor


def test_a_place_that_was_not_compared_says_so() -> None:
    some = tuple(w for w in COMPARISON.wins if (w.model_size, w.rate_per_s) != ("S", 20.0))
    assert places(comparison=replace(COMPARISON, wins=some))["p50_ms", "S", 20.0].why == "this rate was not run"


def test_one_size_at_two_rates_is_no_map() -> None:
    base = samples.comparison()
    some = tuple(w for w in base.wins if w.rate_per_s < 40 and w.metric == "p50_ms")
    assert len(some) == 2
    assert wins.grids(samples.summary(), base)
    assert wins.grids(samples.summary(), replace(base, wins=some)) == ()
    assert wins.grids(samples.summary(), None) == ()
    made = html(samples.summary(), replace(base, wins=some))
    assert "Which one wins where" not in made and "#wins" not in made


@pytest.mark.parametrize(("margin", "text"), [(1.42, "1.4×"), (12.3, "12×"), (1.04, "1.04×"), (1.1, "1.1×"), (240.0, "240×")])
def test_a_factor_never_reads_as_none(margin: float, text: str) -> None:
    assert wins.factor(margin) == text


def test_names_of_which_one_begins_another_are_told_apart() -> None:
    longer = replace(SUMMARY.groups[0], name="three_tier-batching-S", variant="batching")
    summary = replace(SUMMARY, groups=(*SUMMARY.groups, longer))
    why = replace(COMPARISON.wins[0].margin, value=None, why_missing="the intervals of three_tier-S and three_tier-batching-S overlap")
    win = replace(COMPARISON.wins[0], winner="", margin=why)
    found = places(summary, replace(COMPARISON, wins=(win, *COMPARISON.wins[1:])))
    assert found["p50_ms", win.model_size, win.rate_per_s].why == "the intervals of three_tier and three_tier-batching overlap"


# ---- in the page -----------------------------------------------------------------------------------------------------


def section() -> str:
    found = re.search(r'<section id="wins">.*?</section>', page(), re.S)
    assert found is not None
    return found[0]


def test_the_page_shows_it_after_the_strips_and_links_to_it_above() -> None:
    order = ["<h1", 'href="#wins"', "Throughput against latency", "Would it hold in a cloud?", "Which one wins where", "Small print"]
    at = [page().index(words) for words in order]
    assert at == sorted(at)


def test_its_grids_are_tables_with_heads_for_sizes_and_rates() -> None:
    made = section()
    assert len(re.findall(r"<table", made)) == len(re.findall(r"<caption", made)) == 2
    assert re.findall(r'<th scope="row"[^>]*>([SML])</th>', made) == ["S", "M", "L"] * 2
    assert re.findall(r'<th scope="col">([\d.]+/s)', made) == ["2/s", "5/s", "10/s", "20/s", "40/s", "0.1/s", "1/s", "10/s", "50/s"]


def test_a_winner_is_told_by_name_and_marker_and_not_by_colour_alone() -> None:
    won = re.findall(r'<td class="won".*?</td>', section(), re.S)
    assert len(won) == sum(bool(p.name) for p in places().values()) > 15
    for cell in won:
        assert re.search(r'<svg class="key".*</svg>(three_tier|microservices|serverless)<small>', cell), cell
        assert 'data-source="comparison.json /wins/' in cell


def test_an_empty_place_has_its_reason_as_a_footnote() -> None:
    text = unescape(section())
    for why in (OVERLAP, "none held this rate"):
        assert text.count(f"— {why}") == 1


# ---- in Markdown and on the terminal ---------------------------------------------------------------------------------


def test_markdown_has_both_grids_and_still_fits_into_a_comment() -> None:
    made = markdown(SUMMARY, COMPARISON)
    assert len(made.encode()) < 10_000
    assert "| model | 2/s | 5/s | 10/s | 20/s | 40/s |" in made
    assert "| model | 0.1/s | 1/s | 10/s | 50/s |" in made
    assert "three_tier (1.3× faster than microservices)" in made
    assert f"</sup> — {OVERLAP}" in made
    assert wins.READ_IT in made


def printed(width: int, summary: Summary, comparison: Comparison) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(terminal.table(summary, comparison))
    return stream.getvalue()


@pytest.mark.parametrize("width", [100, 160])
def test_the_terminal_shows_the_map_when_there_are_several_sizes(width: int) -> None:
    text = printed(width, SUMMARY, COMPARISON)
    assert max(map(len, text.splitlines())) <= width
    rows = [line.split() for line in text.splitlines()]
    assert ["S", "-", "a", "-", "a", "-", "a", "-", "a", "microservices", "1.2×"] in rows
    assert ["L", *["three_tier", "1.3×"] * 3, "three_tier", "alone", "-", "b"] in rows
    assert ["M", "serverless", "2.2×", "serverless", "1.4×", "three_tier", "1.8×", "three_tier", "2.9×"] in rows
    assert f"a: {OVERLAP}" in text and "alone: the only one that held this rate" in text


def test_the_terminal_shows_no_map_of_one_size() -> None:
    assert "at each rate" not in printed(160, samples.summary(), samples.comparison())


# ---- both bases of a correct answer ----------------------------------------------------------------------------------


def test_a_correct_answer_is_priced_on_both_bases_where_both_are_known() -> None:
    costs = samples.costs()
    table = monthly(samples.summary(), costs)
    titles = [c.title for c in table.columns]
    column = table.column(titles.index("per 1,000 correct, usage"))
    by_source = {c.source: c.text for c in column}
    for index, at in enumerate(costs.at):
        assert at.per_1000_correct_usage is not None
        assert by_source[f"comparison.json /costs/at/{index}/per_1000_correct_usage"] == figure(at.per_1000_correct_usage).bare
    older = replace(costs, at=tuple(replace(at, per_1000_correct_usage=None) for at in costs.at))
    assert "per 1,000 correct, usage" not in [c.title for c in monthly(samples.summary(), older).columns]
    assert all(len(row.cells) == len(monthly(samples.summary(), older).columns) for row in monthly(samples.summary(), older).rows)
