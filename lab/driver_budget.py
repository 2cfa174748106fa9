"""The rate that one driver process holds on one core of this machine: measured against noop, kept for the next plan.

A rate is held when the driver keeps within the lag and the CPU of a valid cell, and every answer comes in time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lab import cores, cpu_times, environment, rundir
from lab.analysis import samples
from lab.analysis.samples import Samples
from lab.analysis.validity import DRIVER_CPU_LIMIT, FOREIGN_LIMIT, LAG_LIMIT_MS
from lab.errors import UnusableError
from lab.load.drive import drive
from lab.load.job import DriveJob
from lab.load.served import served
from lab.model import Budget, Load
from lab.plan import place
from lab.rundir import CellDir
from lab.scenario import Subject
from lab.settings import Settings

COARSE_PER_S = (250.0, 500.0, 1000.0, 2000.0)
LOWEST_PER_S, HIGHEST_PER_S = 30.0, 8000.0
FINE = 8  # windows between a rate that was held and one that was not
PRECISION = 1.1  # ratio of those two at which the search ends
PASSES = 5
WINDOW_S, DRAIN_S, TIMEOUT_S = 1.5, 1.0, 5.0
SERVICE_P99_MS = 200.0  # slower, and the service is what is measured
LONGEST_S = 45.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One window. `service_late`: the driver had time left, but the service did not answer."""

    rate_per_s: float
    lag_p99_ms: float
    driver_share: float
    held: bool
    service_late: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """`limit`: what ended the search at `rate_per_s`: the driver, or the service that it drives (then the driver holds more), or nothing
    up to the highest rate tried."""

    rate_per_s: float
    limit: str
    measured_at: str
    probes: tuple[Probe, ...]
    schema_version: int = 1


# ---- what was learned ------------------------------------------------------------------------------------------------


def _path(settings: Settings) -> Path:
    """The driver is the same whatever it drives: the identity is that of the machine with the provider that it was measured on."""
    identity = environment.identify(environment.machine("fake"))
    return Path(settings.home).expanduser() / "driver" / f"{identity}.json"


def recall(settings: Settings) -> Learned | None:
    path = _path(settings)
    return rundir.decode(path.read_bytes(), Learned, str(path)) if path.is_file() else None


def learned(settings: Settings) -> float | None:
    """Requests/s that one driver process holds on this very machine; None until `learn` was called on it."""
    found = recall(settings)
    return found.rate_per_s if found is not None else None


# ---- the search (pure) -----------------------------------------------------------------------------------------------


def bracket(probes: Iterable[Probe]) -> tuple[float | None, float | None]:
    """(the highest rate that was held with all below it, the lowest that was not); None where there is none."""
    known = list(probes)
    failed = min((p.rate_per_s for p in known if not p.held), default=None)
    held = max((p.rate_per_s for p in known if p.held and (failed is None or p.rate_per_s < failed)), default=None)
    return held, failed


def next_rates(probes: Iterable[Probe]) -> tuple[float, ...]:
    """Rising rates to try next; none when the search has ended."""
    held, failed = bracket(known := list(probes))
    if not known:
        return COARSE_PER_S
    if failed is None:
        assert held is not None
        return (2 * held,) if 2 * held <= HIGHEST_PER_S else ()
    if held is None:
        return (failed / 4, failed / 2) if failed / 4 >= LOWEST_PER_S else ()
    if failed <= PRECISION * held:
        return ()
    return tuple(held * (failed / held) ** (k / FINE) for k in range(1, FINE))


def conclude(probes: tuple[Probe, ...], measured_at: str) -> Learned:
    """Raises UnusableError where not even the lowest rate was held."""
    held, failed = bracket(probes)
    if held is None:
        lags = ", ".join(f"{p.lag_p99_ms:.0f} ms at {p.rate_per_s:.0f}/s" for p in probes)
        what = f"the driver holds no rate on this machine: lag p99 {lags}; limit {LAG_LIMIT_MS:g} ms"
        raise UnusableError(what, "`lab doctor --noise` says what disturbs it")
    first = [p for p in probes if p.rate_per_s == failed and not p.held]
    limit = "none" if not first else "service" if all(p.service_late for p in first) else "driver"
    return Learned(rate_per_s=round(held, 1), limit=limit, measured_at=measured_at, probes=probes)


# ---- measuring -------------------------------------------------------------------------------------------------------


def learn(settings: Settings, cpu: int | None, report: Callable[[str], None] = lambda _: None) -> float:
    """Measures and keeps it. `cpu`: the driver's; the service that it drives gets all others. None where CPUs cannot be chosen.

    Raises UnusableError on a machine too busy to tell; MachineError of the processes."""
    others = () if cpu is None else tuple(c for group in cores.allowed() if cpu not in group for c in group)
    topology = place(Subject(architecture="three_tier"), "noop", "S", Budget())
    probes: list[Probe] = []
    with tempfile.TemporaryDirectory(prefix="lab-driver-") as name:
        for number in range(PASSES):
            if not (rates := next_rates(probes)):
                break
            report(f"the driver's budget: {rates[0]:.0f} to {rates[-1]:.0f} requests/s")
            folder = Path(name) / str(number)
            before = cpu_times.read()
            # A new service for each pass: one that was asked too much still works off what nobody waits for any more.
            with served(topology, folder, others) as url:
                probes += _probe(url, rates, folder, () if cpu is None else (cpu,))
            _refuse_noise(cpu_times.foreign_cores(before, cpu_times.read()))
    found = conclude(tuple(probes), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    rundir.write(_path(settings), rundir.encode(found))
    return found.rate_per_s


def _refuse_noise(foreign_cores: float) -> None:
    """A rate that was learned beside other programs would be wrong for every plan to come."""
    if foreign_cores > FOREIGN_LIMIT:
        what = f"the driver's rate could not be measured: other programs used {foreign_cores:.2f} of a core; limit {FOREIGN_LIMIT:g}"
        raise UnusableError(what, "close other programs, then `lab doctor --noise --driver`")


def _probe(url: str, rates: tuple[float, ...], folder: Path, cpus: tuple[int, ...]) -> list[Probe]:
    cell = CellDir(folder)
    load = Load(
        rates_per_s=rates,
        window_s=WINDOW_S,
        warmup_max_s=1.0,
        warmup_rate_per_s=100.0,
        drain_s=DRAIN_S,
        timeout_s=TIMEOUT_S,
    )
    job = DriveJob(url=url, workload="noop", load=load, seed=1, stream=str(cell.stream), cpus=cpus)
    record = drive(job, log=folder / "driver.log")
    taken = samples.read(cell)
    return [judge(taken, w.step, rates[w.step], w.driver_share) for w in record.windows]


def judge(taken: Samples, step: int, rate_per_s: float, driver_share: float) -> Probe:
    """One window's samples: was the driver in time, and was the service?"""
    mine = taken.where(taken.during("window") & (taken.step == step))
    lag_ms = np.where(np.isfinite(mine.sent_s), (mine.sent_s - mine.intended_s) * 1e3, TIMEOUT_S * 1e3)
    lag, service = (float(np.percentile(x, 99)) if len(x) else TIMEOUT_S * 1e3 for x in (lag_ms, mine.service_ms(TIMEOUT_S)))
    in_time = lag < LAG_LIMIT_MS and driver_share <= DRIVER_CPU_LIMIT
    answered = service < SERVICE_P99_MS
    return Probe(
        rate_per_s=rate_per_s,
        lag_p99_ms=lag,
        driver_share=driver_share,
        held=in_time and answered,
        service_late=in_time and not answered,
    )
