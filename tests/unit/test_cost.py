"""A run's costs: lines that add up, intervals, missing inputs, break-even points, and the small print."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from lab.analysis import prices
from lab.analysis.bill import Variation
from lab.analysis.cost import costs
from lab.analysis.pricing import price, why_missing
from lab.analysis.results import CostAt, Costs
from lab.model import Stat
from tests.unit.summaries import group, summary

TODAY = date(2026, 11, 22)
BOOK = prices.load("aws")


@functools.cache
def three() -> Costs:
    """Of three_tier, microservices and serverless."""
    return costs(summary(), BOOK, today=TODAY)


def at(found: Costs, name: str, traffic_per_s: float) -> CostAt:
    return next(c for c in found.at if (c.group, c.traffic_per_s) == (name, traffic_per_s))


def test_lines_add_up_and_grade_c_stands_beside() -> None:
    for c in three().at:
        headline = [x for x in c.lines if x.grade != "C"]
        assert sum(x.allocation_usd for x in headline) == pytest.approx(c.month_allocation.value)
        assert sum(x.usage_usd for x in headline) == pytest.approx(c.month_usage.value)
        assert sum(x.allocation_usd for x in c.lines) == pytest.approx(c.month_all_grades.value)
        fixed = sum(x.allocation_usd for x in headline if x.kind == "shared_fixed")
        assert c.month_without_shared.value == pytest.approx(c.month_allocation.value - fixed)
        assert {x.service for x in c.lines if x.grade == "C"} == {"database", "network"}
        assert all(x.source and x.as_of for x in c.lines)


def test_per_million_and_per_1000_correct_follow_from_the_month() -> None:
    c = at(three(), "three_tier", 10.0)
    assert c.per_million_allocation.value == pytest.approx(c.month_allocation.value / 26.28)
    assert c.per_million_usage.value == pytest.approx(c.month_usage.value / 26.28)
    assert c.per_1000_correct_allocation.value == pytest.approx(c.month_allocation.value / (26_280 * 0.97))
    assert c.per_1000_correct_usage.value == pytest.approx(c.month_usage.value / (26_280 * 0.97))


def test_assumptions_are_said_in_words() -> None:
    said = three().assumptions
    assert any(a.startswith("minimum replicas: 1 replica (") for a in said)
    assert any("billed for what it uses" in a and "throttl" in a for a in said)
    assert not any("_" in a.replace("cpu_scale", "").replace("three_tier", "") for a in said)


def test_cpu_scale_stands_beside_every_dollar() -> None:
    one, two = three(), costs(summary(), BOOK, cpu_scale=2.0, today=TODAY)
    assert (two.cpu_scale, two.assumptions[0]) == (2.0, "cpu_scale 2: one local core counts as 0.5 vCPU")
    assert at(two, "serverless", 10.0).month_allocation.value > at(one, "serverless", 10.0).month_allocation.value


def test_whole_machines_cost_what_they_cost_however_well_cpu_is_known() -> None:
    month = at(three(), "three_tier", 1.0).month_allocation
    assert month.low == month.high == month.value
    month = at(three(), "serverless", 1.0).month_allocation
    assert month.low < month.value < month.high


def test_without_intervals_there_are_none() -> None:
    unknown = tuple(replace(s, cpu_ms_per_request=replace(s.cpu_ms_per_request, low=None, high=None)) for s in group("serverless").services)
    made = summary(groups=(group("three_tier"), group("serverless", services=unknown)))
    found = costs(made, BOOK, today=TODAY)
    assert at(found, "serverless", 1.0).month_allocation.low is None
    assert found.break_even[0].traffic_per_s.value is not None
    assert found.break_even[0].traffic_per_s.low is None
    assert found.curves["serverless"].low == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"cpu_ms_per_request": Stat.missing("ms", "the provider does not measure usage")},
            "app: CPU per request is missing (the provider does not",
        ),
        ({"memory_mib": Stat.missing("MiB", "")}, "app: memory is missing (not measured)"),
        ({"cpus_configured": 0.0}, "app: its configured vCPU or memory is not known"),
        ({"cpus_configured": 64.0}, "no VM type of aws holds 64 vCPU"),
        ({"billing": "function"}, "invocations and their duration were not measured"),
        (
            {"billing": "function", "invocations_per_request": 1.0, "billed_ms_per_request": 9.0, "start_s": Stat.missing("s", "")},
            "its start was not",
        ),
    ],
)
def test_missing_inputs_give_missing_costs_and_never_zero(changes: dict[str, object], why: str) -> None:
    three_tier = group("three_tier")
    broken = replace(three_tier, services=(replace(three_tier.services[0], **changes), *three_tier.services[1:]))  # type: ignore[arg-type]
    assert why in why_missing(broken, BOOK)
    found = costs(summary(groups=(broken, group("serverless"))), BOOK, today=TODAY)
    c = at(found, "three_tier", 10.0)
    for stat_ in (c.month_allocation, c.month_usage, c.per_million_allocation, c.per_1000_correct_allocation):
        assert stat_.value is None and why in stat_.why_missing and stat_.basis == "priced"
    assert "three_tier" not in found.curves and found.break_even == ()
    assert at(found, "serverless", 10.0).month_allocation.value is not None


def test_wrong_answers_are_not_paid_for_as_right_ones() -> None:
    none_right = costs(summary(groups=(group("three_tier", correct_share=0.0),)), BOOK, today=TODAY)
    assert at(none_right, "three_tier", 1.0).per_1000_correct_allocation.why_missing == "no answer was right"
    unknown = costs(summary(groups=(group("three_tier", correct_share=None),)), BOOK, today=TODAY)
    assert at(unknown, "three_tier", 1.0).per_1000_correct_allocation.value is None


def test_pairs_that_do_different_work_have_no_break_even() -> None:
    groups = (group("three_tier"), group("serverless", model_size="L"))
    assert costs(summary(groups=groups), BOOK, today=TODAY).break_even == ()


def test_break_even_of_three_architectures() -> None:
    found = three()
    by_pair = {(b.cheaper_below, b.other): b for b in found.break_even}
    serverless = by_pair["serverless", "three_tier"]
    assert serverless.traffic_per_s.value is not None and serverless.in_cloud is not None and serverless.with_free_tier is not None
    here = price(group("serverless"), BOOK, np.array([serverless.traffic_per_s.value]), Variation(), throttled=False).total()[0]
    there = price(group("three_tier"), BOOK, np.array([serverless.traffic_per_s.value]), Variation(), throttled=False).total()[0]
    assert here == pytest.approx(there, rel=1e-3)
    assert serverless.with_free_tier.value > serverless.traffic_per_s.value  # a free tier helps the function
    assert serverless.in_cloud.value < serverless.traffic_per_s.value  # a cloud's stores make functions wait, which is billed
    assert serverless.in_cloud.basis == "modelled"
    assert by_pair["microservices", "three_tier"].with_free_tier is None


def test_the_price_list_is_named_with_its_age_and_grades() -> None:
    found = three()
    assert (found.prices, found.region, found.currency) == ("aws", "us-east-1", "USD")
    assert found.as_of_oldest == "2024-07-01" and found.as_of_newest == "2026-07-20"
    assert found.grades["C"] == 3 and found.grades["A"] == 1
    assert any("older than 180 days" in w for w in found.warnings)


def test_curves_rise_and_carry_the_steps() -> None:
    curve = three().curves["microservices"]
    assert len(curve.x) == len(curve.y) == len(curve.low) == len(curve.high)
    assert list(curve.x) == sorted(curve.x) and list(curve.y) == sorted(curve.y)
    assert (curve.x[0], curve.x[-1]) == (0.01, 200.0)


def test_with_and_without_the_free_tier() -> None:
    c = at(three(), "serverless", 10.0)
    assert c.month_allocation.value - c.month_free_tier.value == pytest.approx(6.87, abs=0.005)
    rented = at(three(), "three_tier", 10.0)
    assert rented.month_allocation.value == rented.month_free_tier.value


def test_the_activator_has_no_sku() -> None:
    found = at(three(), "serverless", 10.0)
    assert "activator" not in {x.service for x in found.lines}
    said = three().assumptions
    assert "serverless: activator (2 ms of CPU per request, measured) belongs to the function platform and is not billed" in said
