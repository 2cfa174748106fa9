"""The kinds of load that a scenario may ask for, by the names the field uses: strict YAML in, the model's Load out."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from lab import trace
from lab.errors import InputError
from lab.model import Load, Search
from lab.power import samples_needed

Rate = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]  # requests/s; the driver's lag says whether it kept up
WindowS = Annotated[float, Field(ge=1, le=3600)]
Points = tuple[tuple[float, float], ...]
POINTS_OF_A_DAY = 48  # of the piecewise linear curve that stands for a sine: within 0.3 % of its height
SURE = 1.4  # a Poisson window holds fewer than it should; so many times the samples that a percentile needs


class Slo(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    percentile: Annotated[float, Field(gt=0, lt=100)] = 95.0
    latency_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 250.0
    error_rate: Annotated[float, Field(ge=0, lt=1)] = 0.01


class _Kind(BaseModel):
    """What every kind has. `warmup_rate_per_s` not given: the lowest rate, or what the stability test needs."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    warmup_max_s: Annotated[float, Field(ge=0, le=600)] = 4.0
    warmup_rate_per_s: Rate | None = None
    drain_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    cold_requests: Annotated[int, Field(ge=0, le=50)] = 1

    def load(self, rates_per_s: tuple[float, ...], window_s: float, **own: Any) -> Load:
        """Without a warm-up rate where none was given."""
        return Load(
            rates_per_s=rates_per_s,
            window_s=window_s,
            warmup_max_s=self.warmup_max_s,
            warmup_rate_per_s=self.warmup_rate_per_s or 0.0,
            drain_s=self.drain_s,
            timeout_s=self.timeout_s,
            cold_requests=self.cold_requests,
            **own,
        )

    def floor(self) -> _Kind:
        """What the cells get that measure the instrument."""
        return self


class _Open(_Kind):
    """Arrivals are scheduled before the run."""

    arrival: Literal["poisson", "constant"] = "poisson"
    window_s: WindowS = 5.0


# ---- steps -----------------------------------------------------------------------------------------------------------


def _rising(rates: list[float]) -> list[float]:
    if any(a >= b for a, b in pairwise(rates)):
        raise ValueError("rates that rise from step to step")
    return rates


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


class Ladder(_Open):
    """A few rates in rising steps, one window each."""

    kind: Literal["ladder"] = "ladder"
    rates_per_s: Annotated[list[Rate], Field(min_length=1), AfterValidator(_rising)]

    def compile(self, slo: Slo, driver_per_s: float) -> Load:
        return self.load(tuple(self.rates_per_s), self.window_s, kind=self.kind, arrival=self.arrival)

    def floor(self) -> Ladder:
        """At the highest rate: there the driver is at its worst, and the samples support tails."""
        return self.model_copy(update={"rates_per_s": [max(self.rates_per_s)]})


class Server(_Open):
    """Clients that do not wait for each other, at one rate (or several, rising); whether the SLO is met is the question."""

    kind: Literal["server"]
    rate_per_s: Annotated[list[Rate], Field(min_length=1), BeforeValidator(_listed), AfterValidator(_rising)]

    def compile(self, slo: Slo, driver_per_s: float) -> Load:
        return self.load(tuple(self.rate_per_s), self.window_s, kind=self.kind, arrival=self.arrival)

    def floor(self) -> Server:
        return self.model_copy(update={"rate_per_s": [max(self.rate_per_s)]})


def _mean(requests: float, window_s: float) -> float:
    """A rate is a name too, so it has few digits."""
    return float(f"{requests / window_s:.4g}")


# ---- shapes: one window ----------------------------------------------------------------------------------------------


class _Shape(_Open):
    def shaped(self, profile: Points, kind: Literal["burst", "ramp", "diurnal"]) -> Load:
        """Its rate is the mean, so that it stands beside a constant one of as many requests."""
        area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(profile))
        return self.load((_mean(area, self.window_s),), self.window_s, kind=kind, arrival=self.arrival, profile=profile)


class Burst(_Shape):
    """`base_per_s`, and from the end of each period of `every_s` back over `burst_s` the rate `peak_per_s`."""

    kind: Literal["burst"]
    base_per_s: Rate
    peak_per_s: Rate
    burst_s: Annotated[float, Field(gt=0, le=600)]
    every_s: Annotated[float, Field(gt=0, le=3600)]

    @model_validator(mode="after")
    def _fits(self) -> Burst:
        if self.peak_per_s <= self.base_per_s:
            raise ValueError(f"peak_per_s above base_per_s ({self.base_per_s:g})")
        if not self.burst_s < self.every_s <= self.window_s:
            raise ValueError(f"burst_s < every_s <= window_s ({self.window_s:g}), so that a burst fits in")
        return self

    def compile(self, slo: Slo, driver_per_s: float) -> Load:
        points: list[tuple[float, float]] = []
        for number in range(math.ceil(round(self.window_s / self.every_s, 9))):
            start = number * self.every_s
            edges = ((start, self.base_per_s), (start + self.every_s - self.burst_s, self.peak_per_s), (start + self.every_s, 0.0))
            for (begin, rate), (end, _) in pairwise(edges):
                if begin < self.window_s:
                    points += [(begin, rate), (min(end, self.window_s), rate)]
        return self.shaped(tuple(points), self.kind)


class Ramp(_Shape):
    """From one rate to another, evenly over the window."""

    kind: Literal["ramp"]
    from_per_s: Rate
    to_per_s: Rate

    def compile(self, slo: Slo, driver_per_s: float) -> Load:
        return self.shaped(((0.0, self.from_per_s), (self.window_s, self.to_per_s)), self.kind)


