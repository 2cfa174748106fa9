"""Readings of a machine in, how fit it is to measure out: parts with points, what may be claimed on it, what would be INVALID now."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lab import environment
from lab.analysis.validity import FOREIGN_LIMIT, FOREIGN_SEEN, LAG_LIMIT_MS, STEAL_LIMIT
from lab.noise.readings import Readings

CLOCK_GOOD_MS, CLOCK_BAD_MS = 0.001, 1.0
WAKE_GOOD_MS, WAKE_BAD_MS = 0.2, LAG_LIMIT_MS  # p99; at 10 ms every cell is INVALID
JITTER_GOOD, JITTER_BAD = 1.1, 2.0  # p99 over p50 of the same piece of work
PAUSE_GOOD_MS, PAUSE_BAD_MS = 1.0, 30.0  # the longest; 30 ms are whole slices of the scheduler given to somebody else
STEAL_GOOD = 0.001
LOAD_GOOD, LOAD_BAD = 0.1, 1.0  # of a CPU
CORES_BAD = 1
MEMORY_GOOD_MIB, MEMORY_BAD_MIB = 4096, 1024
SPREAD_GOOD, SPREAD_BAD = 0.01, 0.15
STILL_GOVERNORS = ("performance",)
NOT_TOLD = "not told"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """`points` of at most `most`; None where the system does not tell, which gives none. `found` and `wanted` with their units; `advice`
    is what to do about missing points, empty when there are none to gain."""

    name: str
    found: str
    wanted: str
    points: float | None
    most: int
    advice: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Withheld:
    claim: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitness:
    """`score` of 100; `untold` points could not be judged and are not in it. `invalid_now`: sentences with which a cell measured in this
    state would be INVALID. `notes`: what was asked for and could not be measured."""

    score: int
    untold: int
    machine_class: str
    claims: tuple[str, ...]
    withheld: tuple[Withheld, ...]
    invalid_now: tuple[str, ...]
    parts: tuple[Part, ...]
    readings: Readings
    notes: tuple[str, ...] = ()


def judge(r: Readings, claims: tuple[str, ...]) -> Fitness:
    """`claims`: what the machine's class allows (environment.claims)."""
    parts = (*_time(r), *_quiet(r), *_hardware(r), *_clock(r), _spread(r))
    kind = "virtual" if r.virtual else "physical"
    return Fitness(
        score=round(sum(p.points or 0.0 for p in parts)),
        untold=sum(p.most for p in parts if p.points is None),
        machine_class=f"{r.cpus} {kind} cores",
        claims=claims,
        withheld=tuple(_withheld(r, claims)),
        invalid_now=tuple(_invalid(r)),
        parts=parts,
        readings=r,
    )


def share(value: float, good: float, bad: float) -> float:
    """1 at `good` or better, 0 at `bad` or worse; between on the log scale, on which such figures spread."""
    if good > bad:
        return share(-value, -good, -bad) if min(value, good, bad) <= 0 else share(1 / value, 1 / good, 1 / bad)
    if value <= good:
        return 1.0
    if value >= bad:
        return 0.0
    if good <= 0:
        return (bad - value) / (bad - good)
    return math.log(bad / value) / math.log(bad / good)


def _part(name: str, of: float | None, most: int, found: str, wanted: str, advice: str) -> Part:
    """`of`: the share of the points, None where it was not told."""
    points = None if of is None else round(of * most, 1)
    return Part(name=name, found=found, wanted=wanted, points=points, most=most, advice=advice if points is None or points < most else "")


# ---- time ------------------------------------------------------------------------------------------------------------


def _time(r: Readings) -> Iterator[Part]:
    yield _part(
        "clock step",
        share(r.clock_step_ms, CLOCK_GOOD_MS, CLOCK_BAD_MS),
        5,
        f"{r.clock_step_ms * 1e3:.3g} us",
        f"at most {CLOCK_GOOD_MS * 1e3:g} us",
        "use the kernel's tsc clock source, not jiffies or hpet",
    )
    wake = r.wake
    yield _part(
        "wake-up error",
        share(wake.p99_ms, WAKE_GOOD_MS, WAKE_BAD_MS),
        10,
        f"p50 {wake.p50_ms:.2g}, p99 {wake.p99_ms:.2g}, max {wake.max_ms:.2g} ms late ({r.wake_by}; nanosleep p99 {r.sleep.p99_ms:.2g})",
        f"p99 under {WAKE_GOOD_MS:g} ms; INVALID over {WAKE_BAD_MS:g} ms",
        "close programs; more cores; on bare metal keep deep C-states off (processor.max_cstate=1)",
    )
    jitter = max(loop.took.p99_ms / loop.took.p50_ms for loop in r.loops)
    yield _part(
        "loop jitter",
        share(jitter, JITTER_GOOD, JITTER_BAD),
        10,
        f"p99 is {jitter:.2f} times p50 on the worst of {len(r.loops)} CPUs",
        f"at most {JITTER_GOOD:g} times",
        "close programs, fix the clock frequency, leave the other thread of the core idle",
    )
    worst = max(r.loops, key=lambda loop: loop.took.max_ms)
    at = "" if worst.cpu is None else f" (CPU {worst.cpu})"
    yield _part(
        "longest pause",
        share(worst.took.max_ms, PAUSE_GOOD_MS, PAUSE_BAD_MS),
        10,
        f"{worst.took.max_ms:.2g} ms without the CPU{at}",
        f"at most {PAUSE_GOOD_MS:g} ms",
        "close programs, or keep them away: isolcpus=, nohz_full=; a virtual machine with dedicated cores; bare metal",
    )


