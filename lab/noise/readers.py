"""Reads from the system what bears on a measurement; each reader gives None where the system does not tell."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from lab import environment, spawn
from lab.errors import MachineError
from lab.noise.readings import Times

PATIENCE_S = 20.0  # for a probe's start, beside its own seconds


def probe(name: str, seconds: float, cpus: Collection[int] = ()) -> Times:
    """Raises MachineError with what the probe's process said."""
    argv = [sys.executable, "-m", "lab.noise.probe", name, str(seconds), *map(str, cpus)]
    done = spawn.capture(argv, timeout_s=seconds + PATIENCE_S)
    if done.code:
        raise MachineError(f"the probe {name!r} ended with {spawn.exit_text(done.code)}: {done.output.strip()}", "run it by hand")
    return msgspec.json.decode(done.output, type=Times)


# ---- CPU time between two moments ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuTimes:
    """CPU-seconds of the whole machine by what they went to, those of ours (children that ended included), and the moment."""

    host: Mapping[str, float]
    own_s: float
    at_s: float


def cpu_times() -> CpuTimes:
    host = {k: v for k, v in psutil.cpu_times()._asdict().items() if not k.startswith("guest")}  # guest is contained in user
    own = os.times()
    return CpuTimes(host=host, own_s=own.user + own.system + own.children_user + own.children_system, at_s=time.monotonic())


def steal_share(before: CpuTimes, after: CpuTimes) -> float | None:
    if "steal" not in after.host:
        return None
    total = sum(after.host.values()) - sum(before.host.values())
    return max(0.0, after.host["steal"] - before.host["steal"]) / total if total > 0 else None


def foreign_cores(before: CpuTimes, after: CpuTimes) -> float:
    """Cores that programs other than ours kept busy, on average."""
    spent = {k: after.host[k] - before.host[k] for k in after.host}
    busy_s = sum(spent.values()) - sum(spent.get(k, 0.0) for k in ("idle", "iowait", "steal"))
    return max(0.0, busy_s - (after.own_s - before.own_s)) / max(1e-9, after.at_s - before.at_s)


# ---- /sys/devices/system/cpu -----------------------------------------------------------------------------------------


def siblings_told(cpus: Collection[int], root: Path = environment.TOPOLOGY) -> bool:
    return all((root / f"cpu{cpu}" / "topology" / "thread_siblings_list").is_file() for cpu in cpus)


def governors(cpus: Collection[int], root: Path = environment.TOPOLOGY) -> tuple[str, ...] | None:
    """What steers the clock frequency of these CPUs; None where one of them does not say."""
    files = [root / f"cpu{cpu}" / "cpufreq" / "scaling_governor" for cpu in cpus]
    return tuple(sorted({f.read_text().strip() for f in files})) if files and all(f.is_file() for f in files) else None


def turbo(root: Path = environment.TOPOLOGY) -> bool | None:
    """Whether the clock may rise above its base frequency."""
    for name, on in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1")):
        if (path := root / name).is_file():
            return path.read_text().strip() == on
    return None


def isolated(root: Path = environment.TOPOLOGY) -> tuple[int, ...]:
    """CPUs that the kernel gives nothing to by itself (isolcpus)."""
    path = root / "isolated"
    text = path.read_text().strip() if path.is_file() else ""
    return tuple(sorted(environment.cpu_list(text))) if text else ()