class Diurnal(_Shape):
    """Days of `day_s` (not given: the window is one): a sine from `low_per_s` at midnight to `high_per_s` at noon."""

    kind: Literal["diurnal"]
    low_per_s: Rate
    high_per_s: Rate
    day_s: Annotated[float, Field(gt=0, le=3600)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Diurnal:
        if self.high_per_s <= self.low_per_s:
            raise ValueError(f"high_per_s above low_per_s ({self.low_per_s:g})")
        return self

    def compile(self, slo: Slo, driver_per_s: float) -> Load:
        day_s = self.day_s or self.window_s
        count = math.ceil(POINTS_OF_A_DAY * max(1.0, self.window_s / day_s))
        times = [self.window_s * k / count for k in range(count + 1)]
        middle, height = (self.high_per_s + self.low_per_s) / 2, (self.high_per_s - self.low_per_s) / 2
        return self.shaped(tuple((t, middle - height * math.cos(2 * math.pi * t / day_s)) for t in times), self.kind)


# ---- replay ----------------------------------------------------------------------------------------------------------


def _path(value: object, info: ValidationInfo) -> object:
    return str((info.context or {}).get("folder", Path()) / value) if isinstance(value, str) else value


def _readable(path: str, info: ValidationInfo) -> str:
    try:
        trace.read(Path(path), info.data.get("speed", 1.0))
    except InputError as error:
        raise ValueError("a trace that can be replayed: " + "; ".join(error.problems or [error.what])) from error
    return path


class Replay(_Kind):
    """A recorded trace: a CSV file of timestamps, its path relative to the scenario; its gaps are divided by `speed`."""

    kind: Literal["replay"]
    speed: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    trace: Annotated[str, BeforeValidator(_path), AfterValidator(_readable)]

    def compile(self, slo: Slo, driver_per_s: float) -> Load:
        """The window ends one mean gap after the last arrival, so that the rate is that of the gaps."""
        found = trace.read(Path(self.trace), self.speed)
        count, span_s = len(found.offsets_s), found.offsets_s[-1]
        window_s = round(span_s * count / (count - 1), 6)
        return self.load((_mean(count, window_s),), window_s, kind=self.kind, arrival="constant", trace=found)


# ---- closed loops ----------------------------------------------------------------------------------------------------


class _Closed(_Kind):
    """`requests`, at most for `window_max_s`; with `ends: window` as many as fit into that time, and `requests` are more than do."""

    requests: Annotated[int, Field(ge=1, le=100_000)] = 200
    window_max_s: WindowS = 60.0
    ends: Literal["requests", "window"] = "requests"

    def closed(self, kind: Literal["single_stream", "offline"], max_in_flight: int) -> Load:
        own = {"kind": kind, "requests": self.requests, "max_in_flight": max_in_flight, "ends": self.ends}
        return self.load((0.0,), self.window_max_s, **own)


class SingleStream(_Closed):
    """One request in flight; the next is sent on the answer. Its latency is service time: it hides waiting."""

    kind: Literal["single_stream"]

    def compile(self, slo: Slo, driver_per_s: float) -> Load:
        return self.closed(self.kind, 1)


class Offline(_Closed):
    """All requests at once, `max_in_flight` of them on the wire. Throughput is the figure."""

    kind: Literal["offline"]
    max_in_flight: Annotated[int, Field(ge=1, le=2000)] = 16

    def compile(self, slo: Slo, driver_per_s: float) -> Load:
        return self.closed(self.kind, self.max_in_flight)


# ---- search ----------------------------------------------------------------------------------------------------------


class SearchLoad(_Open):
    """The largest rate whose percentile meets the SLO: doubling from `lowest_per_s` up, then bisection until the rates that did and did
    not hold are within the ratio `precision`. `highest_per_s` not given: what one driver sends without being late."""

    kind: Literal["search"]
    lowest_per_s: Rate
    highest_per_s: Rate | None = None
    precision: Annotated[float, Field(ge=1.01, le=2)] = 1.1

    @model_validator(mode="after")
    def _fits(self) -> SearchLoad:
        if self.highest_per_s is not None and self.highest_per_s <= self.lowest_per_s:
            raise ValueError(f"highest_per_s above lowest_per_s ({self.lowest_per_s:g})")
        return self

    def compile(self, slo: Slo, driver_per_s: float) -> Load:
        """Raises InputError where the first probe could not support the SLO's percentile, or one driver not even send it."""
        needed = SURE * samples_needed(slo.percentile / 100)
        if (asked := self.lowest_per_s * self.window_s) < needed:
            what = f"load: found {asked:g} requests in the first probe, wanted {needed:.0f} for p{slo.percentile:g}"
            raise InputError(what, f"window_s {math.ceil(needed / self.lowest_per_s)}, or a higher lowest_per_s")
        highest = self.highest_per_s or max(driver_per_s, self.lowest_per_s)
        search = Search(
            lowest_per_s=self.lowest_per_s,
            highest_per_s=highest,
            precision=self.precision,
            percentile=slo.percentile,
            limit_ms=slo.latency_ms,
            error_rate_limit=slo.error_rate,
        )
        return self.load((self.lowest_per_s,), self.window_s, kind=self.kind, arrival=self.arrival, search=search)

    def floor(self) -> Ladder:
        shared = {name: getattr(self, name) for name in (*_Kind.model_fields, "arrival", "window_s")}
        return Ladder(rates_per_s=[self.lowest_per_s], **shared)


# ---- all of them -----------------------------------------------------------------------------------------------------


def _named(value: object) -> object:
    """Not given: ladder."""
    return {"kind": "ladder", **value} if isinstance(value, dict) else value


AnyLoad = Annotated[
    Ladder | Server | SingleStream | Offline | SearchLoad | Burst | Ramp | Diurnal | Replay,
    Field(discriminator="kind"),
    BeforeValidator(_named),
]
