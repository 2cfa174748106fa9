"""Whose monotonic clock a process reads: the kernel's boot id tells which clocks are one.

time.monotonic is CLOCK_MONOTONIC, which belongs to the kernel and not to a container: all processes and pods of one kernel share it, so
their times compare as they are, without offset or error. Two readings are of one clock exactly if their boot ids are equal and not
empty. A pod in a virtual machine of its own (Kata) has another boot id; one in a sandbox that hides it (gVisor) has none, and is then
taken for another machine, whose offset must be measured. (A Linux time namespace could shift the clock; no container runtime makes one.)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockReading:
    monotonic_s: float
    boot_id: str


def boot_id() -> str:
    """Of the running kernel; empty where it does not tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def read() -> ClockReading:
    return ClockReading(monotonic_s=time.monotonic(), boot_id=boot_id())
