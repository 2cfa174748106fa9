"""What summary.json holds: the figures of a run with their intervals, per group, and which cells count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.model import Stat
from lab.model.plan import LoadKind

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CellVerdict:
    """`reasons` are sentences; VALID cells have none. `warnings` do not invalidate. `measured` False: its turn never came, or it was cut
    off."""

    cell: str
    group: str
    block: int
    valid: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    measured: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployed:
    """One metric of each valid deployment at the primary rate, in the order of the group's `blocks`; none where `why_missing` says so.
    `measured` False: nobody took it, so more deployments will not bring it. `asked`: of a share, out of how many in each deployment."""

    unit: str
    values: tuple[float, ...] = ()
    why_missing: str = ""
    measured: bool = True
    asked: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Points for a plot, x and y of equal length; `low` and `high` bound y where known."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFigures:
    """One step of the ladder over the valid deployments of a group; latencies of headline operations, in ms from the intended start.

    `latency` and `service` (from the real send) map p50 / p95 / p99 to figures. `percentiles`: x = quantile in 0..1, y = ms.
    `per_deployment_ms`: primary quantile of each deployment, in order of block. `held`: achieved >= 0.98 of offered, errors within
    the limit and the SLO's percentile met (the upper bound of a supported percentile, or its value)."""

    rate_per_s: float
    offered_per_s: Stat
    achieved_per_s: Stat
    latency: Mapping[str, Stat]
    service: Mapping[str, Stat]
    error_rate: Stat
    wrong_rate: Stat
    lag_p99_ms: Stat
    utilisation: Stat
    cpu_ms_architecture: Stat
    cpu_ms_platform: Stat
    held: bool
    percentiles: Curve
    per_deployment_ms: tuple[float, ...] = ()
    by_operation: Mapping[str, Stat] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A bar of the waterfall: mean over requests near the median, from the Server-Timing header. kind: stage | hop | queue | store |
    database | cold | other. `count` is how many of it one request makes."""

    name: str
    kind: str
    service: str
    start_ms: float
    duration_ms: float
    count: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceFigures:
    """Per service at the primary rate: mean over deployments. For functions invocations and billed_ms per request of all operations, and
    `durations_ms`: quantiles of single invocations, evenly spaced, over all deployments. `scaler`: what sets the number of instances
    (hpa, activator ...), empty where nothing does; then `replicas` has for each rate of the ladder the mean of their number over the
    windows, between the fewest and the most that were seen."""

    service: str
    tier: str
    billing: str
    instances: float
    cpu_ms_per_request: Stat
    memory_mib: Stat
    memory_configured_mib: float
    cpus_configured: float
    start_s: Stat
    invocations_per_request: float | None = None
    billed_ms_per_request: float | None = None
    durations_ms: tuple[float, ...] = ()
    scaler: str = ""
    replicas: Curve | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Per headline request: service-to-service hops, object store writes (PUT, LIST) and reads, database round trips, bytes in and out at
    the edge; beside them the local mean cost of one in ms (None where there is none). `function_calls`: into functions, the first one
    included; `functions`: how many different ones. `busy_ms`: in services, less hops, waits, stores and databases. None where no header
    told. `why_missing`: nothing but bytes was counted."""

    hops: float
    store_writes: float
    store_reads: float
    database_trips: float
    bytes_in: float
    bytes_out: float
    hop_ms: float | None = None
    store_ms: float | None = None
    database_ms: float | None = None
    function_calls: float | None = None
    functions: float | None = None
    busy_ms: float | None = None
    why_missing: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelinePoint:
    """One second of one cell."""

    at_s: float
    offered_per_s: float
    completed_per_s: float
    p50_ms: float | None
    errors: int
    instances: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """All cells of one subject (architecture, variant of options, model size, provider): what gets a row in the table.

    `primary_per_deployment`: the primary metric of each valid deployment, in the order of `blocks`; empty where a deployment alone does not
    support it. `low_rate_latency_ms`: quantiles of the latencies at the lowest rate, evenly spaced. `search`: what its searches found and
    what limited them, in sentences; None where none was asked for. `deployed`: by name of metric."""

    name: str
    architecture: str
    variant: str
    provider: str
    workload: str
    model_size: str
    deployments: int
    valid_deployments: int
    steps: tuple[StepFigures, ...]
    held_rate_per_s: Stat
    primary: Stat
    cpu_ms_architecture: Stat
    cpu_ms_platform: Stat
    memory_mib: Stat
    cold_ms: Stat
    cold_phases_ms: Mapping[str, float]
    ready_s: Stat
    waterfall: tuple[Span, ...]
    counts: Counts
    services: tuple[ServiceFigures, ...]
    timeline: tuple[TimelinePoint, ...]
    events: tuple[Mapping[str, str | int | float | bool | None], ...] = ()
    low_rate_latency_ms: tuple[float, ...] = ()
    correct_share: float | None = None
    options: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    blocks: tuple[int, ...] = ()
    code_ref: Literal["", "base", "head"] = ""
    primary_per_deployment: tuple[float, ...] = ()
    search: tuple[str, ...] | None = None
    deployed: Mapping[str, Deployed] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Driving:
    """Where the subjects' load came from: inside (Jobs of the provider) or outside (this machine), from up to so many processes at once.
    `clock_error_ms`: of the worst of all clocks that had to be compared with this machine's, None where all were its own. `other`: where
    else load could come from, with the floors from there (as in Summary); empty where nowhere."""

    place: str
    processes: int
    clock_error_ms: float | None
    other: str = ""
    other_floor_driver_ms: Mapping[str, Stat] = field(default_factory=dict)
    other_floor_path_ms: Mapping[str, Stat] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """`floor_driver_ms`, `floor_path_ms`: p50 and p99 of noop on the fake and on the real provider; less is no difference. They are
    driven from where the subjects were. `load_kind`: of the subjects. `faults`: a sentence for each that was planned, with how exactly it
    was made."""

    run: str
    scenario: str
    workload: str
    deployments: int
    verdicts: bool
    primary_metric: str
    primary_rate_per_s: float
    slo_percentile: float
    slo_ms: float
    traffic_per_s: tuple[float, ...]
    isolation: str
    enforcement: str
    machine: Mapping[str, str | int | float]
    machine_class: str
    claims: tuple[str, ...]
    floor_driver_ms: Mapping[str, Stat]
    floor_path_ms: Mapping[str, Stat]
    cells: tuple[CellVerdict, ...]
    groups: tuple[Group, ...]
    spread: float
    detectable_ratio: float | None
    started_at: str
    duration_s: float
    command: str
    driving: Driving | None = None
    load_kind: LoadKind = "ladder"
    faults: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION
