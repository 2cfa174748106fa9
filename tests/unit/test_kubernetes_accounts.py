"""Counters over pods that come, restart and go: they never fall, and nothing is counted twice."""

from __future__ import annotations

from lab.providers.kubernetes.accounts import Accounts
from lab.runtime.consumption import Reading

APP = ("c-1", "app")


def reading(cpu_s: float, memory_mib: float = 10.0, written: int | None = None) -> Reading:
    return Reading(cpu_s=cpu_s, memory_mib=memory_mib, bytes_read=None, bytes_written=written, at_s=0.0, boot_id="b")


def test_pods_are_added_up() -> None:
    total = Accounts().update(APP, {"a": reading(1.0, written=5), "b": reading(2.0, written=7)})
    assert (total.cpu_s, total.memory_mib, total.bytes_written, total.bytes_read) == (3.0, 20.0, 12, None)


def test_what_a_gone_pod_used_stays_but_its_memory_does_not() -> None:
    accounts = Accounts()
    accounts.update(APP, {"a": reading(1.0), "b": reading(2.0)})
    total = accounts.update(APP, {"b": reading(2.5)})
    assert (total.cpu_s, total.memory_mib) == (3.5, 10.0)
    total = accounts.update(APP, {})
    assert (total.cpu_s, total.memory_mib) == (3.5, 0.0)


def test_a_restarted_container_begins_at_zero_and_the_counter_goes_on() -> None:
    accounts = Accounts()
    accounts.update(APP, {"a": reading(4.0)})
    assert accounts.update(APP, {"a": reading(0.5)}).cpu_s == 4.5
    assert accounts.update(APP, {"a": reading(0.75)}).cpu_s == 4.75


def test_a_pod_that_does_not_answer_keeps_its_last_reading() -> None:
    accounts = Accounts()
    accounts.update(APP, {"a": reading(4.0)})
    assert accounts.update(APP, {"a": None}).cpu_s == 4.0
    assert accounts.update(APP, {"a": reading(5.0)}).cpu_s == 5.0


def test_services_and_deployments_are_apart() -> None:
    accounts = Accounts()
    accounts.update(APP, {"a": reading(4.0)})
    assert accounts.update(("c-2", "app"), {"a": reading(1.0)}).cpu_s == 1.0
    accounts.forget("c-1")
    assert accounts.update(APP, {"a": reading(0.25)}).cpu_s == 0.25
    assert accounts.update(("c-2", "app"), {"a": reading(1.5)}).cpu_s == 1.5
