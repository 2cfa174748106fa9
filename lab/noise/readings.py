"""What was read of this machine to say how fit it is to measure; None wherever the system does not tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Of `n` durations, in ms."""

    n: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @staticmethod
    def of(seconds: Sequence[float]) -> Times:
        p50, p99, most = np.percentile(np.asarray(seconds) * 1e3, [50, 99, 100])
        return Times(n=len(seconds), p50_ms=float(p50), p99_ms=float(p99), max_ms=float(most))


@dataclass(frozen=True, kw_only=True, slots=True)
class Loop:
    """How long the same piece of work took on one CPU (None: not pinned, the system has no affinity)."""

    cpu: int | None
    took: Times


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """`wake`: how late the driver's own clock wakes; `sleep`: how late clock_nanosleep does. `steal_share` of all CPU time,
    `foreign_cores`: what programs used that are not ours, both while the other probes ran. `shared_core`: whether driver and system would
    sit on threads of one physical core, None where the system does not tell which CPUs are threads of one. `governors`: those in use.
    `spread`: standard deviation on the log scale between deployments of the same thing, of `spread_of`. `driver_rate_per_s`: what one
    driver process holds."""

    clock_step_ms: float
    wake: Times
    wake_by: str
    sleep: Times
    loops: tuple[Loop, ...]
    steal_share: float | None
    foreign_cores: float
    load1: float
    cpus: int
    physical_cores: int
    virtual: bool
    shared_core: bool | None
    isolation: str
    isolated_cpus: tuple[int, ...]
    governors: tuple[str, ...] | None
    turbo: bool | None
    memory_mib: int
    spread: float | None = None
    spread_of: str = ""
    driver_rate_per_s: float | None = None
