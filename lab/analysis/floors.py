"""The floor of the instrument: from the valid cells of noop to its percentiles, and where the load of the subjects came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lab.analysis import steps
from lab.analysis.measured import Measured
from lab.analysis.results import Driving
from lab.analysis.stats import percentile_name, quantile_stat
from lab.model import Plan, Stat

QUANTILES = (0.5, 0.95, 0.99)
FLOOR = {
    "floor_driver": "floor of the driver",
    "floor_path": "floor of the path",
    "floor_driver_other": "floor of the driver elsewhere",
    "floor_path_other": "floor of the path elsewhere",
}


def floor(role: str, plan: Plan, valid: Sequence[Measured]) -> Mapping[str, Stat]:
    """p50, p95 and p99 of noop over all windows of the valid cells of that role."""
    windows = [s for m in valid if m.cell.role == role for s in m.steps]
    if not windows:
        planned = any(c.role == role for c in plan.cells)
        why = f"the {FLOOR[role]} is INVALID" if planned else f"the scenario does not measure the {FLOOR[role]}"
        return {percentile_name(q): Stat.missing("ms", why) for q in QUANTILES}
    ordered, runs = steps.merged([s.latency_ms for s in windows]), [s.latency_runs for s in windows]
    return {percentile_name(q): quantile_stat(ordered, q, "ms", runs) for q in QUANTILES}


def driving(plan: Plan, valid: Sequence[Measured]) -> Driving:
    subjects = [c for c in plan.cells if c.role == "subject"]
    errors_s = [clock.error_s for m in valid for clock in m.status.clocks.values()]
    found = Driving(
        place=subjects[0].driver if subjects else "outside",
        processes=max((c.drivers for c in subjects), default=1),
        clock_error_ms=max(errors_s) * 1e3 if any(errors_s) else None,
    )
    elsewhere = next((c for c in plan.cells if c.role == "floor_driver_other"), None)
    if elsewhere is None:
        return found
    return replace(
        found,
        other=elsewhere.driver,
        other_floor_driver_ms=floor("floor_driver_other", plan, valid),
        other_floor_path_ms=floor("floor_path_other", plan, valid),
    )
