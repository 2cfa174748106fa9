"""From one cell's folder to what its steps measured: sorted latencies, counts of failures and CPU, before anything is judged or merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lab.analysis import samples
from lab.analysis.counters import Counters
from lab.analysis.samples import Samples
from lab.analysis.stats import quantile
from lab.errors import InputError
from lab.model import Cell, Event, Usage
from lab.model.measure import MONOTONIC
from lab.rundir import CellDir, CellStatus, RunDir

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rate on one deployment. `latency_ms` and `service_ms` are sorted and of headline operations, failures in them with the time-out.
    Wrong answers are left out, for speed counts only when the answer is right; how many they were stands in `wrong`. `offered` and the
    other counts are of all operations whose intended start lies in the window. `achieved` of them came back in time (see `_achieved`).
    `completed` counts answers that arrived within the window, whenever they were asked for."""

    index: int
    rate_per_s: float
    start_s: float
    end_s: float
    latency_ms: Floats
    service_ms: Floats
    by_operation: Mapping[str, Floats]
    lag_ms: Floats
    offered: int
    sent: int
    dropped: int
    censored: int
    failed: int
    achieved: int
    completed: int
    cold: int
    checked: Mapping[str, int]
    wrong: Mapping[str, int]
    headline_right: int
    headline_checked: int
    cpu_architecture_s: float | None
    cpu_platform_s: float | None

    @property
    def window_s(self) -> float:
        return self.end_s - self.start_s

    def cpu_ms(self, cpu_s: float | None) -> float | None:
        """Per completed request of all operations."""
        return None if cpu_s is None or not self.completed else 1e3 * cpu_s / self.completed


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A cell with its steps in order of rate index; none for a cell that did not get to its windows. `unplaced`: how many readings of usage
    each clock told that nobody compared with this machine's; they are left out of `counters`, as such events are of `events`."""

    cell: Cell
    group: str
    folder: CellDir
    status: CellStatus
    steps: tuple[Step, ...]
    headline: tuple[str, ...]
    counters: Counters
    cold_ms: Floats
    cold_span_s: tuple[float, float] | None
    warm_in_cold: int
    unplaced: Mapping[str, int]

    def step_at(self, rate_per_s: float) -> Step | None:
        return next((s for s in self.steps if s.rate_per_s == rate_per_s), None)

    def up_to(self, rate_per_s: float) -> tuple[Step, ...]:
        return tuple(s for s in self.steps if s.rate_per_s <= rate_per_s)

    def driver_s(self, event: Event) -> float:
        """The moment of one of `events` on the driver's clock."""
        offset_s = 0.0 if event.clock == MONOTONIC else self.status.clocks[event.clock].offset_s
        return event.at_s + offset_s - (self.status.origin_s or 0.0)

    @cached_property
    def _told(self) -> tuple[Event, ...]:
        return tuple(self.folder.lines(self.folder.events, Event))

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Those whose clock is known, in order of time."""
        return tuple(sorted((e for e in self._told if _known(e, self.status)), key=self.driver_s))

    @cached_property
    def unplaced_events(self) -> Mapping[str, int]:
        """How many events each clock told that nobody compared with this machine's."""
        return Counter(e.clock for e in self._told if not _known(e, self.status))


def _known(told: Event | Usage, status: CellStatus) -> bool:
    return told.clock == MONOTONIC or told.clock in status.clocks


def measure(run: RunDir, cell: Cell, group: str) -> Measured:
    folder = run.cell(cell.id)
    status = folder.status() or CellStatus(cell=cell.id, status="planned")
    usage = tuple(folder.lines(folder.usage, Usage))
    counters = Counters((_here(u, status) for u in usage if _known(u, status)), status.origin_s or 0.0)
    headline = cell.headline
    taken = samples.read(folder)
    cold = taken.where(taken.during("cold") & taken.of(headline))
    return Measured(
        cell=cell,
        group=group,
        folder=folder,
        status=status,
        steps=_steps(cell, status, taken, headline, counters),
        headline=headline,
        counters=counters,
        cold_ms=cold.where(cold.cold | ~cold.ok).latency_ms(cell.load.timeout_s),
        cold_span_s=_span(cold, cell.load.timeout_s),
        warm_in_cold=int((cold.ok & ~cold.cold).sum()),
        unplaced=Counter(u.clock for u in usage if not _known(u, status)),
    )