# ---- who else is there -----------------------------------------------------------------------------------------------


def _quiet(r: Readings) -> Iterator[Part]:
    steal = r.steal_share
    yield _part(
        "steal",
        None if steal is None else share(steal, STEAL_GOOD, STEAL_LIMIT),
        10,
        NOT_TOLD if steal is None else f"{steal:.1%} of the CPU went to other virtual machines",
        f"under {STEAL_GOOD:.1%}; INVALID over {STEAL_LIMIT:.0%}",
        "a machine with dedicated cores, another hour, or bare metal",
    )
    yield _part(
        "foreign CPU",
        share(r.foreign_cores, FOREIGN_SEEN, FOREIGN_LIMIT),
        10,
        f"other programs used {r.foreign_cores:.2f} of a core",
        f"under {FOREIGN_SEEN:g}; INVALID over {FOREIGN_LIMIT:g}",
        "close browsers, editors, indexers and other jobs; `top` names them",
    )
    load = r.load1 / r.cpus
    yield _part(
        "load average",
        share(load, LOAD_GOOD, LOAD_BAD),
        5,
        f"{r.load1:.2f} in the last minute, {load:.2f} for each CPU",
        f"under {LOAD_GOOD:g} for each CPU",
        "wait a minute, or find what runs: `top`",
    )
    yield _part(
        "memory",
        share(r.memory_mib, MEMORY_GOOD_MIB, MEMORY_BAD_MIB),
        5,
        f"{r.memory_mib} MiB free",
        f"at least {MEMORY_GOOD_MIB} MiB",
        "close programs, or lower budget.memory_mib",
    )


# ---- the hardware, and what the system makes of it -------------------------------------------------------------------


def _hardware(r: Readings) -> Iterator[Part]:
    isolated = f"; isolated: {', '.join(map(str, r.isolated_cpus))}" if r.isolated_cpus else ""
    yield _part(
        "cores",
        share(r.physical_cores, environment.KNEE_CORES, CORES_BAD),
        10,
        f"{r.physical_cores} cores with {r.cpus} CPUs{isolated}",
        f"{environment.TAIL_CORES} for tails, {environment.KNEE_CORES} for knees",
        "a machine with more cores",
    )
    yield _part(
        "own cores",
        None if r.shared_core is None else 0.0 if r.shared_core else 1.0,
        5,
        f"{NOT_TOLD}: which CPUs are threads of one core"
        if r.shared_core is None
        else "driver and system share a core"
        if r.shared_core
        else "driver and system on cores of their own",
        "no shared physical core",
        "a machine with a second physical core (or a second one allowed: taskset, cpuset)",
    )


def _clock(r: Readings) -> Iterator[Part]:
    still = None if r.governors is None else set(r.governors) <= set(STILL_GOVERNORS)
    yield _part(
        "governor",
        None if still is None else float(still),
        5,
        NOT_TOLD if r.governors is None else ", ".join(r.governors),
        "performance",
        "a virtual machine hides it; on bare metal load the cpufreq driver" if still is None else "cpupower frequency-set -g performance",
    )
    yield _part(
        "turbo",
        None if r.turbo is None else float(not r.turbo),
        5,
        NOT_TOLD if r.turbo is None else "on: the clock falls as the chip warms up" if r.turbo else "off",
        "off",
        "a virtual machine hides it; on bare metal see the firmware"
        if r.turbo is None
        else "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo, or echo 0 > /sys/devices/system/cpu/cpufreq/boost",
    )


def _spread(r: Readings) -> Part:
    return _part(
        "A/A spread",
        None if r.spread is None else share(r.spread, SPREAD_GOOD, SPREAD_BAD),
        10,
        NOT_TOLD if r.spread is None else f"{r.spread:.1%} between deployments of the same thing ({r.spread_of})",
        f"under {SPREAD_GOOD:.0%}",
        "measure it: `lab doctor --noise --aa`" if r.spread is None else "more deployments find smaller differences; mend the parts above",
    )


# ---- what follows ----------------------------------------------------------------------------------------------------


def _withheld(r: Readings, claims: tuple[str, ...]) -> Iterator[Withheld]:
    wanted = {"tail": environment.TAIL_CORES, "knee": environment.KNEE_CORES}
    for claim, cores in wanted.items():
        if claim not in claims:
            few = f"{r.physical_cores} physical cores, wanted {cores}" if r.physical_cores < cores else f"isolation {r.isolation}"
            yield Withheld(claim=claim, why=few)
    if "scaling" not in claims:
        yield Withheld(claim="scaling", why="one machine, wanted several nodes")


def _invalid(r: Readings) -> Iterator[str]:
    if r.wake.p99_ms > LAG_LIMIT_MS:
        yield f"the driver would be late: its clock wakes {r.wake.p99_ms:.1f} ms late at p99; limit {LAG_LIMIT_MS:g} ms"
    if r.steal_share is not None and r.steal_share > STEAL_LIMIT:
        yield f"the hypervisor took {r.steal_share:.1%} of the CPU; limit {STEAL_LIMIT:.0%}"
    if r.foreign_cores > FOREIGN_LIMIT:
        yield f"other programs used {r.foreign_cores:.2f} of a core; limit {FOREIGN_LIMIT:g}"
