"""From rates over time, weighted operations and a seed: every arrival of a run, decided before the first one is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lab.model import Load, Operation

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Kind = Literal["poisson", "constant"]

NO_STEP = -1
DECIMALS = 6  # offsets are whole microseconds: the last bits of a logarithm differ between processors, these do not
_WINDOWS, _WARMUP, _PROBES = 0, 1, 2
_GAPS, _MIX = 0, 1  # independent streams below one seed, so that a new mix of operations keeps the arrival times


class RateProfile:
    """A rate over time that is piecewise linear: `times_s` rising (a time given twice is a jump), `rates_per_s` >= 0 at those times."""

    def __init__(self, times_s: Sequence[float], rates_per_s: Sequence[float]) -> None:
        self.times_s: Floats = np.asarray(times_s, dtype=float)
        self.rates_per_s: Floats = np.asarray(rates_per_s, dtype=float)
        spans, rates = np.diff(self.times_s), self.rates_per_s
        if len(self.times_s) < 2 or len(self.times_s) != len(rates) or np.any(spans < 0) or np.any(rates < 0):
            raise ValueError(f"times_s {list(times_s)} must rise and have one rate >= 0 each, found {list(rates_per_s)}")
        self._counts: Floats = np.concatenate(([0.0], np.cumsum(spans * (rates[1:] + rates[:-1]) / 2)))

    @staticmethod
    def steps(rates_per_s: Sequence[float], window_s: float) -> RateProfile:
        """One constant rate per window, without a gap between them."""
        edges = np.arange(len(rates_per_s) + 1) * window_s
        return RateProfile(np.repeat(edges, 2)[1:-1].tolist(), np.repeat(rates_per_s, 2).tolist())

    @property
    def total(self) -> float:
        """Expected number of arrivals: the integral of the rate."""
        return float(self._counts[-1])

    def when(self, counts: Floats) -> Floats:
        """The exact inverse of the integral: the times at which that many arrivals are expected; counts in 0 .. total."""
        segment = np.searchsorted(self._counts, counts, side="right") - 1
        segment = np.clip(segment, 0, len(self.times_s) - 2)
        span = self.times_s[segment + 1] - self.times_s[segment]
        rate, rise = self.rates_per_s[segment], self.rates_per_s[segment + 1] - self.rates_per_s[segment]
        slope = np.divide(rise, span, out=np.zeros_like(span), where=span > 0)
        beyond = np.maximum(counts - self._counts[segment], 0.0)
        # The root of rate * t + slope * t^2 / 2 = beyond, in the form that keeps its digits as the slope goes to zero.
        root = np.sqrt(np.maximum(rate * rate + 2 * slope * beyond, 0.0))
        after = np.divide(2 * beyond, rate + root, out=np.zeros_like(span), where=rate + root > 0)
        times: Floats = self.times_s[segment] + np.minimum(after, span)
        return times


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Columns of equal length, in order of time. `offset_s`: intended start since the profile's 0. `operation`: index into the operations.
    `payload`: index for Workload.payload, counted per operation. `step`: index of the ladder's step, NO_STEP in warm-up.
    `place`: index in the whole schedule, of which this may be a share."""

    offset_s: Floats
    operation: Integers
    payload: Integers
    step: Integers
    place: Integers

    def __len__(self) -> int:
        return len(self.offset_s)

    def share(self, index: int, of: int) -> Arrivals:
        """Every of-th arrival from `index` on: the shares of all indices are the whole, each arrival once."""
        return Arrivals(**{f.name: getattr(self, f.name)[index::of] for f in fields(self)})


def times(profile: RateProfile, kind: Kind, seed: int, stream: int = _WINDOWS) -> Floats:
    """Intended starts. poisson: unit exponential gaps mapped through the inverse integral, exact for any profile.
    constant: one arrival each time that the integral grows by one, the first half-way."""
    if kind == "constant":
        counts = np.arange(0.5, profile.total)
    else:
        random = _random(seed, stream, _GAPS)
        counts = np.empty(0)
        reached = 0.0
        while reached < profile.total:
            missing = profile.total - reached
            gaps = -np.log1p(-random.random(int(missing + 4 * missing**0.5) + 16))
            counts = np.concatenate((counts, reached + np.cumsum(gaps)))
            reached = float(counts[-1])
        counts = counts[counts < profile.total]
    last = np.floor(profile.times_s[-1] * 10**DECIMALS) / 10**DECIMALS
    rounded: Floats = np.minimum(np.round(profile.when(counts), DECIMALS), last)
    return rounded


def windows(load: Load, operations: Sequence[Operation], seed: int) -> Arrivals:
    """The measured windows, step after step without a gap; of a closed loop all its requests, at 0."""
    if load.closed:
        offsets = np.zeros(load.requests)
    elif load.trace is not None:
        offsets = np.asarray(load.trace.offsets_s)
    else:
        profile = RateProfile(*zip(*load.profile, strict=True)) if load.profile else RateProfile.steps(load.rates_per_s, load.window_s)
        offsets = times(profile, load.arrival, seed)
    inner = np.arange(1, len(load.rates_per_s)) * load.window_s
    return _arrivals(offsets, np.searchsorted(inner, offsets, side="right"), operations, seed, _WINDOWS)


def probe(load: Load, operations: Sequence[Operation], seed: int, step: int, rate_per_s: float, before: int) -> Arrivals:
    """One window of a search. `before`: how many arrivals the probes before it had, so that no payload is sent twice."""
    stream = _PROBES + step
    offsets = times(RateProfile.steps((rate_per_s,), load.window_s), load.arrival, seed, stream)
    made = _arrivals(offsets, np.full(len(offsets), step), operations, seed, stream)
    return replace(made, payload=made.payload + before)


def warmup(load: Load, operations: Sequence[Operation], seed: int) -> Arrivals:
    """The whole of the longest warm-up that the ladder allows; the driver leaves it when latencies are stable."""
    if load.warmup_max_s <= 0 or load.warmup_rate_per_s <= 0:
        return _arrivals(np.empty(0), np.empty(0, dtype=np.int64), operations, seed, _WARMUP)
    offsets = times(RateProfile.steps((load.warmup_rate_per_s,), load.warmup_max_s), load.arrival, seed, _WARMUP)
    return _arrivals(offsets, np.full(len(offsets), NO_STEP), operations, seed, _WARMUP)


def _arrivals(offsets: Floats, steps: Integers, operations: Sequence[Operation], seed: int, stream: int) -> Arrivals:
    shares = np.cumsum([o.weight for o in operations])
    chosen = np.searchsorted(shares / shares[-1], _random(seed, stream, _MIX).random(len(offsets)), side="right")
    payload = np.zeros(len(offsets), dtype=np.int64)
    for index in range(len(operations)):
        mine = np.flatnonzero(chosen == index)
        payload[mine] = np.arange(len(mine))
    return Arrivals(
        offset_s=offsets, operation=chosen.astype(np.int64), payload=payload, step=steps.astype(np.int64), place=np.arange(len(offsets))
    )


def _random(seed: int, stream: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream, purpose])))
