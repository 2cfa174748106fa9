"""From a cell's usage lines to CPU, memory and instances of each service between any two moments on the driver's clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lab.model import Usage

Tier = Literal["architecture", "platform"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One service's readings; nan where the provider could not tell."""

    service: str
    tier: Tier
    at_s: Floats
    cpu_s: Floats
    memory_mib: Floats
    instances: Floats


class Counters:
    """All services of one cell. Figures are None where the readings do not enclose the span, or one of them is missing."""

    def __init__(self, lines: Iterable[Usage], origin_s: float) -> None:
        by_service: dict[str, list[Usage]] = defaultdict(list)
        for line in lines:
            by_service[line.service].append(line)
        self.series = tuple(_series(name, sorted(of, key=lambda u: u.at_s), origin_s) for name, of in sorted(by_service.items()))
        self._moments = np.unique(np.concatenate([s.at_s for s in self.series])) if self.series else np.empty(0)

    def of(self, tier: Tier) -> tuple[Series, ...]:
        return tuple(s for s in self.series if s.tier == tier)

    def cpu_s(self, series: Series, start_s: float, end_s: float) -> float | None:
        """CPU-seconds used between the two moments, interpolated between readings. A service whose first reading comes later than others'
        began in between: its counter was 0 at the reading before; one that is gone uses no more."""
        if not self._encloses(start_s, end_s) or np.isnan(series.cpu_s).any():
            return None
        at, cpu = series.at_s, series.cpu_s
        before = self._moments[self._moments < at[0]]
        if len(before):
            at, cpu = np.concatenate(([before[-1]], at)), np.concatenate(([0.0], cpu))
        first, last = np.interp((start_s, end_s), at, cpu)
        return float(last - first)

    def tier_cpu_s(self, tier: Tier, start_s: float, end_s: float) -> float | None:
        """None also when no service of that tier was read."""
        used = [self.cpu_s(s, start_s, end_s) for s in self.of(tier)]
        known = [u for u in used if u is not None]
        return sum(known) if used and len(known) == len(used) else None

    def memory_mib(self, series: Series, start_s: float, end_s: float) -> float | None:
        return _mean(series, start_s, end_s, lambda s: s.memory_mib)

    def instances(self, series: Series, start_s: float, end_s: float) -> float | None:
        return _mean(series, start_s, end_s, lambda s: s.instances)

    def instances_between(self, series: Series, start_s: float, end_s: float) -> tuple[float, float, float] | None:
        """Mean, fewest and most over the readings inside the span."""
        inside = series.instances[(series.at_s >= start_s) & (series.at_s <= end_s)]
        return None if not len(inside) else (float(inside.mean()), float(inside.min()), float(inside.max()))

    def tier_memory_mib(self, tier: Tier, start_s: float, end_s: float) -> float | None:
        found = [self.memory_mib(s, start_s, end_s) for s in self.of(tier)]
        known = [f for f in found if f is not None]
        return sum(known) if found and len(known) == len(found) else None

    def instances_at(self, at_s: float) -> dict[str, int]:
        """By the last reading up to that moment, architecture only; services not read yet are left out."""
        found: dict[str, int] = {}
        for series in self.of("architecture"):
            index = int(np.searchsorted(series.at_s, at_s, side="right")) - 1
            if index >= 0:
                found[series.service] = int(series.instances[index])
        return found

    def _encloses(self, start_s: float, end_s: float) -> bool:
        return len(self._moments) > 1 and bool(self._moments[0] <= start_s and self._moments[-1] >= end_s)


def _series(service: str, lines: list[Usage], origin_s: float) -> Series:
    def column(read: Callable[[Usage], float | None]) -> Floats:
        return np.array([np.nan if (value := read(line)) is None else value for line in lines], float)

    return Series(
        service=service,
        tier=lines[0].tier,
        at_s=column(lambda u: u.at_s) - origin_s,
        cpu_s=column(lambda u: u.cpu_s),
        memory_mib=column(lambda u: u.memory_mib),
        instances=column(lambda u: u.instances),
    )


def _mean(series: Series, start_s: float, end_s: float, read: Callable[[Series], Floats]) -> float | None:
    """Over the readings inside the span, or the last one before it when none is inside."""
    inside = (series.at_s >= start_s) & (series.at_s <= end_s)
    values = read(series)[inside] if inside.any() else read(series)[series.at_s < start_s][-1:]
    return None if not len(values) or np.isnan(values).any() else float(values.mean())
