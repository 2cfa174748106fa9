"""From the rows of many runs to series of one figure on one machine, with the points where its level changed.

Change points: PELT (Killick et al. 2012; library ruptures) on the logs, for shifts of the mean. A change costs PENALTY x variance x log n.
The variance comes from differences of neighbours, which a shift hardly touches, or from the runs' own intervals, whichever is larger. At
that penalty tests/unit/test_history.py finds a false change in at most 5 % of series without one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby, pairwise

import numpy as np
import ruptures
from numpy.typing import NDArray

from lab.analysis.results import Group, Summary
from lab.model import Environment, Plan, Stat

PENALTY = 5.0
LEAST = 3  # runs on each side of a change; one odd run is none
MAD_TO_SIGMA = 1.4826
Z95 = 1.96


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One figure of one group of one run. `machine` is the identity's hash, `commit` of the code measured (empty outside a repository)."""

    run: str
    scenario: str
    scenario_sha256: str
    machine: str
    group: str
    commit: str
    metric: str
    unit: str
    value: float
    low: float | None
    high: float | None
    n: int
    started_at: str


FIELDS = tuple(f.name for f in fields(Row))


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """The level over the runs from `run` on is `ratio` times that before."""

    run: str
    commit: str
    started_at: str
    ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Points in order of time, all of one scenario file and one machine."""

    scenario: str
    scenario_sha256: str
    machine: str
    group: str
    metric: str
    unit: str
    points: tuple[Row, ...]
    changes: tuple[Change, ...]


def rows(summary: Summary, plan: Plan, about: Environment) -> tuple[Row, ...]:
    """Every figure at the primary rate that the run has; a missing one gives no row."""
    commits: dict[str, str] = {r.name: r.commit for r in plan.refs}
    made = []
    for group in summary.groups:
        commit = commits.get(group.code_ref, str(about.subject.get("git", "")))
        for metric, stat in _figures(group, summary.primary_rate_per_s):
            if stat.value is not None:
                made.append(_row(plan, about, summary.run, group.name, commit, metric, stat, stat.value))
    return tuple(made)


def _figures(group: Group, rate_per_s: float) -> list[tuple[str, Stat]]:
    found = [
        ("memory_mib", group.memory_mib),
        ("cold_ms", group.cold_ms),
        ("ready_s", group.ready_s),
        ("held_per_s", group.held_rate_per_s),
    ]
    at = next((s for s in group.steps if s.rate_per_s == rate_per_s), None)
    if at is not None:
        found += [(f"{name}_ms", stat) for name, stat in at.latency.items()]
        found += [("achieved_per_s", at.achieved_per_s), ("error_rate", at.error_rate), ("wrong_rate", at.wrong_rate)]
        found += [("cpu_ms", at.cpu_ms_architecture)]
    return found


def _row(plan: Plan, about: Environment, run: str, group: str, commit: str, metric: str, stat: Stat, value: float) -> Row:
    return Row(
        run=run,
        scenario=plan.scenario,
        scenario_sha256=plan.scenario_sha256,
        machine=about.identity,
        group=group,
        commit=commit,
        metric=metric,
        unit=stat.unit,
        value=value,
        low=stat.low,
        high=stat.high,
        n=stat.n,
        started_at=about.started_at,
    )


# ---- series ------------------------------------------------------------------------------------------------------------


def series(found: Sequence[Row]) -> tuple[Series, ...]:
    """One per scenario file, machine, group and metric: what differs in any of them is another question."""
    ordered = sorted(found, key=lambda r: (*_question(r), r.started_at, r.run))
    return tuple(_series(tuple(of)) for _, of in groupby(ordered, key=_question))


def _question(row: Row) -> tuple[str, ...]:
    return row.scenario, row.scenario_sha256, row.machine, row.group, row.metric, row.unit


def _series(points: tuple[Row, ...]) -> Series:
    first = points[0]
    return Series(
        scenario=first.scenario,
        scenario_sha256=first.scenario_sha256,
        machine=first.machine,
        group=first.group,
        metric=first.metric,
        unit=first.unit,
        points=points,
        changes=changes(points),
    )


def changes(points: Sequence[Row]) -> tuple[Change, ...]:
    """None where a value is not above 0 (a share of errors has no level to multiply), or nothing varies."""
    values = np.array([p.value for p in points])
    if len(values) < 2 * LEAST or values.min() <= 0:
        return ()
    logs: NDArray[np.float64] = np.log(values)
    sigma = _sigma(logs, points)
    if sigma <= 1e-9:
        return ()
    found = ruptures.Pelt(model="l2", min_size=LEAST, jump=1).fit(logs.reshape(-1, 1)).predict(pen=PENALTY * sigma**2 * math.log(len(logs)))
    edges = [0, *found]
    made = []
    for (before, at), (_, after) in pairwise(pairwise(edges)):
        ratio = math.exp(float(logs[at:after].mean() - logs[before:at].mean()))
        made.append(Change(run=points[at].run, commit=points[at].commit, started_at=points[at].started_at, ratio=ratio))
    return tuple(made)


def _sigma(logs: NDArray[np.float64], points: Sequence[Row]) -> float:
    """Standard deviation of one run's figure around its level."""
    steps = np.diff(logs)
    between = float(np.median(np.abs(steps))) * MAD_TO_SIGMA / math.sqrt(2)
    told = [math.log(p.high / p.low) / 2 / Z95 for p in points if p.low is not None and p.high is not None and p.low > 0]
    return max(between, float(np.median(told)) if told else 0.0)
