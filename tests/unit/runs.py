"""Writes complete run directories whose truth is known, for tests of everything that reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import stats

from lab import environment, rundir
from lab.load import record
from lab.model import Budget, Cell, Edge, Environment, Event, Load, MachineState, Plan, Service, TimedFault, Topology, Usage
from lab.rundir import CellStatus, RunDir, Status

ORIGIN_S = 1000.0  # time.monotonic when the driver's clock read 0
TIMEOUT_S = 5.0
FIRST_WINDOW_S = 10.0
HOP_MS, STORE_MS, DATABASE_MS, STAGE_MS, HOST_MS = 2.0, 3.0, 1.0, 4.0, 1.0
MACHINE = {"cpu": "test", "cores": 2, "memory_gib": 4, "kernel": "6.1", "provider": "fake"}


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How one architecture answers. Headline latencies are lognormal (median, sigma) times exp(spread x a normal score per block);
    reads take half. `cpu_per_s` CPU-seconds per second, architecture and platform. The shares are of all requests of a window."""

    median_ms: float = 20.0
    sigma: float = 0.3
    spread: float = 0.05
    cpu_per_s: tuple[float, float] | None = (0.2, 0.05)
    failed: float = 0.0
    wrong: float = 0.0
    cold: float = 0.0
    dropped: float = 0.0
    lag_ms: float = 0.5
    hops: int = 1
    cold_ms: float | None = None
    timing: bool = True


@dataclass(frozen=True, kw_only=True)
class Broken:
    """What is wrong with one cell: how it ended, and what is changed in its status."""

    status: Status = "done"
    reason: str = ""
    warmup_stable: bool | None = True
    driver: Mapping[str, float] = field(default_factory=dict)
    stream_only: bool = False
    cut_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    architectures: Mapping[str, Behaviour] = field(
        default_factory=lambda: {"alpha": Behaviour(), "beta": Behaviour(median_ms=30.0, hops=2)}
    )
    deployments: int = 3
    rates_per_s: tuple[float, ...] = (10.0, 20.0)
    window_s: float = 20.0
    primary_metric: str = "p50_ms"
    workload: str = "noop"
    floor: bool = True
    floor_ms: float = 1.0
    broken: Mapping[str, Broken] = field(default_factory=dict)
    behaviours: Mapping[str, Behaviour] = field(default_factory=dict)
    machine: Mapping[str, str | int | float] = field(default_factory=lambda: dict(MACHINE))
    claims: tuple[str, ...] = ("cpu", "bytes", "cost", "cold", "p50", "tail")
    states: tuple[MachineState, ...] = ()
    slo_ms: float = 250.0
    primary_rate_per_s: float | None = None
    wrong_rate_limit: float = 0.0
    faults: tuple[TimedFault, ...] = ()


def build(root: Path, recipe: Recipe = Recipe()) -> RunDir:
    """`recipe.broken` and `recipe.behaviours` change single cells, by id such as `01-alpha-S`."""
    run = RunDir(root)
    plan = make_plan(recipe)
    rundir.write(run.plan, rundir.encode(plan))
    rundir.write(run.environment, rundir.encode(_environment(recipe)))
    for cell in plan.cells:
        floor = Behaviour(median_ms=recipe.floor_ms, sigma=0.1, lag_ms=0.2)
        usual = recipe.architectures.get(cell.architecture, floor) if cell.role == "subject" else floor
        write_cell(run, cell, recipe.behaviours.get(cell.id, usual), recipe.broken.get(cell.id, Broken()))
    return run


