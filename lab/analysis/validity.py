"""From one measured cell to VALID or INVALID: every reason is a sentence with what was found and what was allowed.

Steps above the primary rate may overload the architecture; that is a finding. So errors, drops, lag and cold starts invalidate a cell only
where they happen at the primary rate or below, and are warnings above it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from scipy import stats

from lab.analysis.failures import failures
from lab.analysis.findings import Findings, judged_rate, placed
from lab.analysis.measured import Measured, Step
from lab.analysis.results import CellVerdict
from lab.analysis.stats import percentile_name, quantile, samples_needed, share_stat
from lab.model import MachineState, Plan

LAG_LIMIT_MS = 10.0
LAG_SHARE = 0.2  # of the measured p99; a p99 below five times the driver's own lag is mostly the driver's
DRIVER_CPU_LIMIT = 0.9
OFFERED_SHARE = 0.98
COLD_SHARE_LIMIT = 0.01
STEAL_LIMIT = 0.05
FOREIGN_LIMIT = 0.25  # of a core, by programs that are neither measured nor the lab's own
FOREIGN_SEEN = 0.1
LAB_CORES = 0.05  # what the provider's supervisor uses, which nobody counts
SURE = 1e-3  # a Poisson schedule that holds this improbably few arrivals was not the planned one


def judge(measured: Measured, plan: Plan, states: Sequence[MachineState] = (), shared_cpus: Sequence[int] = ()) -> CellVerdict:
    """A cell without windows has one reason: what its status says. `shared_cpus`: as in Environment."""
    found = Findings()
    status = measured.status
    if status.status != "done":
        found.reasons.append(f"the cell is {status.status}" + (f": {status.reason}" if status.reason else "") + "; wanted done")
    elif not measured.steps:
        found.reasons.append("status.json names no window: nothing was measured")
    else:
        _of_the_cell(measured, states, found)
        if shared_cpus and measured.cell.role == "subject":
            cpus = ", ".join(map(str, shared_cpus))
            found.warnings.append(f"the driver's CPU {cpus} shares a physical core with the architecture: no claim on tails")
        for step in measured.steps:
            _of_a_step(measured, step, plan, found)
        failures(measured, plan, found)
        _primary(measured, plan, found)
        _answers(measured, plan, found)
    return CellVerdict(
        cell=measured.cell.id,
        group=measured.group,
        block=measured.cell.block,
        valid=not found.reasons,
        reasons=tuple(found.reasons),
        warnings=tuple(found.warnings),
        measured=status.status in ("done", "broken"),
    )


# ---- the cell as a whole ---------------------------------------------------------------------------------------------


def _of_the_cell(measured: Measured, states: Sequence[MachineState], found: Findings) -> None:
    driver = measured.status.driver or {}
    if measured.status.warmup_stable is False:
        found.reasons.append(f"latency was not stable after {measured.cell.load.warmup_max_s:g} s of warm-up")
    cpu = driver.get("cpu_share")
    if cpu is None:
        found.warnings.append("the driver's CPU is not known")
    elif cpu > DRIVER_CPU_LIMIT and measured.cell.load.search is None:  # whose probes tell it themselves
        found.reasons.append(f"the driver used {cpu:.0%} of its core; limit {DRIVER_CPU_LIMIT:.0%}")
    stolen = driver.get("steal_share", _stolen(measured, states))
    if stolen is not None and stolen > STEAL_LIMIT:
        found.reasons.append(f"the hypervisor took {stolen:.1%} of the CPU; limit {STEAL_LIMIT:.0%}")
    for what, left_out in (("events", measured.unplaced_events), ("readings of usage", measured.unplaced)):
        for clock, count in left_out.items():
            found.warnings.append(f"{count} {what} left out: nobody compared their clock {clock!r} with the driver's")
    if measured.warm_in_cold:
        found.warnings.append(f"{measured.warm_in_cold} requests of the cold phase met a warm instance; left out of the cold figures")


def _stolen(measured: Measured, states: Sequence[MachineState]) -> float | None:
    """Each state tells the share since the one before it; averaged over the time in which the cell's windows overlap."""
    if measured.status.origin_s is None:
        return None
    start, end = (measured.status.origin_s + s for s in (measured.steps[0].start_s, measured.steps[-1].end_s))
    ordered = sorted(states, key=lambda s: s.at_s)
    shares, weights = [], []
    for before, after in pairwise(ordered):
        overlap = min(end, after.at_s) - max(start, before.at_s)
        if overlap > 0 and after.steal_share is not None:
            shares.append(after.steal_share)
            weights.append(overlap)
    return float(np.average(shares, weights=weights)) if shares else None


