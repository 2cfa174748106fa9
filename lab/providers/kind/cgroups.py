"""What a container of an engine on this machine has consumed, from the kernel's own counters: at once, where the engine needs a second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT, PROCESSES = Path("/sys/fs/cgroup"), Path("/proc")
KUBEPODS = "kubelet.slice/kubelet-kubepods.slice"  # of kind's nodes; a guaranteed pod is directly in it
QUALITIES = ("burstable", "besteffort")


@dataclass(frozen=True, kw_only=True)
class Consumed:
    """Since the container was started. Memory without the files that the kernel caches, as `docker stats` counts it."""

    cpu_s: float
    memory_mib: float


def consumed(container: str, pid: int, root: Path = ROOT, processes: Path = PROCESSES) -> Consumed | None:
    """`container` is its whole id, `pid` its first process. None where that is no process of this machine, or the kernel does not tell."""
    return _consumed(_paths(container, pid, processes), "", root)


def of_pod(uid: str, container: str, pid: int, root: Path = ROOT, processes: Path = PROCESSES) -> Consumed | None:
    """Of one pod in a node that is this container; None where it runs in another one, or not any more."""
    paths, named = _paths(container, pid, processes), f"pod{uid.replace('-', '_')}.slice"
    places = (
        f"{KUBEPODS}/kubelet-kubepods",
        *(f"{KUBEPODS}/kubelet-kubepods-{quality}.slice/kubelet-kubepods-{quality}" for quality in QUALITIES),
    )
    found = (_consumed(paths, f"{place}-{named}", root) for place in places)
    return next((each for each in found if each is not None), None)


def _consumed(paths: Mapping[str, str], below: str, root: Path) -> Consumed | None:
    try:
        if "cpuacct" in paths and "memory" in paths:
            cpu, memory = root / "cpuacct" / paths["cpuacct"] / below, root / "memory" / paths["memory"] / below
            used, cached = int((memory / "memory.usage_in_bytes").read_text()), _field(memory / "memory.stat", "total_inactive_file")
            return _made(int((cpu / "cpuacct.usage").read_text()) / 1e9, used - cached)
        if "" in paths:
            group = root / paths[""] / below
            used, cached = int((group / "memory.current").read_text()), _field(group / "memory.stat", "inactive_file")
            return _made(_field(group / "cpu.stat", "usage_usec") / 1e6, used - cached)
    except (OSError, ValueError, KeyError):
        return None
    return None


def _made(cpu_s: float, memory_bytes: int) -> Consumed:
    return Consumed(cpu_s=cpu_s, memory_mib=max(0, memory_bytes) / 2**20)


def _paths(container: str, pid: int, processes: Path) -> dict[str, str]:
    """controller ("" in version 2) -> the container's own group, without those that it made below; none where it is not of this machine."""
    found: dict[str, str] = {}
    try:
        lines = (processes / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        own = re.match(rf"/(.*?{re.escape(container)}[^/]*)", path)
        if own:
            found |= dict.fromkeys(controllers.split(","), own[1])
    return found


def _field(path: Path, name: str) -> int:
    return int({key: value for key, _, value in (line.partition(" ") for line in path.read_text().splitlines())}[name])
