"""What a scenario compiles to: an ordered, seeded list of cells, with its minutes added up."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.model.topology import Topology
from lab.model.workload import ModelSize, Scalar

SCHEMA_VERSION = 1
Role = Literal["subject", "floor_driver", "floor_path", "floor_driver_other", "floor_path_other"]
Place = Literal["outside", "inside"]
LoadKind = Literal["ladder", "server", "single_stream", "offline", "search", "burst", "ramp", "diurnal", "replay"]
CLOSED = ("single_stream", "offline")


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What one architecture may use, its activator included."""

    cpus: float = 1.0
    memory_mib: int = 3072


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """Recorded arrivals: seconds since the first one, rising. `sha256` is that of the file's bytes, `speed` is applied already."""

    file: str
    sha256: str
    offsets_s: tuple[float, ...]
    speed: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """For the largest rate whose `percentile` is within `limit_ms` with errors within `error_rate_limit`: rates are doubled from
    `lowest_per_s` up to `highest_per_s` at most, then bisected until the ends are within the ratio `precision`."""

    lowest_per_s: float
    highest_per_s: float
    precision: float
    percentile: float
    limit_ms: float
    error_rate_limit: float

    @property
    def most_doublings(self) -> int:
        return math.ceil(round(math.log2(self.highest_per_s / self.lowest_per_s), 9))

    @property
    def most_halvings(self) -> int:
        """Each halves the logarithm of what one doubling leaves between the ends."""
        return max(0, math.ceil(round(math.log2(math.log(2) / math.log(self.precision)), 9)))

    @property
    def most_probes(self) -> int:
        return 1 + self.most_doublings + self.most_halvings


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What one deployment gets. Warm-up ends by a stability test, at the latest after `warmup_max_s`; then windows of `window_s` without a
    gap, one for each of `rates_per_s`. Their arrivals are scheduled before the run, of kind:
    ladder, server: at each rate, `arrival` says how.
    burst, ramp, diurnal: in one window, at a rate that goes through the points (s, 1/s) of `profile`; its mean is the rate.
    replay: in one window, those of `trace`.
    search: `rates_per_s` is the first probe's; the others, windows of their own with gaps between them, are in the cell's status.
    Closed loops have one window, of `window_s` at most, and the rate 0, because they ask for none: single_stream sends `requests` one by
    one, offline all of them with `max_in_flight` on the wire. `ends`: after so many requests; or with the window, then `requests` are more
    than can be sent in it."""

    rates_per_s: tuple[float, ...]
    window_s: float
    warmup_max_s: float
    warmup_rate_per_s: float
    drain_s: float
    timeout_s: float
    arrival: Literal["poisson", "constant"] = "poisson"
    cold_requests: int = 0
    kind: LoadKind = "ladder"
    profile: tuple[tuple[float, float], ...] = ()
    trace: Trace | None = None
    search: Search | None = None
    requests: int = 0
    max_in_flight: int = 0
    ends: Literal["requests", "window"] = "requests"

    @property
    def closed(self) -> bool:
        """The next request waits for an answer: its latencies hide all waiting that open arrivals would have met."""
        return self.kind in CLOSED

    @property
    def alone(self) -> bool:
        """Only one driver can send it: what comes next depends on the answers."""
        return self.closed or self.search is not None

    @property
    def peak_per_s(self) -> float:
        """Of a trace: in its busiest second."""
        if self.trace is not None:
            at = self.trace.offsets_s
            return float(max(bisect_right(at, first + 1.0) - k for k, first in enumerate(at)))
        return max((rate for _, rate in self.profile), default=max(self.rates_per_s))

    @property
    def windows_s(self) -> float:
        """At most, of closed loops too; after a probe that failed, what is under way may take its time-out to end."""
        if self.search is not None:
            return self.search.most_probes * self.window_s + (1 + self.search.most_halvings) * (self.timeout_s + self.drain_s)
        return len(self.rates_per_s) * self.window_s


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedFault:
    """What breaks on purpose, `at_s` after the begin of the windows and, with `every_s`, again and again until they end. `pause`: an
    instance of `service` stands still for `for_s`; `kill`: it ends without a warning; `neighbour`: another program keeps the CPUs of the
    architecture busy for `for_s`."""

    fault: Literal["pause", "kill", "neighbour"]
    at_s: float
    service: str = ""
    every_s: float = 0.0
    for_s: float = 0.0

    def __str__(self) -> str:
        """What a person reads: pause of app for 1 s, 4.5 s into the windows and every 10 s."""
        lasts = f" for {self.for_s:g} s" if self.for_s else ""
        again = f" and every {self.every_s:g} s" if self.every_s else ""
        return f"{self.fault}{f' of {self.service}' if self.service else ''}{lasts}, {self.at_s:g} s into the windows{again}"

    def moments(self, windows_s: float) -> tuple[float, ...]:
        """When it begins, in windows that last so long together; only those that also end in them."""
        last_s = windows_s - self.for_s + 1e-9
        if self.at_s > last_s:
            return ()
        again = int((last_s - self.at_s) / self.every_s) if self.every_s else 0
        return tuple(self.at_s + i * self.every_s for i in range(again + 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One deployment of one subject under one load. `id` is its folder. `block` numbers the interleaved round it belongs to, `order` the
    subjects as the scenario lists them.
    role `floor_driver`: noop on the fake provider; `floor_path`: noop on the real one; both measure the instrument. `_other`: the same,
    driven from where the subjects are not. `driver`: on this machine (outside), or in Jobs of the provider; `drivers`: so many at once.
    `headline` names the operations of the headline figures; a share of wrong answers above `wrong_rate_limit` makes the cell INVALID."""

    id: str
    role: Role
    provider: str
    architecture: str
    variant: str
    workload: str
    model_size: ModelSize
    options: Mapping[str, Scalar]
    load: Load
    block: int
    seed: int
    topology: Topology | None
    headline: tuple[str, ...]
    wrong_rate_limit: float
    expected_s: float
    driver: Place = "outside"
    drivers: int = 1
    order: int = 0
    faults: tuple[TimedFault, ...] = ()
    code_ref: Literal["", "base", "head"] = ""

    @property
    def windows_s(self) -> float:
        """Of all windows together."""
        return len(self.load.rates_per_s) * self.load.window_s


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeRef:
    """One side of a gate: `name` base or head, the commit's full id, and whether the tree had changes that the commit has not (head
    only)."""

    name: Literal["base", "head"]
    commit: str
    dirty: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """`text` as written. Of `metric` (at the plan's primary rate) in head: `limit` in its own unit, or, `against_base`, of head / base:
    +5 % is 1.05. `below`: must stay below, else above it."""

    text: str
    metric: str
    limit: float
    against_base: bool
    below: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class GatePlan:
    """`least` deployments per arm before the first look, `most` at the end; `looks`: deployments per arm at which the gate may stop."""

    thresholds: tuple[Threshold, ...]
    least: int = 10
    most: int = 20
    looks: tuple[int, ...] = (10, 15, 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServicePlan:
    """The user's own service: shell commands that run in its checkout. `start` has {port} (and $PORT) and stays in the foreground; `ready`
    is the path that answers 2xx once it serves. `timeout_s` for it to be ready, `build_timeout_s` for a build."""

    start: str
    ready: str = "/"
    build: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 60.0
    build_timeout_s: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentPlan:
    """What makes a side's interpreter: the shell command `build`, run in its checkout; then `python` (a path there) runs its code."""

    build: str
    python: str = ".venv/bin/python"
    build_timeout_s: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Nothing outside it changes a result. `settings` are the resolved ones, flat. `detectable_ratio` is the smallest ratio of two
    architectures' primary metric that this plan can tell apart with 80 % power (None under 2 deployments). `scaler`: what
    the provider scales services with scaling `on_cpu` by, empty where nothing does."""

    schema_version: int = SCHEMA_VERSION
    scenario: str
    scenario_sha256: str
    kind: Literal["serve"] = "serve"
    workload: str
    budget: Budget
    cells: tuple[Cell, ...]
    deployments: int
    verdicts: bool
    primary_metric: str
    primary_rate_per_s: float
    slo_percentile: float
    slo_ms: float
    error_rate_limit: float
    traffic_per_s: tuple[float, ...]
    prices: str
    seed: int
    isolation: Literal["pinned", "limits", "none"]
    enforcement: Literal["enforced", "affinity", "none"]
    expected_s: float
    detectable_ratio: float | None
    spread: float
    spread_source: str
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    scaler: str = ""
    refs: tuple[CodeRef, ...] = ()
    gate: GatePlan | None = None
    service: ServicePlan | None = None
    environment: EnvironmentPlan | None = None
