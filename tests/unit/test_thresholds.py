"""Thresholds as people write them: what they mean, and what is refused with what was wanted."""

import pytest

from lab.thresholds import METRICS, parse


@pytest.mark.parametrize(
    ("text", "metric", "limit", "against_base", "below"),
    [
        ("p99_ms < 250", "p99_ms", 250.0, False, True),
        ("p99_ms vs base < +5 %", "p99_ms", 1.05, True, True),
        ("p50_ms vs base<+0.5%", "p50_ms", 1.005, True, True),
        ("cpu_ms vs base < -10 %", "cpu_ms", 0.9, True, True),
        ("achieved_per_s > 95", "achieved_per_s", 95.0, False, False),
        ("  achieved_per_s  vs  base > -2 %", "achieved_per_s", 0.98, True, False),
        ("error_rate < 1 %", "error_rate", 0.01, False, True),
        ("error_rate < 0.01", "error_rate", 0.01, False, True),
        ("p50_ms < 1e3", "p50_ms", 1000.0, False, True),
    ],
)
def test_what_a_threshold_means(text: str, metric: str, limit: float, against_base: bool, below: bool) -> None:
    found = parse(text)
    assert (found.metric, found.against_base, found.below) == (metric, against_base, below)
    assert found.limit == pytest.approx(limit)
    assert found.text == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "a threshold such as"),
        ("p99_ms", "a threshold such as"),
        ("p99_ms <= 5", "a threshold such as"),
        ("p99_ms < ten", "a threshold such as"),
        ("p99_ms < 5 %; rm", "a threshold such as"),
        ("p98_ms < 5", "one of p50_ms"),
        ("p99_ms < +5", "a limit without a sign"),
        ("p99_ms < 5 %", "a limit in the metric's own unit"),
        ("p99_ms vs base < 5 %", "a signed change"),
        ("p99_ms vs base < +5", "a signed change"),
        ("p99_ms vs base > -100 %", "more than -100 %"),
        ("p99_ms < 1e999", "finite"),
    ],
)
def test_what_is_refused_says_what_was_wanted(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        parse(text)


def test_every_metric_can_be_named() -> None:
    for metric in METRICS:
        assert parse(f"{metric} < 5").metric == metric
