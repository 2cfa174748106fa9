"""What a scenario compiles to: an ordered, seeded list of cells, with its minutes added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.model.topology import Topology
from lab.model.workload import ModelSize, Scalar

SCHEMA_VERSION = 1
Role = Literal["subject", "floor_driver", "floor_path", "floor_driver_other", "floor_path_other"]
Place = Literal["outside", "inside"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What one architecture may use, its activator included."""

    cpus: float = 1.0
    memory_mib: int = 3072


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """Rising rates on one deployment. Every step lasts `window_s`; warm-up ends by a stability test, at the latest after `warmup_max_s`."""

    rates_per_s: tuple[float, ...]
    window_s: float
    warmup_max_s: float
    warmup_rate_per_s: float
    drain_s: float
    timeout_s: float
    arrival: Literal["poisson", "constant"] = "poisson"
    cold_requests: int = 0


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
    load: Ladder
    block: int
    seed: int
    topology: Topology | None
    headline: tuple[str, ...]
    wrong_rate_limit: float
    expected_s: float
    driver: Place = "outside"
    drivers: int = 1
    order: int = 0
    code_ref: Literal["", "base", "head"] = ""


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
