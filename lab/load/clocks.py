"""From round trips to another machine's clock, at both ends of a cell, to its offset against this machine's and how wrong that may be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.model import ClockOffset
from lab.runtime import clock
from lab.runtime.clock import ClockReading

TRIPS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Trip:
    """The other clock was read at some moment between `sent_s` and `received_s` of this machine's time.monotonic."""

    sent_s: float
    read: ClockReading
    received_s: float

    @property
    def offset_s(self) -> float:
        return (self.sent_s + self.received_s) / 2 - self.read.monotonic_s

    @property
    def error_s(self) -> float:
        return (self.received_s - self.sent_s) / 2


def shortest(ask: Callable[[], ClockReading], trips: int = TRIPS, now: Callable[[], float] = time.monotonic) -> Trip:
    """Of so many round trips the one that leaves least doubt."""
    made = []
    for _ in range(trips):
        sent_s, read, received_s = now(), ask(), now()
        made.append(Trip(sent_s=sent_s, read=read, received_s=received_s))
    return min(made, key=lambda t: t.error_s)


def trips(clocks: Mapping[str, Callable[[], tuple[float, str]]]) -> dict[str, Trip]:
    """To each of these clocks (lab.contracts.Clocked)."""

    def reader(read: Callable[[], tuple[float, str]]) -> Callable[[], ClockReading]:
        def ask() -> ClockReading:
            monotonic_s, boot_id = read()
            return ClockReading(monotonic_s=monotonic_s, boot_id=boot_id)

        return ask

    return {name: shortest(reader(read)) for name, read in clocks.items()}


def offset(before: Trip, after: Trip | None = None, boot_id: str | None = None) -> ClockOffset:
    """Without error for a clock of this kernel (`boot_id`, that of this machine if not given) that no namespace shifts. Else the mean of
    both ends, wrong by half a round trip and by what the clocks moved against each other meanwhile."""
    after = after or before
    here = clock.boot_id() if boot_id is None else boot_id
    if here and here == before.read.boot_id == after.read.boot_id and all(abs(t.offset_s) <= t.error_s for t in (before, after)):
        return ClockOffset(offset_s=0.0, error_s=0.0)
    moved_s = after.offset_s - before.offset_s
    return ClockOffset(offset_s=before.offset_s + moved_s / 2, error_s=max(before.error_s, after.error_s) + abs(moved_s))
