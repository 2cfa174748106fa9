"""Which CPUs the architecture gets and which everything else; from the machine's physical cores to two sets of CPU numbers."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import environment


@dataclass(frozen=True, kw_only=True)
class Cores:
    """`system` is the architecture's set, `rest` that of platform, driver and command line; the same set when they cannot be kept apart."""

    system: tuple[int, ...]
    rest: tuple[int, ...]

    @property
    def isolation(self) -> Literal["pinned", "none"]:
        return "pinned" if self.system and not set(self.system) & set(self.rest) else "none"

    @property
    def enforcement(self) -> Literal["affinity", "none"]:
        return "affinity" if self.system else "none"


def physical(allowed: frozenset[int], topology: Path = environment.TOPOLOGY) -> list[tuple[int, ...]]:
    """The CPU numbers that we may use, grouped by the physical core that they are threads of."""
    return sorted({tuple(sorted(group)) for group in environment.physical_cores(allowed, topology).values()})


def share(groups: list[tuple[int, ...]], cpus: float) -> Cores:
    """The last physical cores, as many as give ceil(cpus) CPUs, for the architecture, the others for the rest; no physical core is shared.

    With too few cores everything shares everything."""
    everything = tuple(sorted(cpu for group in groups for cpu in group))
    wanted = max(1, math.ceil(cpus))
    taken = 0
    for index in range(len(groups) - 1, 0, -1):
        taken += len(groups[index])
        if taken >= wanted:
            mine = [cpu for group in groups[index:] for cpu in group]
            return Cores(system=tuple(sorted(mine[:wanted])), rest=tuple(sorted(cpu for group in groups[:index] for cpu in group)))
    return Cores(system=everything, rest=everything)


def allowed() -> list[tuple[int, ...]]:
    """The physical cores that this process may use now; none on systems without affinity (macOS)."""
    return physical(frozenset(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else []


def here(cpus: float) -> Cores:
    """Of what this process may use now; both sets are empty on systems without affinity."""
    return share(allowed(), cpus)
