"""The lab's driver beside other load generators, against the same service at the same rates, in turn: `python benchmarks/peers.py`.

The service is `noop` (three_tier on the fake provider) in a process of its own; where there are two CPUs it has one and the generators the
other. Peers are those on PATH: hey (closed loop with a rate per worker), vegeta (open loop), and wrk, whose closed loop shows the ceiling.
Prints a table and the goals (p50 within 1.5 ms, p99 within 1.1 x + 2 ms of the peer); `--json FILE` keeps the figures.

The official MLPerf LoadGen (extra `peers`) is held against the lab's own Poisson arrivals, as its Server scenario has them: both verdicts
on the same objective (`--slo-ms`, p99), and p99 within 5 %.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib.util
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lab import registry, spawn
from lab.load import record
from lab.load.drive import drive
from lab.load.job import DriveJob
from lab.model import Load, Request

LAG_LIMIT_MS = 10.0
LOADGEN_CONNECTIONS = 64
HEY_WORKERS = 4  # its workers tick together, so many of them arrive in bursts
SERVICE = """
import signal
from lab import registry
from lab.model import Budget, Shape
from lab.settings import Settings
provider = registry.provider("fake")(Settings(provider="fake", name="peers"))
provider.up()
noop, place = registry.workload("noop"), registry.architecture("three_tier")
shape = Shape(name="noop", model_size="S", stages=noop.stages, operations=noop.operations)
print(provider.deploy(place.place(shape, Budget(), place.Options()), "peers", 1).url, flush=True)
signal.pause()
"""


@dataclass(frozen=True, kw_only=True)
class Figures:
    generator: str
    rate_per_s: float
    reached_per_s: float
    p50_ms: float
    p99_ms: float
    lag_p99_ms: float | None = None
    meets: bool | None = None  # its own verdict on the objective


@dataclass(frozen=True, kw_only=True)
class Bench:
    folder: Path
    url: str
    cpus: tuple[int, ...]
    seconds: float
    request: Request
    slo_ms: float = 50.0

    def run(self, *argv: str) -> Path:
        """The file with what the command printed."""
        log = self.folder / f"{Path(argv[0]).name}-{time.monotonic_ns()}.log"
        process = spawn.start(spawn.Command(argv=argv, service=argv[0], log=log, cpus=self.cpus))
        if process.wait(self.seconds * 2 + 30) != 0:
            process.stop()
            raise SystemExit(process.failure())
        return log

    @property
    def body(self) -> Path:
        path = self.folder / "body"
        path.write_bytes(self.request.body)
        return path


def lab(bench: Bench, rate: float, arrival: Literal["constant", "poisson"] = "constant") -> Figures:
    stream = bench.folder / "samples.arrows"
    load = Load(
        rates_per_s=(rate,),
        window_s=bench.seconds,
        warmup_max_s=2.0,
        warmup_rate_per_s=rate,
        drain_s=2.0,
        timeout_s=10.0,
        arrival=arrival,
    )
    job = DriveJob(url=bench.url, workload="noop", load=load, seed=1, stream=str(stream), cpus=bench.cpus)
    told = drive(job, log=bench.folder / "driver.log")
    found = record.read(stream).table.to_pandas()
    found = found[found.phase == "window"]
    assert found.ok.all() and found.correct.all(), found.error.value_counts()
    headline = found[found.operation == bench.request.operation]
    latency_ms = 1e3 * (headline.done_s - headline.intended_s)
    p50, p99 = np.percentile(latency_ms, [50, 99])
    return Figures(
        generator="lab" if arrival == "constant" else "lab-poisson",
        rate_per_s=rate,
        reached_per_s=int((found.done_s <= told.windows[-1].end_s).sum()) / bench.seconds,
        p50_ms=p50,
        p99_ms=p99,
        lag_p99_ms=told.lag_p99_ms,
        meets=bool(told.lag_p99_ms <= LAG_LIMIT_MS and not told.dropped and p99 <= bench.slo_ms),
    )


def lab_poisson(bench: Bench, rate: float) -> Figures:
    return lab(bench, rate, "poisson")


def loadgen(bench: Bench, rate: float) -> Figures:
    asked = {
        "url": bench.url,
        "path": bench.request.path,
        "body": bench.request.body.decode(),
        "rate_per_s": rate,
        "seconds": bench.seconds,
    }
    asked |= {"content_type": bench.request.headers["content-type"], "slo_ms": bench.slo_ms, "percentile": 99.0, "seed": 1}
    asked |= {"connections": LOADGEN_CONNECTIONS, "folder": str(bench.folder)}
    log = bench.run(sys.executable, str(Path(__file__).with_name("loadgen.py")), json.dumps(asked))
    told = json.loads(log.read_text().splitlines()[-1])
    return Figures(
        generator="loadgen",
        rate_per_s=rate,
        reached_per_s=told["reached_per_s"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        meets=told["valid"],
    )


def hey(bench: Bench, rate: float) -> Figures:
    workers = min(HEY_WORKERS, int(rate))
    goal = ("-z", f"{bench.seconds:g}s", "-c", str(workers), "-q", f"{rate / workers:g}", "-cpus", str(len(bench.cpus) or os.cpu_count()))
    post = ("-m", "POST", "-D", str(bench.body), "-T", bench.request.headers["content-type"])
    log = bench.run("hey", *goal, *post, "-o", "csv", bench.url + bench.request.path)
    rows = [r for r in csv.DictReader(log.read_text().splitlines()) if r["status-code"] == "200"]
    p50, p99 = np.percentile([1e3 * float(r["response-time"]) for r in rows], [50, 99])
    return Figures(generator="hey", rate_per_s=rate, reached_per_s=len(rows) / bench.seconds, p50_ms=p50, p99_ms=p99)


def vegeta(bench: Bench, rate: float) -> Figures:
    targets, results = bench.folder / "targets", bench.folder / "results.bin"
    content_type = bench.request.headers["content-type"]
    targets.write_text(f"POST {bench.url}{bench.request.path}\nContent-Type: {content_type}\n@{bench.body}\n")
    bench.run("vegeta", "attack", "-rate", f"{rate:g}", "-duration", f"{bench.seconds:g}s", f"-targets={targets}", f"-output={results}")
    report = json.loads(bench.run("vegeta", "report", "-type=json", str(results)).read_text())
    latencies = report["latencies"]
    return Figures(
        generator="vegeta",
        rate_per_s=rate,
        reached_per_s=report["requests"] * report["success"] / bench.seconds,
        p50_ms=latencies["50th"] / 1e6,
        p99_ms=latencies["99th"] / 1e6,
    )


def wrk(bench: Bench) -> float:
    """Requests per second of the service in a closed loop of 16 connections."""
    script = bench.folder / "post.lua"
    content_type = bench.request.headers["content-type"]
    body = bench.request.body.decode()
    script.write_text(f'wrk.method = "POST"\nwrk.body = "{body}"\nwrk.headers["Content-Type"] = "{content_type}"\n')
    log = bench.run("wrk", "-t1", "-c16", "-d5s", "-s", str(script), bench.url + bench.request.path)
    return next(float(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("Requests/sec"))


def medians(found: list[Figures]) -> Figures:
    """Of the rounds of one generator at one rate."""

    def middle(value: Callable[[Figures], float | None]) -> float | None:
        known = [v for v in map(value, found) if v is not None]
        return round(float(statistics.median(known)), 3) if known else None

    first = found[0]
    return Figures(
        generator=first.generator,
        rate_per_s=first.rate_per_s,
        reached_per_s=middle(lambda f: f.reached_per_s) or 0.0,
        p50_ms=middle(lambda f: f.p50_ms) or 0.0,
        p99_ms=middle(lambda f: f.p99_ms) or 0.0,
        lag_p99_ms=middle(lambda f: f.lag_p99_ms),
        meets=None if first.meets is None else sum(f.meets is True for f in found) * 2 > len(found),
    )


@contextlib.contextmanager
def service(folder: Path, cpus: tuple[int, ...]) -> Iterator[str]:
    log = folder / "service.log"
    command = spawn.Command(argv=(sys.executable, "-c", SERVICE), service="noop", log=log, cpus=cpus)
    process = spawn.start(command)
    try:
        deadline = time.monotonic() + 30
        while not (told := spawn.tail(log, 1)) or not told[0].startswith("http"):
            if not process.alive or time.monotonic() > deadline:
                raise SystemExit(process.failure())
            time.sleep(0.05)
        yield told[0]
    finally:
        process.stop()


def split() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """CPUs of the service and of the generators."""
    cpus = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    return (cpus[:1], cpus[1:]) if len(cpus) > 1 else (cpus, cpus)


def verdict(found: list[Figures], rate: float) -> Iterator[str]:
    at = {f.generator: f for f in found if f.rate_per_s == rate}
    mine, poisson, official = at.pop("lab"), at.pop("lab-poisson", None), at.pop("loadgen", None)
    if poisson and official:
        same, apart = poisson.meets == official.meets, poisson.p99_ms / official.p99_ms - 1
        held = "reached" if same and abs(apart) <= 0.05 else "MISSED"
        theirs, ours = "VALID" if official.meets else "INVALID", "holds" if poisson.meets else "fails"
        told = f"{'same' if same else 'OTHER'} verdict (LoadGen {theirs}, lab {ours})"
        yield f"{rate:5g}/s  beside LoadGen  {told}, p99 {apart:+.1%} (goal 5 %)  {held}"
    for peer in at.values():
        p50, p99 = mine.p50_ms - peer.p50_ms, mine.p99_ms - (1.1 * peer.p99_ms + 2.0)
        reached = "reached" if p50 <= 1.5 and p99 <= 0 else "MISSED"
        yield f"{rate:5g}/s  beside {peer.generator:7} p50 {p50:+.2f} ms (goal +1.50), p99 {p99:+.2f} ms of its limit (goal 0)  {reached}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", default="100,200,400", help="requests per second, with commas")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slo-ms", type=float, default=50.0, help="of p99, for the verdicts of LoadGen and the lab")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    generators = {"lab": lab, **{g.__name__: g for g in (hey, vegeta) if shutil.which(g.__name__)}}
    if importlib.util.find_spec("mlperf_loadgen"):
        generators |= {"lab-poisson": lab_poisson, "loadgen": loadgen}
    rates = [float(r) for r in options.rates.split(",")]
    theirs, ours = split()
    found: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="lab-peers-") as name, service(Path(name), theirs) as url:
        request = registry.workload("noop").payload(1, 0, "classify")
        bench = Bench(folder=Path(name), url=url, cpus=ours, seconds=options.seconds, request=request, slo_ms=options.slo_ms)
        ceiling = wrk(bench) if shutil.which("wrk") else None
        for rate in rates:
            rounds = [{g: run(bench, rate) for g, run in generators.items()} for _ in range(options.rounds)]
            found += [medians([r[g] for r in rounds]) for g in generators]
    print("generator      asked/s  reached/s   p50 ms   p99 ms   its lag p99 ms")
    for f in found:
        lag = "" if f.lag_p99_ms is None else f"{f.lag_p99_ms:10.2f}"
        print(f"{f.generator:12} {f.rate_per_s:9g} {f.reached_per_s:10.1f} {f.p50_ms:8.2f} {f.p99_ms:8.2f} {lag}")
    print(f"ceiling of the service (wrk): {ceiling:.0f}/s" if ceiling else "no wrk on PATH: no ceiling")
    missing = [n for n in ("hey", "vegeta") if n not in generators]
    missing += [] if "loadgen" in generators else ["MLPerf LoadGen (pip install 'ai-cloud-lab[peers]')"]
    print(*(line for rate in rates for line in verdict(found, rate)), sep="\n")
    if missing:
        print(f"not installed: {', '.join(missing)}")
    if options.json:
        options.json.write_text(json.dumps({"ceiling_per_s": ceiling, "figures": [asdict(f) for f in found]}, indent=1))


if __name__ == "__main__":
    main()
