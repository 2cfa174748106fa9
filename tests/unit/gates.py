"""Summaries and plans of gates whose truth is known: the figures of every deployment are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lab import thresholds
from lab.analysis.results import CellVerdict, Deployed, Group, Summary
from lab.model import CodeRef, GatePlan, Plan
from tests.unit import runs, summaries

Values = Mapping[str, Sequence[float]]
REFS = (CodeRef(name="base", commit="b" * 40), CodeRef(name="head", commit="a" * 40))
UNITS = {"achieved_per_s": "1/s", "error_rate": "share", "wrong_rate": "share", "memory_mib": "MiB"}
REQUESTS = 500  # behind each share


def plan(*texts: str, least: int = 10, most: int = 20, looks: tuple[int, ...] = (10, 15, 20)) -> Plan:
    gate = GatePlan(thresholds=tuple(map(thresholds.parse, texts)), least=least, most=most, looks=looks)
    return replace(runs.make_plan(runs.Recipe()), gate=gate, refs=REFS)


def group(side: Literal["", "base", "head"], values: Values, blocks: Sequence[int] | None = None, **changes: Any) -> Group:
    n = len(next(iter(values.values()))) if values else 0
    name = f"app @{side}" if side else "app"
    deployed = {
        metric: Deployed(unit=UNITS.get(metric, "ms"), values=tuple(of), asked=(REQUESTS,) * n if UNITS.get(metric) == "share" else ())
        for metric, of in values.items()
    }
    made = replace(
        summaries.group("three_tier"),
        name=name,
        code_ref=side,
        deployments=n,
        valid_deployments=n,
        blocks=tuple(range(n)) if blocks is None else tuple(blocks),
        deployed=deployed,
    )
    return replace(made, **changes)


def summary(*groups: Group, planned: int = 20, measured: int | None = None, **changes: Any) -> Summary:
    """Cells of every group's blocks are VALID, those before `measured` that it has not INVALID, the rest never came to their turn."""
    claims = ("cpu", "bytes", "cost", "cold", "p50", "tail")
    made = summaries.summary(groups=groups, cells=_cells(groups, planned, measured), claims=claims)
    return replace(made, floor_driver_ms={"p50": summaries.stat(0.1), "p99": summaries.stat(0.2)}, **changes)


def _cells(groups: Sequence[Group], planned: int, measured: int | None) -> tuple[CellVerdict, ...]:
    cells = []
    for one in groups:
        reached = max(one.blocks, default=-1) + 1 if measured is None else measured
        for block in range(planned):
            valid, came = block in one.blocks, block < reached
            why = () if valid else ("the driver's lag p99 is 30.0 ms",) if came else ("the cell is planned; wanted done",)
            cells.append(CellVerdict(cell=f"{block:02d}-{one.name}", group=one.name, block=block, valid=valid, reasons=why, measured=came))
    return tuple(cells)


def pair(base: Values, head: Values, **changes: Any) -> Summary:
    return summary(group("base", base), group("head", head), **changes)


def noisy(level: float, n: int, *, spread: float = 0.03, seed: int = 1) -> tuple[float, ...]:
    """Lognormal figures of `n` deployments around `level`, which their mean on the log scale hits exactly."""
    scores: NDArray[np.float64] = np.random.default_rng(seed).standard_normal(n)
    return tuple(float(v) for v in level * np.exp(spread * (scores - scores.mean()) / scores.std(ddof=1)))
