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
from lab.analysis.stats import rank
from lab.analysis.worth import Runs, joined, runs
from lab.errors import InputError
from lab.model import Cell, Event, Usage
from lab.model.measure import MONOTONIC
from lab.rundir import CellDir, CellStatus, RunDir

Floats = NDArray[np.float64]
MOST_HEADERS = 2000  # per deployment and step, evenly over the window: means need no more, and a header takes 50 us to read


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rate on one deployment. `latency_ms` and `service_ms` are sorted and of headline operations, failures in them with the time-out.
    Wrong answers are left out, for speed counts only when the answer is right; how many they were stands in `wrong`. `offered` and the
    other counts are of all operations whose intended start lies in the window. `achieved` of them came back in time (see `_achieved`).
    `completed` counts answers that arrived within the window, whenever they were asked for. The runs are `latency_ms` and `service_ms` by
    parts of the window. `told`: at most MOST_HEADERS right answers to headline operations, evenly over the window, rows `told_rows` of the
    cell's samples; their headers speak for all."""

    index: int
    rate_per_s: float
    start_s: float
    end_s: float
    latency_ms: Floats
    service_ms: Floats
    latency_runs: Runs
    service_runs: Runs
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
    told: Samples
    told_rows: NDArray[np.int64]

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
    in_windows = taken.during("window")
    made = []
    for index, start_s, end_s in sorted(status.windows):
        rows = np.flatnonzero(in_windows & (taken.step == index))
        completed = _count((taken.done_s >= start_s) & (taken.done_s <= end_s))
        made.append(_step(cell, (index, rates[index]), (start_s, end_s), (rows, taken.where(rows)), headline, completed, counters))
    return tuple(made)


def _step(
    cell: Cell,
    at: tuple[int, float],
    window: tuple[float, float],
    of: tuple[NDArray[np.int64], Samples],
    headline: Sequence[str],
    completed: int,
    counters: Counters,
) -> Step:
    """`of`: the samples of the window, and which rows of the cell's they are."""
    rows, here = of
    timeout_s = cell.load.timeout_s
    sent, checked, asked, wrong = np.isfinite(here.sent_s), here.ok & (here.correct >= 0), here.of(headline), here.wrong
    operations = {name: here.of((name,)) for name in here.operations}
    right, latency_ms = ~wrong, here.latency_ms(timeout_s)
    main = right & asked
    place = (here.intended_s[main] - window[0]) / (window[1] - window[0])
    latency_runs, service_runs = runs(latency_ms[main], place), runs(here.service_ms(timeout_s)[main], place)
    told = _evenly(np.flatnonzero(main & here.ok & here.answered))
    return Step(
        index=at[0],
        rate_per_s=at[1],
        start_s=window[0],
        end_s=window[1],
        latency_ms=joined(latency_runs),
        service_ms=joined(service_runs),
        latency_runs=latency_runs,
        service_runs=service_runs,
        by_operation={name: np.sort(latency_ms[right & mine]) for name, mine in operations.items() if mine.any()},
        lag_ms=np.sort((here.sent_s - here.intended_s)[sent] * 1e3),
        offered=len(here),
        sent=_count(sent),
        dropped=_count(~sent),
        censored=_count(sent & ~here.answered),
        failed=_count(~here.ok),
        achieved=_achieved(here, window[1]),
        completed=completed,
        cold=_count(here.cold),
        checked={name: _count(checked & mine) for name, mine in operations.items()},
        wrong={name: _count(wrong & mine) for name, mine in operations.items()},
        headline_right=_count(checked & main),
        headline_checked=_count(checked & asked),
        cpu_architecture_s=counters.tier_cpu_s("architecture", *window),
        cpu_platform_s=counters.tier_cpu_s("platform", *window),
        told=here.where(told),
        told_rows=rows[told],
    )


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _evenly(places: NDArray[np.int64]) -> NDArray[np.int64]:
    return places[:: max(1, -(-len(places) // MOST_HEADERS))]


def _achieved(here: Samples, end_s: float) -> int:
    """Requests of the window that were answered well-formed by its end, moved by the latency of the quickest answers (p5), which the last
    arrivals need even on an idle service. Under overload the rest is the backlog, so this over the window is what the service can do."""
    if not here.ok.any():
        return 0
    latency_s = (here.done_s - here.intended_s)[here.ok]
    quickest = rank(len(latency_s), 0.05)
    patience_s = float(np.partition(latency_s, quickest)[quickest])
    return _count(here.ok & (here.done_s <= end_s + patience_s))
