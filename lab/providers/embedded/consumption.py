"""What a process tree has consumed, from the kernel's counters."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True)
class Consumption:
    """Bytes are those of the storage layer; None where the system does not tell."""

    cpu_s: float = 0.0
    memory_mib: float = 0.0
    bytes_read: int | None = None
    bytes_written: int | None = None

    def plus(self, other: Consumption) -> Consumption:
        return Consumption(
            cpu_s=self.cpu_s + other.cpu_s,
            memory_mib=self.memory_mib + other.memory_mib,
            bytes_read=_sum(self.bytes_read, other.bytes_read),
            bytes_written=_sum(self.bytes_written, other.bytes_written),
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def of(tree: Sequence[psutil.Process]) -> Consumption:
    """Living processes, and their ended children that were waited for. Memory that several share (Postgres's buffers) counts once:
    where the tree is more than one process it is the proportional set size."""
    total = Consumption()
    for process in tree:
        with contextlib.suppress(psutil.Error, OSError), process.oneshot():
            times = process.cpu_times()
            cpu_s = times.user + times.system + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            read, written = _bytes(process)
            memory_mib = _memory(process, shared=len(tree) > 1) / 2**20
            total = total.plus(Consumption(cpu_s=cpu_s, memory_mib=memory_mib, bytes_read=read, bytes_written=written))
    return total


def _bytes(process: psutil.Process) -> tuple[int | None, int | None]:
    try:
        counters = process.io_counters()
    except (psutil.Error, OSError, AttributeError):  # macOS has none
        return None, None
    return counters.read_bytes, counters.write_bytes


def _memory(process: psutil.Process, shared: bool) -> int:
    if shared:
        with contextlib.suppress(psutil.AccessDenied):
            full = process.memory_full_info()
            return int(getattr(full, "pss", 0) or full.rss)
    return int(process.memory_info().rss)