def make_plan(recipe: Recipe) -> Plan:
    cells = [_cell(recipe, role, "alpha", 0, f"00-{role}") for role in ("floor_driver", "floor_path")] if recipe.floor else []
    for block in range(recipe.deployments):
        cells += [_cell(recipe, "subject", name, block, f"{block + 1:02d}-{name}-S") for name in recipe.architectures]
    return Plan(
        scenario="synthetic",
        scenario_sha256="0" * 64,
        workload=recipe.workload,
        budget=Budget(),
        cells=tuple(cells),
        deployments=recipe.deployments,
        verdicts=recipe.deployments >= 7,
        primary_metric=recipe.primary_metric,
        primary_rate_per_s=recipe.primary_rate_per_s or recipe.rates_per_s[0],
        slo_percentile=95.0,
        slo_ms=recipe.slo_ms,
        error_rate_limit=0.01,
        traffic_per_s=(1.0, 10.0),
        prices="aws",
        seed=7,
        isolation="pinned",
        enforcement="affinity",
        expected_s=1.0,
        detectable_ratio=None,
        spread=0.1,
        spread_source="assumed",
    )


def _cell(recipe: Recipe, role: str, architecture: str, block: int, id: str) -> Cell:
    subject = role == "subject"
    primary = recipe.primary_rate_per_s or recipe.rates_per_s[0]
    load = Load(
        rates_per_s=recipe.rates_per_s if subject else (primary,),
        window_s=recipe.window_s,
        warmup_max_s=4.0,
        warmup_rate_per_s=primary,
        drain_s=2.0,
        timeout_s=TIMEOUT_S,
        arrival="constant",
        cold_requests=1,
    )
    activated = subject and recipe.architectures[architecture].cold_ms is not None
    return Cell(
        id=id,
        role=role,  # type: ignore[arg-type]
        provider="fake",
        architecture=architecture,
        variant="",
        workload=recipe.workload if subject else "noop",
        model_size="S",
        options={},
        load=load,
        block=block,
        seed=7000 + block,
        topology=topology(architecture, recipe.workload, activated),
        headline=("classify",),
        wrong_rate_limit=recipe.wrong_rate_limit,
        expected_s=1.0,
        faults=recipe.faults if role == "subject" else (),
    )


def topology(architecture: str, workload: str, activated: bool) -> Topology:
    """`app` calls `model`; activated, `model` is a function behind an activator."""
    function = {"scaling": "to_zero", "billing": "function", "instances": 0} if activated else {}
    model = Service(name="model", stages=("infer",), memory_mib=256, cpus=0.5, **function)  # type: ignore[arg-type]
    services = [Service(name="app", stages=("ingest", "preprocess", "record", "review"), cpus=0.5), model]
    if activated:
        services.insert(0, Service(name="activator", role="activator", billing="managed", memory_mib=128))
    return Topology(
        architecture=architecture,
        workload=workload,
        model_size="S",
        services=tuple(services),
        edges=(Edge(source="app", target="model"),),
        routes={"classify": "app", "result": "app"},
    )


def _environment(recipe: Recipe) -> Environment:
    return Environment(
        identity=environment.identify(recipe.machine),
        machine=recipe.machine,
        machine_class="2 virtual cores",
        claims=recipe.claims,
        subject={"seed": 7},
        command="lab run synthetic",
        started_at="2026-11-22T18:00:00Z",
        finished_at="2026-11-22T18:04:00Z",
        duration_s=240.0,
        states=recipe.states,
    )


# ---- one cell --------------------------------------------------------------------------------------------------------


def write_cell(run: RunDir, cell: Cell, behaviour: Behaviour, broken: Broken = Broken()) -> None:
    folder = run.cell(cell.id)
    rundir.write(folder.topology, rundir.encode(cell.topology))
    windows = [
        (i, FIRST_WINDOW_S + i * cell.load.window_s, FIRST_WINDOW_S + (i + 1) * cell.load.window_s)
        for i in range(len(cell.load.rates_per_s))
    ]
    parts = [_window(cell, behaviour, i, start) for i, start, _ in windows]
    if behaviour.cold_ms is not None:
        parts.insert(0, _cold(behaviour.cold_ms))
    _write_samples(folder.root, parts, broken)
    end_s = windows[-1][2] + 2.0
    rundir.append(folder.usage, b"".join(msgspec.json.encode(u) + b"\n" for u in _usage(cell, behaviour, end_s)))
    rundir.append(folder.events, b"".join(msgspec.json.encode(e) + b"\n" for e in _events(behaviour, windows)))
    folder.mark(
        CellStatus(
            cell=cell.id,
            status=broken.status,
            reason=broken.reason,
            deployment=cell.id,
            origin_s=ORIGIN_S,
            ready_s={"app": 0.8, "model": 1.2} if behaviour.cold_ms is None else {"app": 0.8},
            windows=tuple(windows) if broken.status == "done" else (),
            warmup_stable=broken.warmup_stable,
            driver={"cpu_share": 0.2, **broken.driver},
        )
    )


