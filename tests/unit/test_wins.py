"""The map: the winner's interval lies below the next one's, only those that held the rate take part, else a reason stands there."""

from dataclasses import replace

from lab.analysis.results import Group, StepFigures
from lab.analysis.wins import wins
from lab.model import Stat
from tests.unit.summaries import summary


def p50(value: float | None, low: float | None = None, high: float | None = None) -> Stat:
    return Stat(value=value, low=low, high=high, unit="ms", n=100, why_missing="" if value is not None else "too few")


def with_p50(group: Group, figures: list[tuple[float, Stat, bool]]) -> Group:
    def step(rate: float, stat: Stat, held: bool) -> StepFigures:
        return replace(group.steps[0], rate_per_s=rate, latency={**group.steps[0].latency, "p50": stat}, held=held)

    return replace(group, steps=tuple(step(*f) for f in figures))


def test_each_rate_has_a_winner_or_a_reason() -> None:
    base = summary()
    a, b, *_ = base.groups
    a = with_p50(
        a, [(5.0, p50(10, 9, 11), True), (10.0, p50(10, 9, 13), True), (20.0, p50(10, 9, 11), False), (40.0, p50(90, 80, 99), False)]
    )
    b = with_p50(
        b, [(5.0, p50(15, 14, 16), True), (10.0, p50(15, 12, 16), True), (20.0, p50(15, 14, 16), True), (40.0, p50(95, 80, 99), False)]
    )
    found = wins(replace(base, groups=(a, b)), None)
    assert [w.rate_per_s for w in found] == [5.0, 10.0, 20.0, 40.0]
    assert [w.winner for w in found] == [a.name, "", b.name, ""]
    assert found[0].margin.value == 1.5
    assert "overlap" in found[1].margin.why_missing
    assert found[2].margin.why_missing == "the only one that held this rate"
    assert found[3].margin.why_missing == "none held this rate"


def test_one_deployment_names_no_winner() -> None:
    base = summary()
    a, b, *_ = base.groups
    groups = (with_p50(a, [(5.0, p50(10), True)]), with_p50(b, [(5.0, p50(15), True)]))
    (found,) = wins(replace(base, groups=groups), None)
    assert (found.winner, found.margin.why_missing) == ("", "one deployment has no interval")


def test_a_withheld_interval_is_the_reason_why_no_winner_is_named() -> None:
    base = summary()
    a, b, *_ = base.groups
    withheld = replace(p50(10), why_missing="no interval: the samples are alike")
    (found,) = wins(replace(base, groups=(with_p50(a, [(5.0, withheld, True)]), with_p50(b, [(5.0, p50(15, 14, 16), True)]))), None)
    assert (found.winner, found.margin.why_missing) == ("", f"{a.name}: no interval: the samples are alike")


def test_sizes_are_kept_apart() -> None:
    base = summary()
    a, b, *_ = base.groups
    small = replace(with_p50(a, [(5.0, p50(1, 0.9, 1.1), True)]), model_size="S", name="a-S")
    large = replace(with_p50(b, [(5.0, p50(50, 49, 51), True)]), model_size="L", name="b-L")
    found = wins(replace(base, groups=(large, small)), None)
    assert [(w.model_size, w.winner) for w in found] == [("S", "a-S"), ("L", "b-L")]