# ---- each step -------------------------------------------------------------------------------------------------------


def _of_a_step(measured: Measured, step: Step, plan: Plan, found: Findings) -> None:
    counts = step.rate_per_s <= judged_rate(measured, plan)
    at = placed(measured, step)
    for sentence in (*_driver(measured, step), *_answered(step, plan.error_rate_limit)):
        found.add(f"{at}: {sentence}", counts)
    _others(measured, step, at, counts, found)
    if step.offered and step.cold:
        share = step.cold / step.offered
        limit = f"; limit {COLD_SHARE_LIMIT:.0%}" if share > COLD_SHARE_LIMIT else ""
        found.add(f"{at}: {step.cold} of {step.offered} requests of the warm window met a cold start{limit}", counts and bool(limit))
    if counts and step.censored and step.censored <= plan.error_rate_limit * step.offered:
        found.warnings.append(f"{at}: {step.censored} of {step.offered} requests were in flight at the end; they count with the time-out")


def _driver(measured: Measured, step: Step) -> Iterator[str]:
    load = measured.cell.load
    if load.closed:  # nothing is due before it is sent
        if load.ends == "window":
            if step.offered >= load.requests:
                yield f"all {load.requests} requests were sent before the window of {load.window_s:g} s ended; wanted more than fit into it"
        elif step.offered < load.requests:
            yield f"{step.offered} of {load.requests} requests were sent within {load.window_s:g} s"
        return
    if len(step.lag_ms) and (lag := quantile(step.lag_ms, 0.99)) > LAG_LIMIT_MS:
        yield f"the driver's lag p99 is {lag:.1f} ms over {len(step.lag_ms)} requests; limit {LAG_LIMIT_MS:g} ms"
    if step.dropped:
        yield f"the driver dropped {step.dropped} of {step.offered} requests; limit 0"
    planned = step.rate_per_s * step.window_s
    too_few = stats.poisson.ppf(SURE, planned) if load.arrival == "poisson" else OFFERED_SHARE * planned
    if step.offered < min(too_few, OFFERED_SHARE * planned):
        yield f"the schedule held {step.offered} requests, planned were {planned:.0f}; limit {OFFERED_SHARE:.0%}"
    elif step.sent < OFFERED_SHARE * step.offered:
        yield f"the driver sent {step.sent} of {step.offered} requests; limit {OFFERED_SHARE:.0%}"


def _others(measured: Measured, step: Step, at: str, counts: bool, found: Findings) -> None:
    """What other programs used of the machine: all that was busy less the driver, the lab and what is measured. A warning at most where
    the provider does not tell the CPU of what is measured, which then is in it."""
    cores = _foreign_cores(measured, step)
    no_platform = not measured.counters.of("platform")  # as of a service of the user's own
    told = step.cpu_architecture_s is not None and (no_platform or step.cpu_platform_s is not None)
    if cores is None or cores <= (FOREIGN_SEEN if told else FOREIGN_LIMIT):
        return
    over = cores > FOREIGN_LIMIT
    who = "other programs" if told else "other programs and what is measured here"
    limit = f"; limit {FOREIGN_LIMIT:g}" if over and told else ""
    found.add(f"{at}: {who} used {cores:.2f} of a core{limit}", counts and over and told)


