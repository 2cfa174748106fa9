"""The rate that a driver process holds: the search over simulated drivers, what is kept, and one real measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import driver_budget, environment
from lab.analysis.samples import Samples
from lab.driver_budget import COARSE_PER_S, HIGHEST_PER_S, LOWEST_PER_S, PASSES, PRECISION, Learned, Probe, bracket, conclude, next_rates
from lab.errors import InputError, UnusableError
from lab.settings import Settings


def search(holds_per_s: float, *, service_late: bool = False) -> tuple[Probe, ...]:
    """As `learn` does, on a driver that holds exactly so much."""
    probes: list[Probe] = []
    for _ in range(PASSES):
        rates = next_rates(probes)
        assert list(rates) == sorted(rates)
        for rate in rates:
            held = rate <= holds_per_s
            probes.append(Probe(rate_per_s=rate, lag_p99_ms=1.0 if held else 99.0, driver_share=0.5, held=held, service_late=service_late))
    assert next_rates(probes) == (), "the search ends"
    return tuple(probes)


@given(st.floats(LOWEST_PER_S * 3, HIGHEST_PER_S * 0.9))
def test_the_search_finds_what_a_driver_holds_and_never_more(holds_per_s: float) -> None:
    found = conclude(search(holds_per_s), "now").rate_per_s
    assert holds_per_s / PRECISION <= found + 0.1
    assert found <= holds_per_s + 0.1


def test_a_driver_that_holds_nothing_is_an_error_and_one_that_holds_all_has_no_limit() -> None:
    with pytest.raises(UnusableError, match="holds no rate"):
        conclude(search(0.0), "now")
    assert conclude(search(1e9), "now").limit == "none"
    assert conclude(search(700.0), "now").limit == "driver"
    assert conclude(search(700.0, service_late=True), "now").limit == "service"


def test_one_rate_that_was_not_held_hides_all_above_it() -> None:
    def probe(rate: float, held: bool) -> Probe:
        return Probe(rate_per_s=rate, lag_p99_ms=1.0, driver_share=0.1, held=held)

    assert bracket([probe(250, True), probe(500, False), probe(1000, True)]) == (250, 500)
    assert bracket([probe(500, True), probe(500, False)]) == (None, 500), "held once and not held once is not held"
    assert next_rates([]) == COARSE_PER_S


def window(lag_ms: float, service_ms: float, *, n: int = 200, dropped: int = 0) -> Samples:
    intended = np.arange(n) / 100
    sent = intended + lag_ms / 1e3
    sent[:dropped] = np.nan
    zeros = np.zeros(n)
    return Samples(
        operations=("classify",),
        phases=("warmup", "window"),
        operation=zeros.astype(np.int32),
        phase=np.ones(n, np.int32),
        step=np.zeros(n, np.int64),
        intended_s=intended,
        sent_s=sent,
        done_s=sent + service_ms / 1e3,
        ok=np.isfinite(sent),
        correct=np.ones(n, np.int64),
        cold=zeros.astype(bool),
        bytes_sent=zeros,
        bytes_received=zeros,
    )


@pytest.mark.parametrize(
    ("taken", "share", "held", "service_late"),
    [
        (window(1.0, 5.0), 0.5, True, False),
        (window(11.0, 5.0), 0.5, False, False),
        (window(1.0, 5.0), 0.95, False, False),
        (window(1.0, 900.0), 0.5, False, True),
        (window(1.0, 5.0, dropped=20), 0.5, False, False),
        (window(1.0, 5.0, n=0), 0.5, False, False),
    ],
)
def test_a_window_is_held_in_time_with_cpu_to_spare_and_all_answers(taken: Samples, share: float, held: bool, service_late: bool) -> None:
    found = driver_budget.judge(taken, 0, 100.0, share)
    assert (found.held, found.service_late) == (held, service_late)


def test_nothing_is_learned_until_it_is_measured_and_another_machine_learns_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=str(tmp_path))
    assert driver_budget.learned(settings) is None
    path = driver_budget._path(settings)
    path.parent.mkdir(parents=True)
    path.write_bytes(driver_budget.rundir.encode(Learned(rate_per_s=812.0, limit="driver", measured_at="now", probes=())))
    assert driver_budget.learned(settings) == 812.0
    path.write_text('{"rate_per_s": ')
    with pytest.raises(InputError, match=r"cannot be read"):
        driver_budget.learned(settings)
    monkeypatch.setattr(environment, "machine", lambda provider: {"cpu": "another"})
    assert driver_budget.learned(settings) is None


def test_nothing_is_learned_beside_other_programs() -> None:
    driver_budget._refuse_noise(0.2)
    with pytest.raises(UnusableError, match=r"other programs used 1\.04 of a core; limit 0\.25"):
        driver_budget._refuse_noise(1.04)


@pytest.mark.slow
def test_the_real_driver_is_measured_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and low rates: whether this machine is fast is not the question here."""
    monkeypatch.setattr(driver_budget, "COARSE_PER_S", (20.0, 40.0))
    monkeypatch.setattr(driver_budget, "HIGHEST_PER_S", 40.0)
    monkeypatch.setattr(driver_budget, "LAG_LIMIT_MS", 2000.0)
    monkeypatch.setattr(driver_budget, "FOREIGN_LIMIT", 99.0)
    settings, said = Settings(home=str(tmp_path)), list[str]()
    assert driver_budget.learn(settings, None, said.append) == 40.0
    assert driver_budget.learned(settings) == 40.0
    found = driver_budget.recall(settings)
    assert found is not None
    assert [p.rate_per_s for p in found.probes] == [20.0, 40.0]
    assert all(0 < p.driver_share < 1 for p in found.probes)
    assert said
