"""A Summary and a Comparison as `lab run compare` leaves them: three groups, one INVALID cell, missing figures, every status."""

from __future__ import annotations

from dataclasses import replace
from math import sin

from lab.analysis import wins
from lab.analysis.results import (
    BreakEven,
    CellVerdict,
    Comparison,
    CostAt,
    CostLine,
    Costs,
    Counts,
    Curve,
    Effect,
    Group,
    Ranking,
    ServiceFigures,
    Span,
    StepFigures,
    Summary,
    TimelinePoint,
)
from lab.model import Stat

ARCHITECTURES = ("three_tier", "microservices", "serverless")
RATES = (10.0, 20.0, 40.0)
P99_WHY = "159 samples; p99 needs 459 for a 95 % bound"
COLD_WHY = "nothing scales to zero here"
BASE_MS = {"three_tier": 23.4, "microservices": 31.2, "serverless": 48.9}
CPU_MS = {"three_tier": 9.1, "microservices": 12.6, "serverless": 15.9}
FIXED_USD = {"three_tier": 61.2, "microservices": 108.4, "serverless": 14.8}
UNIT_USD = {"three_tier": 3.1, "microservices": 4.3, "serverless": 9.4}


def stat(value: float, unit: str = "ms", spread: float = 0.06, **more: object) -> Stat:
    return Stat(value=value, unit=unit, n=3, low=value * (1 - spread), high=value * (1 + spread), **more)  # type: ignore[arg-type]


def step(name: str, rate: float) -> StepFigures:
    base = BASE_MS[name] * (1 + (rate / 55) ** 3)
    held = not (name == "serverless" and rate == 40)
    p99 = stat(base * 3.1, spread=0.22) if rate == 40 else Stat.missing("ms", P99_WHY, n=159)
    return StepFigures(
        rate_per_s=rate,
        offered_per_s=stat(rate * 1.003, "1/s", 0.01),
        achieved_per_s=stat(rate * (0.999 if held else 0.871), "1/s", 0.01),
        latency={"p50": stat(base), "p95": stat(base * 1.9, spread=0.12), "p99": p99},
        service={
            "p50": stat(base * 0.96),
            "p95": stat(base * 1.7, spread=0.1),
            "p99": p99 if p99.value is None else stat(base * 2.6, spread=0.2),
        },
        error_rate=Stat(value=0.0 if held else 0.031, unit="share", n=3),
        wrong_rate=Stat(value=0.0, unit="share", n=3),
        lag_p99_ms=stat(1.4),
        utilisation=stat(rate * CPU_MS[name] / 1000, "share"),
        cpu_ms_architecture=stat(CPU_MS[name], spread=0.03),
        cpu_ms_platform=stat(3.8, spread=0.05),
        held=held,
        percentiles=Curve(
            x=(0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98),
            y=tuple(base * f for f in (0.82, 0.91, 1.0, 1.2, 1.55, 1.9, 2.5)),
        ),
        per_deployment_ms=(base * 0.98, base, base * 1.03),
        by_operation={"classify": stat(base), "result": stat(6.1), "counts": stat(7.9)},
    )


def waterfall(name: str) -> tuple[Span, ...]:
    hop = {"three_tier": 0.0, "microservices": 1.7, "serverless": 3.4}[name]
    spans: list[Span] = []
    at = 0.6
    plan = [("ingest", "stage", 1.9), ("put", "store", 3.1), ("preprocess", "stage", 2.6), ("infer", "stage", 5.2)]
    plan += [("record", "stage", 1.1), ("execute", "database", 1.4)]
    for label, kind, duration in plan:
        if kind == "stage" and hop and label != "ingest":
            spans.append(Span(name=label, kind="hop", service=label, start_ms=at, duration_ms=hop))
            at += hop
        if label == "infer" and name == "serverless":
            spans.append(Span(name="infer", kind="queue", service="infer", start_ms=at, duration_ms=6.3))
            at += 6.3
        spans.append(Span(name=label, kind=kind, service=label if hop else "app", start_ms=at, duration_ms=duration))
        at += duration
    return (*spans, Span(name="host", kind="other", service="gateway", start_ms=at, duration_ms=BASE_MS[name] - at))


def services(name: str) -> tuple[ServiceFigures, ...]:
    names = {
        "three_tier": ("app", "model"),
        "microservices": ("ingest", "preprocess", "infer", "record"),
        "serverless": ("activator", "classify", "infer", "read"),
    }
    billing = {"three_tier": "vm", "microservices": "container", "serverless": "function"}[name]
    made = []
    for index, service in enumerate(names[name]):
        function = billing == "function" and service != "activator"
        made.append(
            ServiceFigures(
                service=service,
                tier="architecture",
                billing=billing,
                instances=1.0 + 0.4 * function,
                cpu_ms_per_request=stat(CPU_MS[name] / len(names[name])),
                memory_mib=stat(92.0 + 31 * index, "MiB", 0.02),
                memory_configured_mib=512,
                cpus_configured=0.5,
                start_s=stat(0.93, "s"),
                invocations_per_request=1.0 if function else None,
                billed_ms_per_request=21.0 if function else None,
            )
        )
    for service in ("gateway", "object store", "database"):
        missing = Stat.missing("s", "the platform starts once per Lab")
        made.append(
            ServiceFigures(
                service=service,
                tier="platform",
                billing="managed",
                instances=1.0,
                cpu_ms_per_request=stat(1.3),
                memory_mib=stat(140, "MiB"),
                memory_configured_mib=0,
                cpus_configured=0,
                start_s=missing,
            )
        )
    return tuple(made)


