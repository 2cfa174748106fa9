"""Several drivers on one schedule: follows their lines, begins their windows at one moment, gives their records and their clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from lab.errors import InputError, LabError, MachineError
from lab.load import clocks
from lab.load.job import DriverRecord, Failure, Line, Progress
from lab.model import ClockOffset
from lab.runtime.clock import ClockReading

POLL_S = 0.5
LEAD_S = 0.5  # from the decision to begin to the moment itself, beside the round trips


class Driver(Protocol):
    """A driver that was started."""

    def poll(self, patience_s: float) -> Sequence[Line]: ...
    def begin(self, at_s: float) -> None:
        """`at_s` on its own clock."""

    def read_clock(self) -> ClockReading: ...
    def last_words(self) -> str: ...
    def end(self) -> None: ...


def conduct(
    drivers: Sequence[Driver],
    on_progress: Callable[[Progress], None],
    deadline: float,
    on_begin: Callable[[float], None] = lambda _: None,
) -> tuple[tuple[DriverRecord, ...], tuple[ClockOffset, ...]]:
    """One record and one clock for each. Raises what went wrong in the first that failed; the caller ends them all, whatever happens.
    `on_begin` gets the moment of this machine's time.monotonic at which the windows begin, as soon as it is known."""
    conducted = _Conducted(drivers, on_progress, on_begin)
    while len(conducted.records) < len(drivers):
        for index, driver in enumerate(drivers):
            if index in conducted.records:
                continue
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                what = f"the driver did not end in time: {driver.last_words()}"
                raise MachineError(what, "the machine is overloaded, or a payload or check hangs")
            for line in driver.poll(min(left_s, POLL_S / len(drivers))):
                conducted.hear(index, line)
        conducted.begin()
    records = tuple(conducted.records[index] for index in range(len(drivers)))
    return records, conducted.offsets()


class _Conducted:
    def __init__(self, drivers: Sequence[Driver], on_progress: Callable[[Progress], None], on_begin: Callable[[float], None]) -> None:
        self.records: dict[int, DriverRecord] = {}
        self._drivers, self._on_progress, self._on_begin = drivers, on_progress, on_begin
        self._ready: set[int] = set()
        self._begun = len(drivers) == 1  # that one begins by itself
        self._latest: dict[int, Progress] = {}
        self._before = [clocks.shortest(d.read_clock) for d in drivers]

    def hear(self, index: int, line: Line) -> None:
        if line.failure is not None:
            raise _error(line.failure)
        if line.progress is not None:
            self._latest[index] = line.progress
            if index == 0:
                self._on_progress(_together(line.progress, self._latest))
        elif line.record is not None:
            self.records[index] = line.record
        elif line.ready:
            self._ready.add(index)
        elif line.begins_s is not None and index == 0:  # all begin at the same moment
            self._on_begin(line.begins_s + clocks.offset(self._before[0]).offset_s)

    def begin(self) -> None:
        """Once, when all are ready. Their clocks were compared when they were started; the moment is soon enough that no drift matters."""
        if self._begun or len(self._ready) < len(self._drivers):
            return
        self._begun = True
        self._before = [clocks.shortest(d.read_clock) for d in self._drivers]
        at_s = time.monotonic() + LEAD_S + 4 * sum(t.error_s for t in self._before)
        for driver, trip in zip(self._drivers, self._before, strict=True):
            driver.begin(at_s - clocks.offset(trip).offset_s)

    def offsets(self) -> tuple[ClockOffset, ...]:
        after = [clocks.shortest(d.read_clock) for d in self._drivers]
        return tuple(map(clocks.offset, self._before, after))


def _together(first: Progress, latest: dict[int, Progress]) -> Progress:
    """What all drivers have done of the first one's step."""
    here = [p for p in latest.values() if (p.phase, p.step) == (first.phase, first.step)]
    achieved_per_s = sum(p.achieved_per_s for p in here)
    return replace(first, done=sum(p.done for p in here), total=sum(p.total for p in here), achieved_per_s=achieved_per_s)


def _error(failure: Failure) -> LabError:
    kind = InputError if failure.kind == "input" else MachineError
    return kind(failure.what, failure.hint)
