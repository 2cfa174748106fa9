"""CPU time of the whole machine and of ours at two moments in; what the hypervisor took and what other programs used between them out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuTimes:
    """CPU-seconds of the whole machine by what they went to, those of ours (children that ended included), and the moment."""

    host: Mapping[str, float]
    own_s: float
    at_s: float


def read() -> CpuTimes:
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
