"""What processes have consumed, from the kernel's counters: at this moment, and over time without losing those that have ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import psutil

from lab.runtime.clock import boot_id

READ_TRIES = 10


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


@dataclass(frozen=True, kw_only=True)
class Reading(Consumption):
    """Of one pod or service process at `at_s`, on the clock that `boot_id` names (lab.runtime.clock). Counters never fall while what
    reads them lives: one that did belongs to another process."""

    at_s: float
    boot_id: str


def reading(of: Consumption) -> Reading:
    return Reading(
        cpu_s=of.cpu_s,
        memory_mib=of.memory_mib,
        bytes_read=of.bytes_read,
        bytes_written=of.bytes_written,
        at_s=time.monotonic(),
        boot_id=boot_id(),
    )


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def of(tree: Sequence[psutil.Process]) -> Consumption:
    """Living processes, and their ended children that were waited for. Memory that several share (Postgres's buffers) counts once:
    where the tree is more than one process it is the proportional set size."""
    total = Consumption()
    for process in tree:
        with contextlib.suppress(psutil.Error, OSError):  # it may have ended
            total = total.plus(_read(process, shared=len(tree) > 1).used)
    return total


@dataclass(frozen=True, kw_only=True)
class _Counters:
    """`waited_s`: the part of used.cpu_s that is of ended children."""

    used: Consumption
    waited_s: float


def _read(process: psutil.Process, shared: bool) -> _Counters:
    with process.oneshot():
        times = process.cpu_times()
        waited_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        read, written = _bytes(process)
        memory_mib = _memory(process, shared) / 2**20
        used = Consumption(cpu_s=times.user + times.system + waited_s, memory_mib=memory_mib, bytes_read=read, bytes_written=written)
        return _Counters(used=used, waited_s=waited_s)


def _bytes(process: psutil.Process) -> tuple[int | None, int | None]:
    try:
        counters = process.io_counters()
    except (psutil.Error, OSError, AttributeError):  # macOS has none
        return None, None
    return counters.read_bytes, counters.write_bytes


def _memory(process: psutil.Process, shared: bool) -> int:
    if shared:
        with contextlib.suppress(psutil.AccessDenied, psutil.ZombieProcess):
            full = process.memory_full_info()
            return int(getattr(full, "pss", 0) or full.rss)
    return int(process.memory_info().rss)


class Ledger:
    """The consumption of processes that come and go, read again and again; its counters never fall.

    The kernel adds what an ended child consumed to the parent that waits for it. What no living parent took over (the parent waits outside
    of the pod, or does not wait) is kept here, as it was last seen: so much of the ended ones as the living did not grow by meanwhile."""

    def __init__(self, processes: Callable[[], Iterable[psutil.Process]]) -> None:
        self._processes = processes
        self._seen: dict[psutil.Process, _Counters] = {}  # a process equals another by pid and start time
        self._kept = Consumption()

    def read(self) -> Consumption:
        now = self._counters()
        ended = [counters.used for process, counters in self._seen.items() if process not in now]
        stayed = [(before, now[process]) for process, before in self._seen.items() if process in now]
        waited_s = sum(after.waited_s - before.waited_s for before, after in stayed)
        read = [(before.used.bytes_read, after.used.bytes_read) for before, after in stayed]
        written = [(before.used.bytes_written, after.used.bytes_written) for before, after in stayed]
        untaken = Consumption(
            cpu_s=max(0.0, sum(e.cpu_s for e in ended) - waited_s),
            bytes_read=_untaken([e.bytes_read for e in ended], read),
            bytes_written=_untaken([e.bytes_written for e in ended], written),
        )
        self._kept = self._kept.plus(untaken)
        self._seen = now
        total = self._kept
        for counters in now.values():
            total = total.plus(counters.used)
        return total

    def _counters(self) -> dict[psutil.Process, _Counters]:
        """Of all that were there when listed. Parents come first: a child that is there after its parent was read is not yet in the
        parent's counters. One that ends in between might be in both or in neither, so then all are read again."""
        for _ in range(READ_TRIES):
            listed = sorted(self._processes(), key=lambda process: (process.create_time(), process.pid))
            now: dict[psutil.Process, _Counters] = {}
            for process in listed:
                with contextlib.suppress(psutil.NoSuchProcess):
                    now[process] = _read(process, shared=len(listed) > 1)
            if len(now) == len(listed):
                break
        return now


def _untaken(ended: Sequence[int | None], stayed: Sequence[tuple[int | None, int | None]]) -> int | None:
    """None when no ended process told its bytes. The kernel adds a waited child's to the parent's own."""
    told = [n for n in ended if n is not None]
    return max(0, sum(told) - sum(n - b for b, n in stayed if b is not None and n is not None)) if told else None
