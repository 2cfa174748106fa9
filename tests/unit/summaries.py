"""Made-up but plausible summaries for tests: `summary()` is vision M on two cores as three architectures; every part can be changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import norm

from lab.analysis.results import Counts, Curve, Group, ServiceFigures, StepFigures, Summary
from lab.model import Stat

LATENCY_MS = {"three_tier": 22.0, "microservices": 27.0, "serverless": 36.0}
HOPS = {"three_tier": 1.0, "microservices": 3.0, "serverless": 2.0}


def stat(value: float, unit: str = "ms", spread: float = 0.05, n: int = 3) -> Stat:
    """A figure with an interval of +-`spread` on the log scale; 0 for an exact one."""
    return Stat(value=value, unit=unit, n=n, low=value / (1 + spread), high=value * (1 + spread))


def service(name: str, billing: str, cpu_ms: float, **changes: Any) -> ServiceFigures:
    function = billing == "function"
    made = ServiceFigures(
        service=name,
        tier="architecture",
        billing=billing,
        instances=1.0,
        cpu_ms_per_request=stat(cpu_ms),
        memory_mib=stat(140.0, "MiB", 0.02),
        memory_configured_mib=256.0 if function else 512.0,
        cpus_configured=256 / 1769 if function else 0.25,
        start_s=stat(0.9, "s"),
        invocations_per_request=1.0 if function else None,
        billed_ms_per_request=cpu_ms + 4.0 if function else None,
    )
    return replace(made, **changes)


SERVICES: dict[str, tuple[ServiceFigures, ...]] = {
    "three_tier": (
        service("app", "vm", 5.0, cpus_configured=0.5),
        service("model", "vm", 6.0, cpus_configured=0.5, memory_configured_mib=1024.0),
    ),
    "microservices": (
        service("ingest", "container", 2.5),
        service("preprocess", "container", 3.0),
        service("infer", "container", 6.0, cpus_configured=0.5),
        service("record", "container", 2.5),
    ),
    "serverless": (
        service("activator", "managed", 2.0, memory_configured_mib=128.0, cpus_configured=0.1),
        service("intake", "function", 4.5),
        service("classify", "function", 6.5),
        service("results", "function", 2.0),
    ),
}


def step(rate_per_s: float, p50_ms: float, *, tails: bool = True) -> StepFigures:
    missing = Stat.missing("ms", "159 samples; p99 needs 459", n=159)
    latency = {"p50": stat(p50_ms), "p95": stat(p50_ms * 1.8) if tails else missing, "p99": stat(p50_ms * 2.6) if tails else missing}
    return StepFigures(
        rate_per_s=rate_per_s,
        offered_per_s=stat(rate_per_s, "1/s"),
        achieved_per_s=stat(rate_per_s, "1/s"),
        latency=latency,
        service=latency,
        error_rate=Stat(value=0.0, unit="share", n=3),
        wrong_rate=Stat(value=0.0, unit="share", n=3),
        lag_p99_ms=stat(1.1),
        utilisation=stat(0.2, "share"),
        cpu_ms_architecture=stat(11.0),
        cpu_ms_platform=stat(4.0),
        held=True,
        percentiles=Curve(x=(0.5, 0.95, 0.99), y=(p50_ms, p50_ms * 1.8, p50_ms * 2.6)),
    )


def latencies_ms(p50_ms: float, sigma: float = 0.25, n: int = 400) -> tuple[float, ...]:
    """Log-normal by its quantiles: the same shape for every median, no randomness."""
    return tuple(float(x) for x in p50_ms * np.exp(sigma * norm.ppf((np.arange(n) + 0.5) / n)))


def group(name: str, **changes: Any) -> Group:
    """`name` is one of the three architectures, or any other name with `services` among the changes."""
    p50_ms = LATENCY_MS.get(name, 20.0)
    functions = name == "serverless"
    made = Group(
        name=name,
        architecture=name,
        variant="",
        provider="embedded",
        workload="vision",
        model_size="M",
        deployments=3,
        valid_deployments=3,
        steps=(step(10.0, p50_ms), step(20.0, p50_ms * 1.2)),
        held_rate_per_s=stat(40.0, "1/s"),
        primary=stat(p50_ms),
        cpu_ms_architecture=stat(11.0),
        cpu_ms_platform=stat(4.0),
        memory_mib=stat(420.0, "MiB"),
        cold_ms=stat(1200.0) if functions else Stat.missing("ms", "nothing scales to zero"),
        cold_phases_ms={"import_ms": 450.0, "open_ms": 60.0, "model_ms": 180.0, "spawn_ms": 240.0} if functions else {},
        ready_s=stat(2.0, "s"),
        waterfall=(),
        counts=Counts(
            hops=HOPS.get(name, 1.0),
            store_writes=1.0,
            store_reads=0.0,
            database_trips=1.0,
            bytes_in=6000.0,
            bytes_out=300.0,
            hop_ms=1.2,
            store_ms=3.0,
            database_ms=0.9,
        ),
        services=SERVICES.get(name, ()),
        timeline=(),
        low_rate_latency_ms=latencies_ms(p50_ms),
        correct_share=0.97,
    )
    return replace(made, **changes)


def summary(**changes: Any) -> Summary:
    made = Summary(
        run="20261122-1200-compare",
        scenario="compare",
        workload="vision",
        deployments=3,
        verdicts=False,
        primary_metric="p50",
        primary_rate_per_s=10.0,
        slo_percentile=0.95,
        slo_ms=250.0,
        traffic_per_s=(1.0, 10.0, 50.0),
        isolation="none",
        enforcement="affinity",
        machine={"cpu": "made up", "cores": 2},
        machine_class="2 virtual cores",
        claims=("cpu", "bytes", "cost", "cold", "p50"),
        floor_driver_ms={"p50": stat(0.9), "p99": stat(2.0)},
        floor_path_ms={"p50": stat(2.4), "p95": stat(4.5), "p99": stat(6.0)},
        cells=(),
        groups=tuple(group(name) for name in LATENCY_MS),
        spread=0.04,
        detectable_ratio=None,
        started_at="2026-11-22T12:00:00Z",
        duration_s=252.0,
        command="lab run compare",
    )
    return replace(made, **changes)