def score(architecture: str, block: int) -> float:
    """How far this deployment lies from its architecture's median, in units of the spread; another order for each first letter."""
    scores = (0.0, 0.8, -0.8, 0.4, -0.4, 1.2, -1.2, 0.2, -0.2, 1.6)
    return scores[(block + 3 * (ord(architecture[0]) - ord("a"))) % len(scores)]


def latencies_ms(cell: Cell, behaviour: Behaviour, n: int, step: int) -> NDArray[np.float64]:
    """Exact lognormal quantiles, shuffled."""
    scores = stats.norm.ppf((np.arange(n) + 0.5) / n)
    level = np.log(behaviour.median_ms) + behaviour.spread * score(cell.architecture, cell.block)
    shuffled: NDArray[np.float64] = np.random.default_rng([cell.seed, step]).permutation(np.exp(level + behaviour.sigma * scores))
    return shuffled


def _window(cell: Cell, behaviour: Behaviour, step: int, start_s: float) -> dict[str, NDArray[np.generic]]:
    """One in ten requests is a read; failures, wrong answers, cold starts and drops are the first requests of the window, in that order."""
    n = round(cell.load.rates_per_s[step] * cell.load.window_s)
    intended = start_s + (np.arange(n) + 0.5) / cell.load.rates_per_s[step]
    read = np.arange(n) % 10 == 9
    took = np.empty(n)
    took[~read] = latencies_ms(cell, behaviour, int((~read).sum()), step)
    took[read] = latencies_ms(cell, behaviour, int(read.sum()), step) / 2
    edges = np.cumsum([round(share * n) for share in (behaviour.failed, behaviour.wrong, behaviour.cold, behaviour.dropped)])
    kind = np.searchsorted(edges, np.arange(n), side="right")
    failed, wrong, dropped = kind == 0, kind == 1, kind == 3
    sent = np.where(dropped, np.nan, intended + behaviour.lag_ms / 1e3)
    return {
        "operation": np.where(read, "result", "classify"),
        "phase": np.full(n, "window"),
        "step": np.full(n, step),
        "intended_s": intended,
        "sent_s": sent,
        "done_s": np.where(dropped, np.nan, intended + took / 1e3),
        "status": np.where(failed, 503, np.where(dropped, 0, 200)),
        "ok": ~(failed | dropped),
        "correct": np.where(wrong, 0.0, np.where(failed | dropped, np.nan, 1.0)),
        "cold": kind == 2,
        "server_timing": np.where(failed | dropped | (not behaviour.timing), "", header(behaviour.hops)),
    }


def header(hops: int) -> str:
    """Four stages of STAGE_MS in turn: ingest holds one PUT, record one statement; infer is in model, behind `hops` calls."""
    between = hops * HOP_MS
    parts = [_entry("app", 4 * STAGE_MS + between + HOST_MS, "total@app", 0.0)]
    parts += [_entry("ingest", STAGE_MS, "stage@app", 0.0), _entry("put", STORE_MS, "store@app", 0.5)]
    parts += [_entry("preprocess", STAGE_MS, "stage@app", STAGE_MS)]
    if hops:
        parts += [_entry("model", between, "hop@app", 2 * STAGE_MS, f"*{hops}")]
        parts += [_entry("model", STAGE_MS, "total@model", 2 * STAGE_MS + between / 2)]
    parts += [_entry("infer", STAGE_MS, "stage@model", 2 * STAGE_MS + between / 2)]
    record = 3 * STAGE_MS + between
    return ", ".join(
        [*parts, _entry("record", STAGE_MS, "stage@app", record), _entry("execute", DATABASE_MS, "database@app", record + 0.5)]
    )


