"""Reads from the system what bears on a measurement; each reader gives None where the system does not tell."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

import msgspec

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
