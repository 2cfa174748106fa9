"""report.html opens offline, says the answer first, leaves no figure without unit, reason or source, and can be used by everyone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from lab.analysis.results import Comparison, Summary
from lab.model import Stat
from lab.report.html import html
from tests.unit import report_samples as samples

VOID = {"meta", "link", "input", "br", "img", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Every element in order of appearance; raises AssertionError where tags do not balance."""

    elements: list[Element] = field(default_factory=list)
    stack: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {k: v or "" for k, v in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack[-1].tag == tag, f"</{tag}> closes <{self.stack[-1].tag if self.stack else ''}> at {self.getpos()}"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        for element in self.stack:
            element.text += data

    def all(self, *tags: str) -> list[Element]:
        return [e for e in self.elements if e.tag in tags]


def parse(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert not page.stack, f"never closed: {[e.tag for e in page.stack]}"
    return page


@cache
def full() -> str:
    return html(samples.summary(), samples.comparison(), run="a-run")


@cache
def page() -> Page:
    return parse(full())


def stats(value: object) -> Iterator[Stat]:
    """Every Stat inside a result."""
    if isinstance(value, Stat):
        yield value
    elif is_dataclass(value):
        for f in fields(value):
            yield from stats(getattr(value, f.name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from stats(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from stats(item)


def variants() -> Iterator[tuple[str, Summary, Comparison | None]]:
    summary, comparison = samples.summary(), samples.comparison()
    invalid = tuple(replace(g, valid_deployments=0, steps=(), waterfall=(), timeline=(), services=()) for g in summary.groups)
    yield "full", summary, comparison
    yield "no comparison", summary, None
    yield "no costs", summary, replace(comparison, costs=None, effects=(), rankings=())
    yield "no valid group", replace(summary, groups=invalid), comparison
    yield "no group", replace(summary, groups=(), cells=()), None
    yield "no floor", replace(summary, floor_driver_ms={}, floor_path_ms={}), comparison
    sizes = tuple(replace(g, name=f"{g.name}-{size}", model_size=size) for size in ("S", "M") for g in summary.groups)
    yield "two sizes", replace(summary, groups=sizes), comparison


@pytest.mark.parametrize(("summary", "comparison"), [v[1:] for v in variants()], ids=[v[0] for v in variants()])
def test_it_is_well_formed_whatever_is_missing(summary: Summary, comparison: Comparison | None) -> None:
    made = parse(html(summary, comparison))
    assert len(made.all("h1")) == 1
    ids = [e.attributes["id"] for e in made.elements if "id" in e.attributes]
    assert len(set(ids)) == len(ids)


def test_the_same_input_gives_the_same_page() -> None:
    assert html(samples.summary(), samples.comparison(), run="a-run") == full()


def test_it_asks_no_other_place_for_anything() -> None:
    for element in page().elements:
        for name in ("src", "srcset", "data", "poster", "action"):
            assert not element.attributes.get(name), element
        target = element.attributes.get("href", "")
        assert not re.match(r"(?i)(https?:)?//", target), element
        assert element.tag != "link" or target.startswith("data:")
    assert "@import" not in full()
    assert not re.search(r"url\((?!#)", full())
    policy = next(e for e in page().all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy.attributes["content"]


def test_the_answer_comes_first_then_how_sure_then_the_pictures() -> None:
    comparison = samples.comparison()
    body = full()[full().index("<main>") :]
    text = unescape(re.sub(r"<[^>]+>", "", body)).strip()
    assert text.startswith(comparison.answer)
    order = [
        comparison.certainty,
        "Throughput against latency",
        "Dollars per month",
        "Would it hold in a cloud?",
        "Small print",
        "The figures",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_without_a_comparison_it_says_so_where_the_answer_would_be() -> None:
    made = parse(html(samples.summary(), None))
    assert made.all("h1")[0].text == "No comparison has been made of this run"
    assert "lab compare" in next(e for e in made.all("p") if e.attributes.get("class") == "certainty").text


def test_headings_go_down_one_level_at_a_time() -> None:
    levels = [int(e.tag[1]) for e in page().all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_the_basics_of_accessibility() -> None:
    made = page()
    assert made.all("html")[0].attributes["lang"] == "en"
    assert made.all("title")[0].text
    for svg in made.all("svg"):
        spoken = svg.attributes.get("role") == "img" and svg.attributes.get("aria-labelledby")
        assert spoken or svg.attributes.get("aria-hidden") == "true"
    assert len(made.all("table")) == len(made.all("caption"))
    assert all(th.attributes.get("scope") in ("col", "row", "rowgroup") for th in made.all("th"))
    ids = [e.attributes["id"] for e in made.elements if "id" in e.attributes]
    assert len(set(ids)) == len(ids)
    inside = [e.attributes["href"][1:] for e in made.all("a") if e.attributes.get("href", "").startswith("#")]
    assert set(inside) <= set(ids)


def test_every_chart_has_its_table_behind_a_toggle() -> None:
    charts = re.findall(r"<figure.*?</figure>", full(), re.S)
    assert len(charts) >= 10
    assert all("<details" in chart and "<table" in chart for chart in charts)


def test_everything_missing_is_a_dash_with_its_reason() -> None:
    text = unescape(full())
    missing = {s.why_missing for s in stats(samples.summary()) if s.value is None}
    missing |= {s.why_missing for s in stats(samples.comparison()) if s.value is None}
    assert len(missing) >= 4
    for why in missing:
        assert f"— {why}" in text, why
        assert f'title="{why}' in text, why
    for cell in page().all("td"):
        if "missing" in cell.attributes.get("title", "") or cell.text.startswith("—"):
            assert not re.search(r"\d", cell.text), cell


def test_a_percentile_that_the_sample_does_not_support_says_why() -> None:
    cells = [c for c in page().all("td") if c.attributes.get("data-source", "").endswith("/steps/0/latency/p99")]
    assert cells
    assert all(c.text.startswith("—") and samples.P99_WHY in c.attributes["title"] for c in cells)


def test_a_group_without_a_valid_deployment_shows_no_headline_number() -> None:
    summary = samples.summary()
    invalid = replace(summary.groups[0], valid_deployments=0)
    made = parse(html(replace(summary, groups=(invalid, *summary.groups[1:])), samples.comparison()))
    sources = "summary.json /groups/0/"
    cells = [c for c in made.all("td") if c.attributes.get("data-source", "").startswith(sources + "steps")]
    cells += [c for c in made.all("td") if c.attributes.get("data-source", "") in (f"{sources}held_rate_per_s", f"{sources}memory_mib")]
    assert len(cells) > 10
    assert all(c.text.startswith("—") and "INVALID" in c.attributes["title"] for c in cells)


def test_every_figure_of_the_main_tables_says_where_it_comes_from() -> None:
    for name in ("headline", "ladder", "monthly", "floors"):
        table = re.search(rf'<table id="table-{name}">.*?</table>', full(), re.S)
        assert table is not None
        numbers = re.findall(r'<td class="n"[^>]*>', table[0])
        assert numbers
        assert all(re.search(r'data-source="(summary|comparison)\.json /', cell) for cell in numbers), name


def test_events_stand_in_the_timelines_table() -> None:
    table = re.search(r'<table id="table-timeline-2-data">.*?</table>', full(), re.S)
    assert table is not None and "scale infer" in table[0]


def test_every_invalid_cell_stands_there_with_every_reason() -> None:
    text = unescape(full())
    for cell in samples.summary().cells:
        for reason in (*cell.reasons, *cell.warnings):
            assert reason in text
    assert "INVALID cells and why: 1 of 9" in text


def test_every_dollar_stands_beside_its_cpu_scale_and_traffic() -> None:
    text = unescape(full())
    assert "What it costs, cpu_scale 1" in text
    assert "$ per 1M at 10/s" in text
    assert "dated 2026-03-01 to 2026-10-01; 9 of grade A, 4 of grade B, 1 of grade C" in text


def test_it_can_be_repeated_and_names_the_machine() -> None:
    assert "<code>lab run compare</code>" in full()
    listed = html(samples.summary(), None, environment={"identity": "0123abcd", "git": "beef"})
    assert "0123abcd" in listed and "beef" in listed


HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"


def test_markup_in_names_is_shown_and_not_obeyed() -> None:
    made = html(samples.marked_up(HOSTILE), replace(samples.comparison(), answer=f"{HOSTILE} wins", notes=(HOSTILE,)))
    scripts = parse(made).all("script")
    assert len(scripts) == 1
    assert "alert" not in scripts[0].text
    assert f"{HOSTILE} wins" in parse(made).all("h1")[0].text
    assert "{{7*7}}" in made


def test_a_ranking_that_flips_names_no_winner_in_its_verdict() -> None:
    verdicts = [e for e in page().all("td") if e.attributes.get("class") == "flips"]
    assert verdicts and all("flips: one hop costs 0.4 ms" in v.text for v in verdicts)


def test_what_cannot_be_measured_shows_no_draws_and_says_why() -> None:
    cells = [e for e in page().all("td") if e.attributes.get("class") == "cannot"]
    assert len(cells) == 1
    assert "%" not in cells[0].text
    assert "tails cannot be measured" in cells[0].attributes["title"]
