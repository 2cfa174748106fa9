"""What is measured: samples, usage, events, and the figures made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Basis = Literal["measured", "priced", "modelled"]
Phase = Literal["preload", "cold", "warmup", "window", "drain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One request. Times are seconds on the driver's monotonic clock since the cell's origin; a request that was never sent
    (dropped) or never answered has None. `server_timing` is the answer's header as it came; `step` is the index of the ladder's step."""

    sequence: int
    operation: str
    phase: Phase
    step: int
    intended_s: float
    sent_s: float | None
    first_byte_s: float | None
    done_s: float | None
    status: int
    ok: bool
    correct: bool | None
    cold: bool
    error: str | None
    bytes_sent: int
    bytes_received: int
    server_timing: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One window of a search. `upper_ms`: the upper end of the interval of its percentile, None where the samples do not support one.
    failed: it or the errors were over their limit. driver_limited: the driver was late, so nothing is known of the service.
    Not `recovered`: the queue that it left did not drain in time, so the search ended."""

    step: int
    rate_per_s: float
    verdict: Literal["passed", "failed", "driver_limited"]
    upper_ms: float | None
    error_rate: float
    lag_p99_ms: float
    recovered: bool = True


MONOTONIC = "monotonic"  # the clock that is time.monotonic of the machine on which `lab` runs


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockOffset:
    """Another clock against MONOTONIC: a moment on it plus `offset_s` is the same moment here, within `error_s`."""

    offset_s: float
    error_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Of one service at `at_s` on `clock`. Counters run from the start of the service over all instances, dead ones included.
    `tier` says whether it is part of the architecture or of the platform. None where the provider cannot tell."""

    at_s: float
    service: str
    tier: Literal["architecture", "platform"]
    instances: int
    cpu_s: float | None
    memory_mib: float | None
    bytes_read: int | None = None
    bytes_written: int | None = None
    clock: str = MONOTONIC


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened at `at_s` on `clock`. kind: cold_start | scale | ready | retired | invocation | crash ...
    `values` holds its figures (ready: import_ms, model_ms ...; invocation: duration_ms, memory_mib)."""

    at_s: float
    clock: str
    kind: str
    service: str
    values: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stat:
    """A figure with its 95 % interval. Missing is never zero: `value` None comes with `why_missing`; so does a value whose interval the
    sample does not carry."""

    value: float | None
    unit: str
    n: int = 0
    low: float | None = None
    high: float | None = None
    basis: Basis = "measured"
    why_missing: str = ""

    @staticmethod
    def missing(unit: str, why: str, n: int = 0, basis: Basis = "measured") -> Stat:
        return Stat(value=None, unit=unit, n=n, why_missing=why, basis=basis)
