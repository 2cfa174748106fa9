"""Charts are small, the same for the same input, themed by class, and say in words what they show."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from lab.report import bars, charts, palette, svg
from tests.unit import report_samples as samples

SUMMARY, COMPARISON = samples.summary(), samples.comparison()
LOOKS = palette.looks(SUMMARY.groups)
NAMES = [g.name for g in SUMMARY.groups]
assert COMPARISON.costs is not None
COSTS = COMPARISON.costs

CHARTS: dict[str, Callable[[str], str]] = {
    "throughput": lambda name: charts.throughput(SUMMARY.groups, LOOKS, SUMMARY, name),
    "cost": lambda name: charts.monthly_cost(COSTS, NAMES, LOOKS, name),
    "percentiles": lambda name: charts.percentiles(SUMMARY.groups, LOOKS, SUMMARY, name),
    "timeline": lambda name: charts.timeline(SUMMARY.groups[2], LOOKS["serverless"], name),
    "waterfall": lambda name: bars.waterfall(SUMMARY.groups, LOOKS, name),
    "cold": lambda name: bars.cold(SUMMARY.groups, name),
    "bill": lambda name: bars.bill(COSTS.at[:3], name),
}
parametrized = pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)


@parametrized
def test_the_same_input_gives_the_same_bytes(draw: Callable[[str], str]) -> None:
    assert draw("x") == draw("x")


@parametrized
def test_it_is_small(draw: Callable[[str], str]) -> None:
    assert len(draw("x")) < 16_000


@parametrized
def test_a_screen_reader_hears_a_title_and_a_description(draw: Callable[[str], str]) -> None:
    root = ElementTree.fromstring(draw("x"))
    assert root.get("role") == "img"
    labels = (root.get("aria-labelledby") or "").split()
    words = {e.get("id"): e.text for e in root.iter() if e.tag in ("title", "desc")}
    assert labels and all(words.get(label) for label in labels)


@parametrized
def test_every_colour_can_be_themed(draw: Callable[[str], str]) -> None:
    for element in ElementTree.fromstring(draw("x")).iter():
        classes = (element.get("class") or "").split()
        for attribute, prefix in (("fill", "f-"), ("stroke", "k-")):
            if (element.get(attribute) or "none") != "none":
                assert any(c.startswith(prefix) for c in classes), ElementTree.tostring(element)


@parametrized
def test_ids_are_its_own_and_every_reference_resolves(draw: Callable[[str], str]) -> None:
    drawn = draw("mine")
    ids = re.findall(r' id="([^"]+)"', drawn)
    assert len(set(ids)) == len(ids)
    assert all(i.startswith("mine-") for i in ids)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawn)) <= set(ids)


@parametrized
def test_text_is_text_without_a_font_of_its_own(draw: Callable[[str], str]) -> None:
    drawn = draw("x")
    assert "<text" in drawn
    assert "DejaVu" not in drawn and "style=" not in drawn


def texts(drawn: str) -> list[str]:
    return ["".join(e.itertext()) for e in ElementTree.fromstring(drawn).iter() if e.tag == "text"]


def test_lines_are_named_beside_them_and_the_slo_is_there() -> None:
    said = texts(CHARTS["throughput"]("x"))
    assert set(NAMES) <= set(said)
    assert "SLO: p95 within 250 ms" in said


def test_break_even_points_carry_their_band() -> None:
    assert "4.90/s (3.72–6.08)" in texts(CHARTS["cost"]("x"))


def test_a_break_even_with_an_open_end_is_drawn() -> None:
    first = COSTS.break_even[0]
    costs = replace(COSTS, break_even=(replace(first, traffic_per_s=replace(first.traffic_per_s, high=None), more=(20.0,)),))
    assert "4.90/s (≥ 3.72/s)" in texts(charts.monthly_cost(costs, NAMES, LOOKS, "x"))


def test_stages_stand_in_the_same_row_in_every_architecture() -> None:
    order = bars.span_order(SUMMARY.groups, 0.0)
    for group in SUMMARY.groups:
        rows = [order.index((s.kind, s.name)) for s in group.waterfall]
        assert rows == sorted(rows), group.name
    assert {"→ preprocess", "→ infer", "→ record"} <= set(texts(CHARTS["waterfall"]("x")))


def test_spans_that_share_a_row_share_one_label() -> None:
    group = SUMMARY.groups[0]
    twice = replace(group.waterfall[1], service="another", start_ms=group.waterfall[1].start_ms + 0.1, duration_ms=1.3)
    said = texts(bars.waterfall([replace(group, waterfall=(*group.waterfall[:2], twice, *group.waterfall[2:]))], LOOKS, "x"))
    assert "3.1 + 1.3" in said


def test_events_outside_the_time_shown_are_not_drawn() -> None:
    group = SUMMARY.groups[2]
    early = replace(group, events=(*group.events, {"at_s": -2.0, "kind": "ready", "service": "infer"}))
    drawn = [charts.timeline(g, LOOKS["serverless"], "x") for g in (group, early)]
    assert drawn[0].count("<use") == drawn[1].count("<use")


def test_spans_that_nobody_could_see_get_no_row() -> None:
    assert ("stage", "record") not in bars.span_order(SUMMARY.groups, 1.2)


def test_phases_of_a_cold_start_stand_in_order_of_time_whatever_the_file_did_to_them() -> None:
    shuffled = dict(sorted(SUMMARY.groups[2].cold_phases_ms.items()))
    order = bars.cold_phase_order([replace(SUMMARY.groups[2], cold_phases_ms=shuffled)])
    assert order == ["spawn", "import", "open", "model", "first request"]


def test_prices_of_grade_c_are_not_in_the_stack() -> None:
    at = COSTS.at[0]
    dear = replace(at, lines=tuple(replace(line, grade="C") if line.kind == "compute" else line for line in at.lines))
    assert bars.bill([at], "x") != bars.bill([dear], "x")
    without = replace(at, lines=tuple(replace(i, allocation_usd=0.0, usage_usd=0.0) if i.kind == "compute" else i for i in at.lines))
    assert bars.bill([dear], "x") == bars.bill([without], "x")


def test_groups_without_a_valid_deployment_are_not_drawn() -> None:
    invalid = replace(SUMMARY.groups[0], valid_deployments=0)
    said = texts(charts.throughput((invalid, *SUMMARY.groups[1:]), LOOKS, SUMMARY, "x"))
    assert "three_tier" not in said and "serverless" in said


def test_nothing_usable_still_gives_a_picture_that_says_so() -> None:
    assert "no usable figure" in texts(charts.throughput((), {}, SUMMARY, "x"))
    assert "no usable figure" in texts(charts.monthly_cost(COSTS, [], {}, "x"))


def test_a_name_is_text_not_markup_nor_mathematics() -> None:
    group = replace(SUMMARY.groups[0], name="<b>&$x_1$")
    drawn = charts.throughput((group,), palette.looks((group,)), SUMMARY, "x")
    assert "<b>&$x_1$" in texts(drawn)
    assert "<b>" not in drawn


def test_a_name_of_another_script_draws_without_a_warning() -> None:
    group = replace(SUMMARY.groups[0], name="三層")
    assert "三層" in texts(charts.throughput((group,), palette.looks((group,)), SUMMARY, "x"))


def test_a_file_of_its_own_carries_both_themes() -> None:
    alone = svg.standalone(CHARTS["throughput"]("x"))
    root = ElementTree.fromstring(alone)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("width") and root.get("height")
    assert "prefers-color-scheme:dark" in alone
    used = set(re.findall(r"\b[fk]-(\w+)", alone))
    assert all(palette.COLOURS[role][1] in alone for role in used)


def test_architectures_differ_in_colour_dash_and_marker() -> None:
    made = [palette.Look(i) for i in range(palette.SERIES)]
    for trait in ("line", "dash", "marker"):
        assert len({getattr(look, trait) for look in made}) == palette.SERIES


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("role", ["ink", "soft", *(f"t{i}" for i in range(palette.SERIES))])
def test_text_can_be_read_on_its_page(role: str, dark: bool) -> None:
    assert contrast(palette.COLOURS[role][dark], palette.COLOURS["page"][dark]) >= 4.5
