"""What a driver's process is told, and what it answers: JSON lines through a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from lab.model import Load, Probe, Topology
from lab.model.measure import ClockOffset, Phase

JOB_FILE = "job.json"
JOB_STREAM = "/tmp/samples.arrows"  # in a Job
CHUNK = 1 << 20  # of the stream, in one answer
RECOVER_S = 30.0  # for a queue to drain that a probe has left
SHARES = ("steal_share", "busy_share", "driver_share", "parent_share")


@dataclass(frozen=True, kw_only=True, slots=True)
class DriveJob:
    """One cell's load. `url` is the deployment's; its path goes before that of every request. `stream`: the file of samples, made anew.

    `control_url` answers for functions that scale to zero: POST /-/drain, POST /-/fill, GET /-/status; without it there is no cold phase.
    `fill`: function -> instances that stand before warm-up. `cpus`: those of the driver, all if empty.
    More than `max_in_flight` requests at once are not sent but counted as dropped.

    `share` (index, of): this process is one of several on one schedule and sends every of-th arrival of its windows. Driver 0 alone sends
    what comes before them: preload, cold phase, fill, and the warm-up with all its arrivals, on whose answers it judges. All say `ready`,
    and begin the windows when they are told."""

    url: str
    workload: str
    load: Load
    seed: int
    stream: str
    cpus: tuple[int, ...] = ()
    control_url: str | None = None
    fill: Mapping[str, int] = field(default_factory=dict)
    max_in_flight: int = 2000
    share: tuple[int, int] = (0, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a driver in a Job finds as JOB_FILE. `served`: instead of driving job.url, serve this topology on the fake provider in the Job
    itself and drive that, which is the floor of a driver there."""

    job: DriveJob
    deadline_s: float
    served: Topology | None = None
    host: str = "0.0.0.0"
    port: int = 8080


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """`done` of `total` requests of this phase (of the ladder's `step`); `achieved_per_s`: answers in the last second. `rate_per_s`: what
    a search asks for at this step."""

    phase: Phase
    step: int
    done: int
    total: int
    achieved_per_s: float
    rate_per_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """One step on the driver's clock, with shares of CPU time in it: of all `host_cpus`, what the hypervisor took (None where it is not
    told) and what was busy (what the hypervisor took counts as busy); of one CPU, what the driver used and what the process used that
    started it. Of several drivers these two are sums, and `worst_share` is that of the driver that used most."""

    step: int
    start_s: float
    end_s: float
    steal_share: float | None
    busy_share: float
    driver_share: float
    parent_share: float = 0.0
    host_cpus: int = 1
    worst_share: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverRecord:
    """How the driver itself did. `origin_s`: time.monotonic when its clock read 0. Lag is sent - intended, over the windows' requests.
    `warmup_stable` is None without a warm-up. `cpu_s` over `wall_s`: of the whole process over its windows. `drivers`: how many processes
    this tells of; `clocks`: those of drivers that may run on another machine, against this one's. `probes`: a search's, one per window."""

    origin_s: float
    windows: tuple[Window, ...]
    warmup_stable: bool | None
    warmup_reason: str
    warmup_s: float
    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    cpu_s: float
    wall_s: float
    sent: int
    dropped: int
    censored: int
    max_in_flight: int
    payload_s: float
    drivers: int = 1
    clocks: Mapping[str, ClockOffset] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()

    def steps(self) -> tuple[tuple[int, float, float], ...]:
        """As rundir.CellStatus.windows wants them."""
        return tuple((w.step, w.start_s, w.end_s) for w in self.windows)

    def figures(self) -> dict[str, float]:
        """As rundir.CellStatus.driver wants them: for shares the worst window's, and each window's with its step behind the name."""
        found = {f.name: float(getattr(self, f.name)) for f in fields(self) if f.type in ("int", "float") and f.name != "origin_s"}
        found["cpu_share"] = max((w.driver_share if w.worst_share is None else w.worst_share for w in self.windows), default=0.0)
        found["busy_share"] = max((w.busy_share for w in self.windows), default=0.0)
        stolen = [w.steal_share for w in self.windows if w.steal_share is not None]
        found |= {"steal_share": max(stolen)} if stolen else {}
        found |= {"host_cpus": float(max(w.host_cpus for w in self.windows))} if self.windows else {}
        for w in self.windows:
            found |= {f"{name}_{w.step}": float(share) for name in SHARES if (share := getattr(w, name)) is not None}
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A LabError of the driver's process, raised again in the parent. kind: input | machine."""

    kind: str
    what: str
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What goes through the pipe: exactly one of these. `ready`: this one of several drivers could begin its windows. `begins_s`: at this
    moment of the driver's time.monotonic, which is near, they begin."""

    progress: Progress | None = None
    ready: bool = False
    begins_s: float | None = None
    record: DriverRecord | None = None
    failure: Failure | None = None