def _entry(name: str, duration_ms: float, what: str, start_ms: float, times: str = "") -> str:
    return f'{name};dur={duration_ms};desc="{what}+{start_ms}{times}"'


def _cold(cold_ms: float) -> dict[str, NDArray[np.generic]]:
    one: dict[str, object] = {
        "operation": "classify",
        "phase": "cold",
        "step": -1,
        "intended_s": 1.0,
        "sent_s": 1.0005,
        "done_s": 1 + cold_ms / 1e3,
    }
    one |= {"status": 200, "ok": True, "correct": 1.0, "cold": True, "server_timing": ""}
    return {name: np.array([value]) for name, value in one.items()}


def table(parts: Sequence[Mapping[str, NDArray[np.generic]]]) -> pa.Table:
    """Columns of lab.model.Sample; nan becomes null."""
    columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    n = len(columns["ok"])
    correct = columns.pop("correct").astype(float)
    columns |= {
        "sequence": np.arange(n),
        "first_byte_s": columns["done_s"],
        "bytes_sent": np.full(n, 5000),
        "bytes_received": np.full(n, 200),
    }
    arrays = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    arrays["correct"] = pa.array(correct == 1, mask=np.isnan(correct))
    arrays["error"] = pa.array(["failed"] * n, mask=columns["ok"].astype(bool))
    schema = record.schema(ORIGIN_S)
    return pa.table([arrays[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def _write_samples(folder: Path, parts: Sequence[Mapping[str, NDArray[np.generic]]], broken: Broken) -> None:
    whole = table(parts)
    if not broken.stream_only:
        pq.write_table(whole, folder / "samples.parquet", compression="zstd")
        return
    batches = [b.serialize().to_pybytes() for b in whole.to_batches(max_chunksize=50)]
    data = whole.schema.serialize().to_pybytes() + b"".join(batches)
    (folder / "samples.arrows").write_bytes(data[: len(data) - broken.cut_bytes])


def _usage(cell: Cell, behaviour: Behaviour, end_s: float) -> list[Usage]:
    """Each half second: three services that share the CPU; memory is constant."""
    shares = {"app": ("architecture", 0.75), "model": ("architecture", 0.25), "gateway": ("platform", 1.0)}
    lines = []
    for t in np.arange(0.0, end_s + 0.5, 0.5):
        for name, (tier, share) in shares.items():
            rate = None if behaviour.cpu_per_s is None else behaviour.cpu_per_s[tier == "platform"] * share
            line = Usage(
                at_s=ORIGIN_S + float(t),
                service=name,
                tier=tier,  # type: ignore[arg-type]
                instances=1,
                cpu_s=None if rate is None else 5.0 + rate * float(t),
                memory_mib=None if rate is None else 100.0,
            )
            lines.append(line)
    return lines


def _events(behaviour: Behaviour, windows: Sequence[tuple[int, float, float]]) -> list[Event]:
    if behaviour.cold_ms is None:
        return []
    phases = {"duration_ms": 900.0, "import_ms": 500.0, "model_ms": 300.0}
    events = [Event(at_s=ORIGIN_S + 1.9, clock="monotonic", kind="cold_start", service="model", values=phases)]
    for _, start_s, end_s in windows:
        for t in np.arange(start_s + 0.05, end_s, 0.1):
            values = {"duration_ms": 8.0, "memory_mib": 256, "cold": False}
            events.append(Event(at_s=ORIGIN_S + float(t), clock="monotonic", kind="invocation", service="model", values=values))
    return events


# ---- a workload of the user's own ------------------------------------------------------------------------------------
