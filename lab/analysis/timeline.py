"""From one cell's samples, usage and events to what happened in each second of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lab.analysis import samples
from lab.analysis.measured import Measured
from lab.analysis.results import TimelinePoint
from lab.analysis.services import INVOCATION
from lab.analysis.stats import quantile, supports


def timeline(cell: Measured) -> tuple[TimelinePoint, ...]:
    """Seconds on the driver's clock, cold phase and warm-up included; `p50_ms` of headline operations where a second supports it."""
    taken = samples.read(cell.folder)
    taken = taken.where(np.isfinite(taken.intended_s))
    if not len(taken):
        return ()
    first = int(np.floor(taken.intended_s.min()))
    asked = np.floor(taken.intended_s).astype(int) - first
    done = np.floor(taken.done_s[taken.answered]).astype(int) - first
    seconds = int(max(asked.max(), done.max(initial=0))) + 1
    offered, completed = np.bincount(asked, minlength=seconds), np.bincount(done, minlength=seconds)
    errors = np.bincount(asked[~taken.ok], minlength=seconds)
    main = taken.of(cell.headline) & ~taken.wrong
    latency_ms = taken.latency_ms(cell.cell.load.timeout_s)[main]
    order = np.argsort(asked[main], kind="stable")
    by_second = np.split(latency_ms[order], np.cumsum(np.bincount(asked[main], minlength=seconds))[:-1])
    return tuple(
        TimelinePoint(
            at_s=float(first + i),
            offered_per_s=float(offered[i]),
            completed_per_s=float(completed[i]),
            p50_ms=quantile(np.sort(by_second[i]), 0.5) if supports(0.5, len(by_second[i])) else None,
            errors=int(errors[i]),
            instances=cell.counters.instances_at(first + i + 1.0),
        )
        for i in range(seconds)
    )


def happenings(cell: Measured) -> tuple[Mapping[str, str | int | float | bool | None], ...]:
    """All events but invocations, on the driver's clock, in order of time."""
    return tuple(
        {**event.values, "at_s": round(cell.driver_s(event), 6), "kind": event.kind, "service": event.service}
        for event in cell.events
        if event.kind != INVOCATION
    )
