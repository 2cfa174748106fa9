"""Every price book, ours and the user's own: it loads, says where its figures come from, and prices every architecture of a run."""

from __future__ import annotations

import re
from datetime import date

import pytest

from lab import registry
from lab.analysis import prices
from lab.analysis.cost import costs
from tests.unit.summaries import summary


@pytest.fixture(params=registry.names("prices"))
def book(request: pytest.FixtureRequest) -> prices.PriceBook:
    return prices.load(request.param)


def test_only_price_books_are_listed() -> None:
    assert "aws" in registry.names("prices")
    assert "ranges" not in registry.names("prices")


def test_every_figure_has_a_source_and_a_day_or_says_that_it_has_none(book: prices.PriceBook) -> None:
    for key, price in book.prices.items():
        assert price.source.strip(), key
        assert re.fullmatch(r"\d{4}(-\d\d){0,2}|unknown", price.as_of), key
        assert price.grade in book.grades, key
        assert price.derived or price.grade != "C", f"{key} is of grade C and does not say how it was derived"


def test_prices_of_a_tier_fall(book: prices.PriceBook) -> None:
    for tiers in (book.mapping.function.duration, book.mapping.gateway.api, book.mapping.egress):
        values = [book.price(t.price) for t in tiers]
        assert values == sorted(values, reverse=True)


def test_more_costs_more(book: prices.PriceBook) -> None:
    """Of two VM types of one series, and of two container sizes, the one that holds more is not the cheaper one."""
    types = list(book.mapping.vm.types.items())
    for name, small in types:
        for other, large in types:
            if name.partition(".")[0] == other.partition(".")[0] and large.vcpu >= small.vcpu and large.gib > small.gib:
                assert book.price(large.price) > book.price(small.price), (name, other)


def test_it_prices_every_architecture(book: prices.PriceBook) -> None:
    found = costs(summary(), book, today=date(2026, 11, 22))
    assert {(c.group, c.traffic_per_s) for c in found.at} == {
        (g, t) for g in ("three_tier", "microservices", "serverless") for t in (1.0, 10.0, 50.0)
    }
    for at in found.at:
        assert at.month_allocation.value is not None and at.month_allocation.value > 0
        assert at.month_allocation.basis == "priced"
    assert found.break_even and found.assumptions
