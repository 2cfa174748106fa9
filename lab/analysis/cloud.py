"""One group's local latencies and counts in, its latencies in a drawn cloud out: what is local is taken out, what a cloud adds is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp

import numpy as np

from lab.analysis.bill import Array, Variation
from lab.analysis.ranges import Ranges
from lab.analysis.results import Group

REQUESTS = 1000  # resampled per group and draw
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
NOT_INIT = ("spawn", "first request")  # phases of a cold start that a cloud's sandbox start stands for

Position = Mapping[str, float]
"""Term -> where in its range, 0 low to 1 high."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passes:
    """How often one headline request meets each term, and the local mean cost in ms of one. `cpu_ms`: what another CPU makes longer or
    shorter. `local_hop` counts the activator's hops too; in a cloud they are what a function's `call` costs, so `hop` leaves them out."""

    local_hop: float
    hop: float
    store: float
    database: float
    call: float
    hop_ms: float
    store_ms: float
    database_ms: float
    cpu_ms: float

    @property
    def local_ms(self) -> float:
        return self.local_hop * self.hop_ms + self.store * self.store_ms + self.database * self.database_ms


def why_not(group: Group) -> str:
    """Why the group's latency cannot be carried over; empty when it can."""
    c = group.counts
    if not group.low_rate_latency_ms:
        return f"{group.name} has no latencies at the lowest rate"
    if c.busy_ms is None and group.cpu_ms_architecture.value is None:
        return f"the CPU of {group.name} per request was not measured"
    for name, count, local in (
        ("hop between services", c.hops, c.hop_ms),
        ("object store operation", c.store_writes + c.store_reads, c.store_ms),
        ("database round trip", c.database_trips, c.database_ms),
    ):
        if count > 0 and local is None:
            return f"the local cost of one {name} of {group.name} was not measured"
    return ""


def passes(group: Group) -> Passes:
    """Of a group for which `why_not` is empty."""
    c, cpu_ms = group.counts, group.counts.busy_ms
    if cpu_ms is None:  # without headers, the mean over all operations stands for a headline one
        cpu_ms = group.cpu_ms_architecture.value
    assert cpu_ms is not None
    calls = c.function_calls if c.function_calls is not None else sum(_invocations(group))
    return Passes(
        local_hop=c.hops,
        hop=max(0.0, c.hops - calls),
        store=c.store_writes + c.store_reads,
        database=c.database_trips,
        call=calls,
        hop_ms=c.hop_ms or 0.0,
        store_ms=c.store_ms or 0.0,
        database_ms=c.database_ms or 0.0,
        cpu_ms=cpu_ms,
    )


def _invocations(group: Group) -> Iterator[float]:
    """Of each function per request of all operations: the mean over the workload's mix."""
    return (s.invocations_per_request or 0.0 for s in group.services if s.billing == "function")


@dataclass(frozen=True, slots=True)
class Luck:
    """The randomness that all groups and draws share, so that they differ by their figures only: which quantile of the local latency each
    resampled request has, and standard normals, one column per pass."""

    quantile: Array
    partial: Array
    normals: Mapping[str, Array]


def luck(groups: Sequence[Passes], seed: int, requests: int = REQUESTS) -> Luck:
    source = np.random.default_rng(seed)
    most = {
        "hop": max(ceil(p.hop + p.database) for p in groups),
        "store": max(ceil(p.store) for p in groups),
        "database": max(ceil(p.database) for p in groups),
        "call": max(ceil(p.call) for p in groups),
    }
    quantile = source.permutation((np.arange(requests) + 0.5) / requests)
    return Luck(quantile, source.random(requests), {name: source.standard_normal((requests, n)) for name, n in most.items()})


def latency_ms(local_ms: Array, of: Passes, at: Position, ranges: Ranges, shared: Luck) -> Array:
    """One latency per resampled request: local - local costs + draws, CPU scaled; never below 0."""
    base = np.quantile(local_ms, shared.quantile) - of.local_ms
    base = base + (ranges["cpu_scale"].median(at["cpu_scale"]) - 1.0) * of.cpu_ms
    for name, count in (("hop", of.hop + of.database), ("store", of.store), ("database", of.database), ("call", of.call)):
        base = base + _sum_of(name, count, at, ranges, shared)
    return np.asarray(np.maximum(base, 0.0), np.float64)


def _sum_of(name: str, count: float, at: Position, ranges: Ranges, shared: Luck) -> Array:
    """`count` log-normal draws per request; a fraction of a pass is met by that share of the requests."""
    columns = ceil(count)
    if columns == 0:
        return np.zeros_like(shared.quantile)
    term, position = ranges[name], at[name]
    drawn = term.median(position) * np.exp(term.sigma(position) * shared.normals[name][:, :columns])
    fraction = count - (columns - 1)
    drawn[:, -1] *= shared.partial < fraction
    return np.asarray(drawn.sum(axis=1), np.float64)


def cold_ms(group: Group, at: Position, ranges: Ranges) -> float:
    """Median of a headline request that finds nothing running: a sandbox per function it passes, and the init phases, CPU scaled."""
    met = group.counts.functions
    starts = met if met is not None else sum(min(1.0, n) for n in _invocations(group))
    sandbox = ranges["sandbox"].median(at["sandbox"]) * ranges["package"].median(at["package"])
    init = sum(ms for phase, ms in group.cold_phases_ms.items() if phase.removesuffix("_ms") not in NOT_INIT)
    return starts * sandbox + init * ranges["cpu_scale"].median(at["cpu_scale"])


def variation(of: Passes | None, at: Position, ranges: Ranges) -> Variation:
    """What a cloud changes in the bill; `of` None where a group's waits are not known."""
    return Variation(
        cpu_scale=ranges["cpu_scale"].median(at["cpu_scale"]),
        memory=ranges["memory"].median(at["memory"]),
        wait_ms=longer_wait_ms(of, at, ranges) if of else 0.0,
    )


def longer_wait_ms(of: Passes, at: Position, ranges: Ranges) -> float:
    """How much longer than here a request waits for stores and hops on average: what a function is billed for beside its own work."""
    counts = {"hop": of.hop + of.database, "store": of.store, "database": of.database}
    cloud = sum(n * ranges[t].median(at[t]) * exp(ranges[t].sigma(at[t]) ** 2 / 2) for t, n in counts.items())
    return max(0.0, cloud - of.local_ms)