def timeline(name: str) -> tuple[TimelinePoint, ...]:
    points = []
    for second in range(18):
        rate = RATES[second // 6]
        points.append(
            TimelinePoint(
                at_s=float(second),
                offered_per_s=rate,
                completed_per_s=rate + 2.5 * sin(second * 1.7),
                p50_ms=None if second == 0 else BASE_MS[name] * (1.05 + 0.1 * sin(second) + second / 60),
                errors=2 if name == "serverless" and second == 15 else 0,
                instances={s.service: 1 + (name == "serverless" and second > 9) for s in services(name)[:4]},
            )
        )
    return tuple(points)


def group(name: str) -> Group:
    steps = tuple(step(name, rate) for rate in RATES)
    functions = name == "serverless"
    return Group(
        name=name,
        architecture=name,
        variant="",
        provider="embedded",
        workload="vision",
        model_size="M",
        deployments=3,
        valid_deployments=2 if name == "microservices" else 3,
        steps=steps,
        held_rate_per_s=stat(20 if functions else 40, "1/s", 0),
        primary=steps[0].latency["p50"],
        cpu_ms_architecture=steps[0].cpu_ms_architecture,
        cpu_ms_platform=steps[0].cpu_ms_platform,
        memory_mib=stat({"three_tier": 231, "microservices": 402, "serverless": 388}[name], "MiB"),
        cold_ms=stat(1240, spread=0.09) if functions else Stat.missing("ms", COLD_WHY),
        cold_phases_ms={"spawn": 38.0, "import": 742.0, "open": 51.0, "model": 236.0, "first request": 173.0} if functions else {},
        ready_s=stat(2.1, "s"),
        waterfall=waterfall(name),
        counts=Counts(
            hops={"three_tier": 1, "microservices": 3, "serverless": 3}[name],
            store_writes=1,
            store_reads=0,
            database_trips=1,
            bytes_in=11820,
            bytes_out=214,
            hop_ms=1.7,
            store_ms=3.1,
            database_ms=1.4,
        ),
        services=services(name),
        timeline=timeline(name),
        events=({"at_s": 9.2, "kind": "scale", "service": "infer", "to": 2},) if functions else (),
        low_rate_latency_ms=(22.9, 23.4, 24.1),
        correct_share=0.991,
        options={"model_cpu_share": 0.5},
    )


def summary() -> Summary:
    cells = []
    for block in range(3):
        for name in ARCHITECTURES:
            bad = name == "microservices" and block == 2
            reasons = ("driver late: lag p99 14.2 ms, the limit is 10 ms", "offered 36.1/s, wanted 40/s: the target rate was missed")
            cells.append(
                CellVerdict(
                    cell=f"{block}-{name}-M",
                    group=name,
                    block=block,
                    valid=not bad,
                    reasons=reasons if bad else (),
                    warnings=("host steal 2.1 % during warm-up",) if block == 1 and name == "three_tier" else (),
                )
            )
    return Summary(
        run="20261122-184012-compare",
        scenario="compare",
        workload="vision",
        deployments=3,
        verdicts=False,
        primary_metric="p50_ms",
        primary_rate_per_s=10.0,
        slo_percentile=95,
        slo_ms=250,
        traffic_per_s=(1, 10, 50),
        isolation="none",
        enforcement="none",
        machine={"cpu": "Xeon Platinum 8481C", "cores": 2, "memory_gib": 24, "kernel": "6.1.0", "provider": "embedded"},
        machine_class="2 virtual cores",
        claims=("cpu", "bytes", "cost", "cold", "p50"),
        floor_driver_ms={"p50": stat(1.3), "p99": stat(3.9)},
        floor_path_ms={"p50": stat(3.6), "p99": stat(9.8)},
        cells=tuple(cells),
        groups=tuple(group(name) for name in ARCHITECTURES),
        spread=0.08,
        detectable_ratio=1.34,
        started_at="2026-11-22T18:40:12+00:00",
        duration_s=252,
        command="lab run compare",
    )


def month(name: str, rate: float) -> float:
    steps = 1 + int(rate * CPU_MS[name] / 600)
    if name == "serverless":
        return FIXED_USD[name] + UNIT_USD[name] * rate
    return FIXED_USD[name] * (0.35 + 0.65 * steps)


def cost_at(name: str, rate: float) -> CostAt:
    usd = month(name, rate)
    million = usd / (rate * 2.628)
    money = {"unit": "USD", "basis": "priced"}
    kinds = {"compute": 0.55, "requests": 0.06, "storage": 0.04, "egress": 0.05, "shared_fixed": 0.2, "idle": 0.1}
    lines = tuple(
        CostLine(
            kind=kind,
            service="platform" if kind == "shared_fixed" else "app",
            allocation_usd=usd * share,
            usage_usd=0.0 if kind == "idle" else usd * share * 0.8,
            sku={"compute": "t3.medium", "shared_fixed": "alb + db.t4g.micro"}.get(kind, kind),
            source="https://example.invalid/prices",
            grade="B" if kind == "compute" else "A",
            as_of="2026-10-01",
        )
        for kind, share in kinds.items()
    )
    return CostAt(
        group=name,
        traffic_per_s=rate,
        month_allocation=stat(usd, **money),
        month_usage=stat(usd * 0.7, **money),
        per_million_allocation=stat(million, **money),
        per_million_usage=stat(million * 0.7, **money),
        per_1000_correct_allocation=stat(million / 1000 / 0.991, **money),
        per_1000_correct_usage=stat(million * 0.7 / 1000 / 0.991, **money),
        replicas={"app": 1 + int(rate * CPU_MS[name] / 600)},
        lines=lines,
    )


COSTS_BREAK_EVEN = BreakEven(cheaper_below="serverless", other="three_tier", traffic_per_s=stat(4.9, "1/s", 0.24, basis="priced"))


def costs() -> Costs:
    xs = tuple(round(10 ** (-1 + i / 10), 4) for i in range(31))
    curves = {}
    for name in ARCHITECTURES:
        ys = tuple(month(name, x) for x in xs)
        curves[name] = Curve(x=xs, y=ys, low=tuple(y * 0.9 for y in ys), high=tuple(y * 1.12 for y in ys))
    return Costs(
        prices="aws",
        region="us-east-1",
        currency="USD",
        as_of_oldest="2026-03-01",
        as_of_newest="2026-10-01",
        grades={"A": 9, "B": 4, "C": 1},
        warnings=("3 prices are older than 180 days",),
        cpu_scale=1.0,
        at=tuple(cost_at(name, rate) for rate in (1.0, 10.0, 50.0) for name in ARCHITECTURES),
        curves=curves,
        break_even=(
            COSTS_BREAK_EVEN,
            BreakEven(cheaper_below="serverless", other="microservices", traffic_per_s=stat(9.96, "1/s", 0.2, basis="priced")),
            BreakEven(
                cheaper_below="three_tier",
                other="microservices",
                traffic_per_s=Stat.missing("1/s", "the curves do not cross between 0.1/s and 100/s", basis="priced"),
                always="three_tier",
            ),
        ),
        assumptions=("730 hours a month", "no free tier", "one region, one zone"),
    )


def comparison() -> Comparison:
    return Comparison(
        run="20261122-184012-compare",
        effects=(
            Effect(metric="p50_ms", a="three_tier", b="microservices", ratio=stat(1.33, "ratio", 0.1), verdict="exploratory"),
            Effect(
                metric="p50_ms",
                a="three_tier",
                b="serverless",
                ratio=stat(2.09, "ratio", 0.12),
                verdict="exploratory",
                reason="3 deployments; a verdict needs 7",
            ),
        ),
        costs=costs(),
        rankings=(
            Ranking(
                metric="p50_ms",
                a="three_tier",
                b="microservices",
                status="holds",
                winner="three_tier",
                shares={"three_tier": 0.99, "microservices": 0.01},
                flip_at="",
                sentence="three_tier answers faster than microservices in 99 % of the cloud ranges",
            ),
            Ranking(
                metric="p50_ms",
                a="three_tier",
                b="serverless",
                status="flips",
                winner="",
                shares={"three_tier": 0.71, "serverless": 0.29},
                flip_at="one hop costs 0.4 ms",
                sentence="three_tier is faster only while one hop costs more than 0.4 ms",
            ),
            Ranking(
                metric="p99_ms",
                a="three_tier",
                b="serverless",
                status="cannot",
                winner="",
                shares={},
                flip_at="",
                sentence="tails cannot be measured on 2 virtual cores that driver and system share",
            ),
        ),
        answer="At 10 requests/s, model M: three_tier answers fastest; serverless costs least below 4.9 requests/s (3.7–6.1).",
        certainty="The order of three_tier and microservices holds in 99 % of cloud ranges; against serverless it flips.",
        notes=("Cold starts are reported apart from warm latency.",),
        wins=wins.wins(summary(), costs()),
    )


def marked_up(text: str) -> Summary:
    """The same summary with `text` as the name of its first group, as a user's architecture file may be called."""
    made = summary()
    first = replace(made.groups[0], name=text, architecture=text)
    cells = tuple(replace(c, group=text) if c.group == ARCHITECTURES[0] else c for c in made.cells)
    return replace(made, groups=(first, *made.groups[1:]), cells=cells)
