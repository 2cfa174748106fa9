"""Where two cost curves cross: by algebra for straight lines, and with the steps that replicas make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lab.analysis.bill import Array
from lab.analysis.breakeven import CostOf, break_even, crossings, grid, span


def line(fixed: float, per_request: float, uncertainty: float = 0.0) -> CostOf:
    """USD per month = fixed + per_request * traffic, the slope moving by `uncertainty` per standard deviation on the log scale."""
    return lambda traffic, spread: fixed + per_request * np.exp(uncertainty * spread) * traffic


def stairs(step_usd: float, step_per_s: float) -> CostOf:
    return lambda traffic, spread: step_usd * np.maximum(1.0, np.ceil(traffic / step_per_s - 1e-9))


@settings(deadline=None)
@given(fixed=st.floats(1, 500), slope=st.floats(0.1, 100), cheap_slope=st.floats(0, 0.09))
def test_two_lines_cross_where_algebra_says(fixed: float, slope: float, cheap_slope: float) -> None:
    at = fixed / (slope - cheap_slope)
    assume(abs(at / 200 - 1) > 1e-6 and abs(at / 0.01 - 1) > 1e-6)  # the ends of the traffic
    found = break_even("steep", "flat", line(0, slope), line(fixed, cheap_slope), grid(), n=3, known=False, seed=1)
    if at > 200:
        assert (found.always, found.traffic_per_s.value) == ("steep", None)
    elif at < 0.01:
        assert (found.always, found.traffic_per_s.value) == ("flat", None)
    else:
        assert found.cheaper_below == "steep"
        assert found.traffic_per_s.value == pytest.approx(at, rel=1e-6)
        assert found.more == ()


def test_the_order_of_the_pair_does_not_matter() -> None:
    ab = break_even("a", "b", line(0, 3), line(30, 0), grid(), n=3, known=False, seed=1)
    ba = break_even("b", "a", line(30, 0), line(0, 3), grid(), n=3, known=False, seed=1)
    assert ab == ba
    assert ab.sentence == "a is cheaper than b below 10 requests/s"


def test_the_interval_is_that_of_the_slope() -> None:
    """break-even = 30 / slope; a slope with sigma 0.1 has a 95 % interval of exp(+-0.196)."""
    found = break_even("a", "b", line(0, 3, 0.1), line(30, 0), grid(), n=3, known=True, seed=1).traffic_per_s
    assert found.low is not None and found.high is not None
    assert found.low == pytest.approx(10 * np.exp(-0.196), rel=0.05)
    assert found.high == pytest.approx(10 * np.exp(0.196), rel=0.05)
    assert break_even("a", "b", line(0, 3, 0.1), line(30, 0), grid(), n=3, known=True, seed=1).traffic_per_s == found


def test_an_end_of_the_interval_outside_the_traffic_is_left_open() -> None:
    found = break_even("a", "b", line(0, 1, 0.5), line(150, 0), grid(), n=3, known=True, seed=1)
    assert found.traffic_per_s.low is not None
    assert found.traffic_per_s.high is None
    assert span(found.traffic_per_s).endswith("to over 200")


def test_steps_cross_more_than_once_and_the_first_counts() -> None:
    """Stairs of 10 USD every 5/s against 1.8 USD per request: 10 / 1.8 = 5.56 lies on the second stair (20), where the line is cheaper
    again until 11.1, which is on the third (30), until 16.7, on the fourth (40) ... and never after 50/9 per step falls behind."""
    cost_a, cost_b = line(0, 1.8), stairs(10, 5)
    traffic = grid([5.0])
    found = break_even("line", "stairs", cost_a, cost_b, traffic, n=3, known=False, seed=1)
    assert found.always == "line"
    steep = break_even("line", "stairs", line(0, 2.2), cost_b, traffic, n=3, known=False, seed=1)
    at = [
        10 / 2.2,
        5.0,
        20 / 2.2,
        10.0,
        30 / 2.2,
        15.0,
        40 / 2.2,
        20.0,
        50 / 2.2,
        25.0,
        60 / 2.2,
        30.0,
        70 / 2.2,
        35.0,
        80 / 2.2,
        40.0,
        90 / 2.2,
        45.0,
    ]
    assert steep.traffic_per_s.value == pytest.approx(at[0])
    assert steep.more[: len(at) - 1] == pytest.approx(at[1:], rel=1e-5)
    assert "more, last at" in steep.sentence and "whole steps" in steep.sentence


def test_equal_curves_have_no_winner() -> None:
    found = break_even("a", "b", line(5, 1), line(5, 1), grid(), n=3, known=True, seed=1)
    assert (found.always, found.traffic_per_s.value) == ("", None)
    assert found.sentence == "a and b cost the same from 0.01 to 200 requests/s"


def test_the_grid_has_both_sides_of_every_step() -> None:
    traffic = grid([3.0, 0.0, float("inf")])
    for at in (3.0, 6.0, 198.0):
        assert ((traffic < at) & (traffic > at * 0.999999)).any()
        assert ((traffic > at) & (traffic < at * 1.000001)).any()
    assert (np.diff(traffic) > 0).all()


def test_curves_that_touch_do_not_cross() -> None:
    x = np.array([1.0, 2.0, 3.0])
    touching: Array = np.array([1.0, 2.0, 1.0])
    assert crossings(x, touching, np.full(3, 2.0)).at_per_s == ()


def test_curves_that_nowhere_differ_by_a_hundredth_cost_the_same() -> None:
    traffic = np.geomspace(0.01, 200, 50)
    found = break_even("a", "b", lambda t, _: 100 + t, lambda t, _: 100.2 + t, traffic, n=3, known=True, seed=1)
    assert (found.always, found.traffic_per_s.value) == ("", None)
    assert "same" in found.sentence
