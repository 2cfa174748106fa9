"""How figures are written: digits, units, intervals, and what is missing."""

from __future__ import annotations

import pytest

from lab.model import Stat
from lab.report import figures
from lab.report.axes import apart, clipped


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (9.134, "9.13"),
        (9.996, "10.0"),
        (23.44, "23.4"),
        (999.6, "1,000"),
        (1234.5, "1,234"),
        (-2.345, "-2.35"),
    ],
)
def test_a_number_has_three_significant_digits_at_least(value: float, text: str) -> None:
    assert figures.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "$0.00"), (0.0023, "$0.0023"), (2.334, "$2.33"), (108.4, "$108"), (12345, "$12,345")])
def test_money_has_cents_where_they_matter(value: float, text: str) -> None:
    assert figures.money(value) == text


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("ms", "23.4 ms"),
        ("1/s", "23.4/s"),
        ("requests/s", "23.4/s"),
        ("USD/month", "$23.40"),
        ("USD per 1e6 requests", "$23.40"),
        ("ratio", "×23.4"),
    ],
)
def test_every_figure_has_its_unit(unit: str, text: str) -> None:
    assert figures.figure(Stat(value=23.4, unit=unit)).text == text


def test_a_share_is_written_in_percent_and_zero_is_zero() -> None:
    assert figures.figure(Stat(value=0.031, unit="share")).text == "3.1 %"
    assert figures.figure(Stat(value=0.0, unit="share")).text == "0"


def test_missing_is_a_dash_with_its_reason_and_never_zero() -> None:
    made = figures.figure(Stat.missing("ms", "159 samples; p99 needs 459"))
    assert (made.text, made.why) == (figures.DASH, "159 samples; p99 needs 459")
    assert figures.figure(Stat(value=None, unit="ms")).why


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (21.9, 25.1, "21.9–25.1"),
        (None, None, ""),
        (23.0, 23.0, ""),
        (23.001, 23.002, ""),
        (3.5, None, "≥ 3.50 ms"),
        (None, 4.8, "≤ 4.80 ms"),
    ],
)
def test_an_interval_may_be_absent_open_or_too_narrow_to_print(low: float | None, high: float | None, text: str) -> None:
    assert figures.interval(Stat(value=23.0, unit="ms", low=low, high=high)) == text
    assert figures.interval(Stat(value=None, unit="ms", low=low, high=high)) == ""


def test_money_and_shares_carry_their_sign_once_in_an_interval() -> None:
    assert figures.interval(Stat(value=2.3, unit="USD", low=2.19, high=2.47)) == "$2.19–2.47"
    assert figures.interval(Stat(value=0.02, unit="share", low=0.01, high=0.03)) == "1.0–3.0 %"


def test_the_margin_is_that_of_the_wider_side() -> None:
    assert figures.margin(Stat(value=23.0, unit="ms", low=22.0, high=25.0)) == "±2"
    assert figures.margin(Stat(value=23.0, unit="ms")) == ""
    assert figures.margin(Stat(value=1128.0, unit="ms", low=40.2, high=31_610.0)) == "(40–31,610)"


def test_percentiles_are_named_alike_from_shares_and_percents() -> None:
    assert figures.percentile(95) == figures.percentile(0.95) == "p95"
    assert figures.percentile(99.9) == "p99.9"


def test_labels_move_apart_as_little_as_needed_and_stay_inside() -> None:
    assert apart([10, 50], 14, 0, 100) == [10, 50]
    assert apart([10, 12, 13], 14, 0, 100) == [10, 24, 38]
    assert apart([90, 99, 100], 14, 0, 100) == [72, 86, 100]


def test_a_long_name_keeps_its_end() -> None:
    assert clipped("three_tier") == "three_tier"
    assert clipped("three_tier-batching") == "three_t…batching"
    assert len(clipped("three_tier-batching")) == 16
