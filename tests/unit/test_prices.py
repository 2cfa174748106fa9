"""Price books: what ships, what a user may override, and every mistake at once with its line."""

from __future__ import annotations

from datetime import date
from itertools import groupby
from pathlib import Path

import pytest

from lab.analysis import prices
from lab.errors import InputError

TODAY = date(2026, 11, 22)


@pytest.fixture
def write(tmp_path: Path):
    def made(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return made


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        prices.load(path)
    return caught.value.problems


def test_vm_prices_are_linear_in_vcpu_within_a_series() -> None:
    """COST.md, trap 1: a SKU whose price jumps within its series was read wrongly. t3.large doubles t3.medium's memory, not its vCPU."""
    book = prices.load("aws")
    types = sorted((name, t) for name, t in book.mapping.vm.types.items() if not name.startswith("t3"))
    series = {name: list(of) for name, of in groupby(types, key=lambda x: x[0].partition(".")[0])}
    assert set(series) == {"c7i", "m7i"}
    for of in series.values():
        per_vcpu = {book.price(t.price) / t.vcpu for _, t in of}
        assert len(of) == 4
        assert max(per_vcpu) == pytest.approx(min(per_vcpu), rel=1e-9)


def test_a_user_overrides_one_value_and_keeps_the_rest(write) -> None:
    entry = "{value: 0.031, unit: USD/hour, as_of: 2026-11-01, source: our contract, grade: A}"
    book = prices.load(write(f"schema_version: 1\nextends: aws\nprices:\n  vm.t3.medium: {entry}\n"))
    aws = prices.load("aws")
    assert (book.name, book.overrides) == ("mine", ("vm.t3.medium",))
    assert book.price("vm.t3.medium") == 0.031
    assert {k: p for k, p in book.prices.items() if k != "vm.t3.medium"} == {k: p for k, p in aws.prices.items() if k != "vm.t3.medium"}
    assert book.mapping == aws.mapping


def test_a_user_overrides_an_assumption(write) -> None:
    book = prices.load(
        write("schema_version: 1\nextends: aws\nassumptions:\n  minimum_replicas: {value: 2, unit: replicas, why: policy}\n")
    )
    assert book.assumptions.minimum_replicas.value == 2
    assert book.assumptions.target_utilisation.value == 0.6


def test_every_mistake_is_reported_at_once_with_its_line(write) -> None:
    path = write(
        """schema_version: 1
extends: aws
regoin: eu-west-1
prices:
  vm.t3.medium: {value: -1, unit: USD/hour, as_of: yesterday, source: x, grade: D, colour: red}
  vm.t3.large: {value: cheap, unit: USD/hour, as_of: 2026-11-01}
"""
    )
    found = problems(path)
    wanted = {
        3: ["regoin: found an unknown key (did you mean 'region'?)"],
        5: [
            "medium.colour: found an unknown key",
            "medium.value: found -1",
            "medium.as_of: found 'yesterday'",
            "medium.grade: found 'D', wanted A or B or C",
        ],
        6: ["large.value: found 'cheap', wanted float", "large.source: found nothing", "large.grade: found nothing"],
    }
    for line, texts in wanted.items():
        for text in texts:
            assert [p for p in found if p.startswith(f"{path}:{line}: ") and text in p], text
    assert len(found) == sum(len(texts) for texts in wanted.values())


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("vm.t3.medum: {value: 0.03, unit: USD/hour, as_of: 2026-11-01, source: x, grade: A}", "such as 'vm.t3.medium'"),
        ("s3.write: {value: 5, unit: USD/1e6 requests, as_of: 2026-11-01, source: x, grade: A}", "wanted 'USD/1000 requests'"),
        ("s3.write: {value: 5, unit: USD/1000 requests, as_of: 2026-02-30, source: x, grade: A}", "wanted a day of the calendar"),
    ],
)
def test_slips_that_would_price_silently_wrong_are_refused(write, entry: str, said: str) -> None:
    (problem,) = problems(write(f"schema_version: 1\nextends: aws\nprices:\n  {entry}\n"))
    assert said in problem and ":4: " in problem


def test_a_key_that_stands_twice_and_broken_tiers_are_problems(write) -> None:
    found = problems(
        write(
            """schema_version: 1
extends: aws
region: eu
region: us
mapping:
  egress: [{price: egress.first_10TB, up_to: 100}, {price: egress.next_40TB, up_to: 50}]
"""
        )
    )
    assert any(":4: region: found a second time" in p for p in found)


def test_tiers_must_rise_and_end_open(write) -> None:
    tiers = "[{price: egress.first_10TB, up_to: 9}, {price: egress.next_40TB, up_to: 5}]"
    (problem,) = problems(write(f"schema_version: 1\nextends: aws\nmapping:\n  egress: {tiers}\n"))
    assert ":4: mapping.egress: found up_to [9.0, 5.0]" in problem


def test_not_yaml_and_no_such_book(write) -> None:
    with pytest.raises(InputError, match=r"mine\.yaml:1"):
        prices.load(write("prices: [1"))
    with pytest.raises(InputError, match=r"there are: .*aws"):
        prices.load("awz")


def test_a_book_extends_a_full_book_only(write) -> None:
    one = write("schema_version: 1\nextends: aws\n", "one.yaml")
    with pytest.raises(InputError, match="extends another book"):
        prices.load(write(f"schema_version: 1\nextends: {one}\n", "two.yaml"))


def test_age_counts_from_the_given_day_and_grades_are_named() -> None:
    book = prices.load("aws")
    assert book.prices["vm.t3.medium"].age_days(TODAY) == 125  # 2026-07-20 to 2026-11-22
    assert prices.age_warnings(book, ["vm.t3.medium"], TODAY) == ()
    (old,) = prices.age_warnings(book, ["vm.t3.medium"], date(2027, 1, 17))  # 181 days
    assert old == "1 of 1 prices used are older than 180 days on 2027-01-17; the oldest is vm.t3.medium of 2026-07-20"
    assert prices.age_warnings(book, ["vm.t3.medium"], date(2027, 1, 16)) == ()
    _, weak = prices.age_warnings(book, ["vm.t3.medium", "rds.storage"], date(2027, 1, 17))
    assert weak == "prices of grade C, shown but left out of headline figures: rds.storage"
    assert book.rules["lambda.mb_per_vcpu"].age_days(TODAY) is None