def _foreign_cores(measured: Measured, step: Step) -> float | None:
    """None where the driver did not tell how busy the machine was in this window."""
    driver, i = measured.status.driver or {}, step.index
    busy, cpus = driver.get(f"busy_share_{i}"), driver.get("host_cpus")
    if busy is None or cpus is None:
        return None
    own = driver.get(f"driver_share_{i}", 0.0) + driver.get(f"parent_share_{i}", 0.0) + LAB_CORES
    own += ((step.cpu_architecture_s or 0.0) + (step.cpu_platform_s or 0.0)) / step.window_s
    return (busy - driver.get(f"steal_share_{i}", 0.0)) * cpus - own


def _answered(step: Step, limit: float) -> Iterator[str]:
    if step.failed > limit * step.offered:
        yield f"{step.failed} of {step.offered} requests failed ({step.failed / step.offered:.1%}); limit {limit:.1%}"
    if step.censored > limit * step.offered:
        yield f"{step.censored} of {step.offered} requests were still in flight at the end; limit {limit:.1%}"


# ---- the primary metric, and the answers' content --------------------------------------------------------------------


def _primary(measured: Measured, plan: Plan, found: Findings) -> None:
    rate = plan.primary_rate_per_s if measured.cell.load.search else judged_rate(measured, plan)
    step = measured.step_at(rate)
    if step is None:
        found.reasons.append(f"no window at the primary rate of {rate:g}/s")
        return
    q, n = primary_quantile(plan.primary_metric) or 0.5, len(step.latency_ms)
    least = max(samples_needed(0.5), round(1 / (1 - q)))
    name = percentile_name(q)
    if n < least:
        found.reasons.append(f"{n} headline requests at the primary rate; {name} of one deployment needs {least}")
    elif n < samples_needed(q):
        found.warnings.append(f"{n} headline requests at the primary rate: {name} of this deployment alone needs {samples_needed(q)}")
    if n and len(step.lag_ms) and measured.cell.role == "subject" and not measured.cell.load.closed:
        lag, p99 = quantile(step.lag_ms, 0.99), quantile(step.latency_ms, 0.99)
        if lag > LAG_SHARE * p99:
            found.warnings.append(f"the driver's lag p99 of {lag:.1f} ms is {lag / p99:.0%} of the measured p99; limit {LAG_SHARE:.0%}")


def _answers(measured: Measured, plan: Plan, found: Findings) -> None:
    """INVALID where the share of wrong answers is above the limit beyond chance (its 95 % interval lies above), a warning where it may be
    chance: the limit is the model's own error, of which a short window sees a small sample."""
    limit = measured.cell.wrong_rate_limit
    steps = measured.up_to(judged_rate(measured, plan))
    checked: Counter[str] = sum((Counter(s.checked) for s in steps), Counter())
    wrong: Counter[str] = sum((Counter(s.wrong) for s in steps), Counter())
    for operation in sorted(wrong):
        share = share_stat(wrong[operation], checked[operation])
        if share.value is not None and share.low is not None and share.value > limit:
            sentence = f"{operation}: {wrong[operation]} of {checked[operation]} answers were wrong ({share.value:.1%}); limit {limit:.1%}"
            found.add(sentence if share.low > limit else f"{sentence}, which may be chance", share.low > limit)


def claim(metric: str) -> str:
    """What the machine's class must allow before anything is claimed of this metric."""
    return {"p50_ms": "p50", "cpu_ms": "cpu"}.get(metric, "tail")


def no_claim(needed: str, machine_class: str, isolation: str) -> str:
    return f"{machine_class} with isolation {isolation}: no claim on {'tails' if needed == 'tail' else needed}"


def primary_quantile(metric: str) -> float | None:
    """`p50_ms` is 0.5; None for metrics that are no percentile of latency, such as `cpu_ms`."""
    name = metric.removesuffix("_ms")
    return float(name[1:]) / 100 if name.startswith("p") and name[1:].replace(".", "", 1).isdigit() else None
