"""Probes this machine for some seconds and says how fit it is to measure: settings in, a Fitness out."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from lab import cores, cpu_times, driver_budget, environment, execute, rework
from lab.errors import UnusableError
from lab.load.timerfd import TimerFd
from lab.measuring import exclusive
from lab.noise import readers
from lab.noise.readings import Loop, Readings
from lab.noise.scoring import Fitness, judge
from lab.progress import Mode, Progress, progress
from lab.settings import Settings

AA = Path(__file__).with_name("aa.yaml")
AA_PROVIDERS = ("fake", "embedded")
STEP_S, WAKE_S, SLEEP_S, LOOPS_S, LOOP_MOST_S, LOOP_LEAST_S = 0.2, 4.0, 2.0, 8.0, 3.0, 0.1
START_S = 0.5  # of a probe


def measure(settings: Settings, mode: Mode, *, aa: bool = False, driver: bool = False) -> Fitness:
    """`aa`: measure the spread between deployments now; `driver`: the rate that one driver process holds. Else both are what was learned.

    Raises MachineError while a run measures on this machine: each would disturb the other."""
    notes: list[str] = []
    spread_of, spread = _measure_spread(settings, mode, notes) if aa else _worst(execute.learned_spreads(settings))
    if driver:
        _measure_driver(settings, mode, notes)
    share = cores.here(1.0)
    groups = environment.physical_cores()
    with exclusive("lab doctor --noise"), progress(mode, _seconds(len(groups))) as shown:
        read = _Probing(shown, tuple(sorted(groups)), share).readings()
    read = replace(read, spread=spread, spread_of=spread_of, driver_rate_per_s=driver_budget.learned(settings))
    return replace(judge(read, environment.claims(share.isolation)), notes=tuple(notes))


def _loop_s(cpus: int) -> float:
    return max(LOOP_LEAST_S, min(LOOP_MOST_S, LOOPS_S / cpus))


def _seconds(cpus: int) -> float:
    return STEP_S + WAKE_S + SLEEP_S + cpus * _loop_s(cpus) + (3 + cpus) * START_S


@dataclass(frozen=True)
class _Probing:
    """`cpus`: those this process may use; `share`: which of them driver and system would get."""

    shown: Progress
    cpus: tuple[int, ...]
    share: cores.Cores

    def readings(self) -> Readings:
        load1 = psutil.getloadavg()[0]  # before the probes are in it
        before, rest = cpu_times.read(), self.share.rest
        self.shown.phase("clock and timers, on the driver's CPUs")
        step, wake, sleep = (readers.probe(name, s, rest) for name, s in (("step", STEP_S), ("wake", WAKE_S), ("sleep", SLEEP_S)))
        loops = tuple(self._loops(STEP_S + WAKE_S + SLEEP_S + 3 * START_S))
        after = cpu_times.read()
        groups = environment.physical_cores()
        return Readings(
            clock_step_ms=step.p50_ms,
            wake=wake,
            wake_by="timerfd" if TimerFd.available else "event loop",
            sleep=sleep,
            loops=loops,
            steal_share=cpu_times.steal_share(before, after),
            foreign_cores=cpu_times.foreign_cores(before, after),
            load1=load1,
            cpus=len(self.cpus),
            physical_cores=len(set(groups.values())),
            virtual=environment.virtual(),
            shared_core=_shared(self.share, groups) if readers.siblings_told(self.cpus) else None,
            isolation=self.share.isolation,
            isolated_cpus=readers.isolated(),
            governors=readers.governors(self.cpus),
            turbo=readers.turbo(),
            memory_mib=psutil.virtual_memory().available // 2**20,
        )

    def _loops(self, before_s: float) -> list[Loop]:
        found, seconds = [], _loop_s(len(self.cpus))
        pinned = bool(self.share.system)
        for number, cpu in enumerate(self.cpus if pinned else self.cpus[:1]):
            self.shown.reach(before_s + number * (seconds + START_S))
            self.shown.phase(f"a fixed piece of work on CPU {cpu}" if pinned else "a fixed piece of work")
            took = readers.probe("loop", seconds, (cpu,) if pinned else ())
            found.append(Loop(cpu=cpu if pinned else None, took=took))
        return found


def _shared(share: cores.Cores, groups: Mapping[int, frozenset[int]]) -> bool:
    return any(groups[cpu] & set(share.rest) for cpu in share.system)


def _worst(learned: Mapping[str, float]) -> tuple[str, float | None]:
    """The largest that was learned, and of what: a plan may have to live with it."""
    worst = max(learned, key=lambda question: learned[question], default="")
    return worst, learned.get(worst)


def _measure_spread(settings: Settings, mode: Mode, notes: list[str]) -> tuple[str, float | None]:
    """A few short deployments of noop; what is learned from them stands in $LAB_HOME/spread, as from any run."""
    provider = settings.provider if settings.provider in AA_PROVIDERS else AA_PROVIDERS[0]
    with tempfile.TemporaryDirectory(prefix="lab-aa-") as runs:
        found = execute.run(str(AA), replace(settings, provider=provider, runs=runs), mode, False)
    spread = rework.spread(found)
    if spread is None:
        reasons = (f"{c.cell}: {reason}" for c in found.summary.cells for reason in c.reasons)
        notes.append(f"the A/A spread could not be measured now: {next(reasons, 'too few deployments')}")
    return f"noop on {provider}, now", spread


def _measure_driver(settings: Settings, mode: Mode, notes: list[str]) -> None:
    pinned = cores.here(1.0).rest
    with exclusive("lab doctor --noise --driver"), progress(mode, driver_budget.LONGEST_S) as shown:
        began = time.monotonic()

        def say(text: str) -> None:
            shown.reach(time.monotonic() - began)
            shown.phase(text)

        try:
            driver_budget.learn(settings, pinned[-1] if pinned else None, say)
        except UnusableError as error:
            notes.append(error.what)
