"""A figure whose sample carries no interval of it: the value is shown, that there is no interval is shown, and why is found with the other
reasons, on the terminal, in Markdown, on the page and in the charts."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from lab.analysis.results import Group, Summary
from lab.model import Stat
from lab.report import charts, figures, page, palette, terminal
from lab.report.html import html
from lab.report.markdown import markdown
from lab.report.table import cell
from lab.report.tables import headline
from tests.unit import report_samples as samples

WHY = "no interval: 600 samples tell as much as 90 independent ones; an interval of p99 needs 368"
P50 = Stat(value=23.46, unit="ms", n=600, why_missing="no interval: 600 samples tell as much as 4 independent ones")
P99 = Stat(value=71.23, unit="ms", n=600, why_missing=WHY)


def withheld(rates: tuple[float, ...]) -> Summary:
    """three_tier has no interval of p50 and p99 at `rates`."""
    summary = samples.summary()

    def bare(group: Group) -> Group:
        steps = (replace(s, latency={**s.latency, "p50": P50, "p99": P99}) if s.rate_per_s in rates else s for s in group.steps)
        return replace(group, steps=tuple(steps))

    first, *others = summary.groups
    return replace(summary, groups=(bare(first), *others))


AT_PRIMARY = withheld((samples.summary().primary_rate_per_s,))


def test_it_is_told_from_a_figure_of_one_deployment() -> None:
    assert figures.withheld(P99) and not figures.withheld(replace(P99, why_missing=""))
    assert (figures.interval(P99), figures.margin(P99)) == ("no interval", "±?")
    assert not figures.withheld(Stat.missing("ms", WHY)) and figures.interval(Stat.missing("ms", WHY)) == ""


def test_its_cell_has_value_unit_and_reason() -> None:
    made = cell(P99, "summary.json")
    assert (made.text, made.unit, made.interval, made.why, made.missing) == ("71.2", "ms", "no interval", WHY, False)
    assert made.tip.count("no interval") == 1


def test_a_column_keeps_its_unit_and_the_table_gives_the_reason() -> None:
    table = headline(AT_PRIMARY, samples.comparison())
    index = [c.title for c in table.columns].index("p99")
    assert table.unit(index) == "ms" and WHY in table.notes


@pytest.mark.parametrize("width", [100, 160])
def test_the_terminal_shows_the_value_and_says_why_no_interval(width: int) -> None:
    stream = io.StringIO()
    Console(file=stream, width=width).print(terminal.table(AT_PRIMARY, samples.comparison()))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    row = next(line for line in text.splitlines() if line.startswith("three_tier"))
    assert "23.5 ±? ms" in row and "71.2 ±? ms" in row
    said = " ".join(text.split())
    assert f"p50 of three_tier at 10/s: {P50.why_missing}" in said and f"p99 of three_tier at 10/s: {WHY}" in said


def test_markdown_shows_the_value_and_the_reason_below_the_table() -> None:
    made = markdown(AT_PRIMARY, samples.comparison())
    letter = re.search(r"71\.2\*{0,2} \(no interval\)<sup>(\w)</sup>", made)
    assert letter and f"<sup>{letter[1]}</sup> — {WHY}" in made


def test_the_page_shows_the_value_and_the_reason_below_the_table() -> None:
    made = html(AT_PRIMARY, samples.comparison())
    letter = re.search(r"71\.2(?:</strong>)?<small>no interval<sup>(\w)</sup></small>", made)
    assert letter and f"<li><sup>{letter[1]}</sup> — {WHY}</li>" in made


def band(summary: Summary) -> tuple[int, int]:
    """Upright lines and areas of the band of three_tier."""
    drawn = charts.throughput(summary.groups[:1], palette.looks(summary.groups), replace(summary, slo_ms=0.0), "x")
    return len(re.findall(r'd="M ([\d.]+) [-\d.]+\s+L \1 [-\d.]+\s*"', drawn)), drawn.count("fill-opacity")


def test_a_chart_draws_no_band_where_there_is_no_interval_and_its_caption_says_so() -> None:
    steps = len(samples.RATES)
    assert [band(s) for s in (samples.summary(), AT_PRIMARY, withheld(samples.RATES))] == [(steps, 1), (steps - 1, 1), (0, 0)]
    panels = [page.throughput(s, page.panels(s)[0], palette.looks(s.groups)) for s in (AT_PRIMARY, samples.summary())]
    assert ["there is no band" in p.caption for p in panels] == [True, False]
    assert P50.why_missing in panels[0].table.notes