def _here(usage: Usage, status: CellStatus) -> Usage:
    """The same reading on this machine's clock."""
    if usage.clock == MONOTONIC:
        return usage
    return replace(usage, at_s=usage.at_s + status.clocks[usage.clock].offset_s, clock=MONOTONIC)


def _span(taken: Samples, timeout_s: float) -> tuple[float, float] | None:
    if not len(taken):
        return None
    ends = np.where(taken.answered, taken.done_s, taken.intended_s + timeout_s)
    return float(taken.intended_s.min()), float(ends.max())


def _steps(cell: Cell, status: CellStatus, taken: Samples, headline: Sequence[str], counters: Counters) -> tuple[Step, ...]:
    rates = status.rates_per_s(cell.load.rates_per_s)
    unknown = [index for index, _, _ in status.windows if not 0 <= index < len(rates)]
    if unknown:
        what = f"cell {cell.id}: status.json has a window of step {unknown[0]}, the plan has {len(rates)} steps"
        raise InputError(what, "was plan.json changed? measure the cell again")
    windows = taken.where(taken.during("window"))
    done_s = np.sort(taken.done_s[taken.answered])
    made = []
    for index, start_s, end_s in sorted(status.windows):
        here = windows.where(windows.step == index)
        completed = int(np.searchsorted(done_s, end_s, side="right") - np.searchsorted(done_s, start_s, side="left"))
        made.append(_step(cell, (index, rates[index]), (start_s, end_s), here, headline, completed, counters))
    return tuple(made)


def _step(
    cell: Cell,
    at: tuple[int, float],
    window: tuple[float, float],
    here: Samples,
    headline: Sequence[str],
    completed: int,
    counters: Counters,
) -> Step:
    timeout_s = cell.load.timeout_s
    right = here.where(~here.wrong)
    latency_ms, main = right.latency_ms(timeout_s), right.of(headline)
    sent = np.isfinite(here.sent_s)
    checked, asked = here.ok & (here.correct >= 0), here.of(headline)
    return Step(
        index=at[0],
        rate_per_s=at[1],
        start_s=window[0],
        end_s=window[1],
        latency_ms=np.sort(latency_ms[main]),
        service_ms=np.sort(right.service_ms(timeout_s)[main]),
        by_operation={name: np.sort(latency_ms[right.of((name,))]) for name in here.operations if here.of((name,)).any()},
        lag_ms=np.sort((here.sent_s - here.intended_s)[sent] * 1e3),
        offered=len(here),
        sent=int(sent.sum()),
        dropped=int((~sent).sum()),
        censored=int((sent & ~here.answered).sum()),
        failed=int((~here.ok).sum()),
        achieved=_achieved(here, window[1]),
        completed=completed,
        cold=int(here.cold.sum()),
        checked={name: int((checked & here.of((name,))).sum()) for name in here.operations},
        wrong={name: int((here.wrong & here.of((name,))).sum()) for name in here.operations},
        headline_right=int((checked & asked & ~here.wrong).sum()),
        headline_checked=int((checked & asked).sum()),
        cpu_architecture_s=counters.tier_cpu_s("architecture", *window),
        cpu_platform_s=counters.tier_cpu_s("platform", *window),
    )


def _achieved(here: Samples, end_s: float) -> int:
    """Requests of the window that were answered well-formed by its end, moved by the latency of the quickest answers (p5), which the last
    arrivals need even on an idle service. Under overload the rest is the backlog, so this over the window is what the service can do."""
    if not here.ok.any():
        return 0
    latency_s = np.sort((here.done_s - here.intended_s)[here.ok])
    return int((here.ok & (here.done_s <= end_s + quantile(latency_s, 0.05))).sum())
