"""The stall: latencies of both runs, from the raw samples, and what the closed one hides of the open one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.analysis import samples
from lab.analysis.stats import quantile_stat, share_stat
from lab.model import Plan, Stat
from lab.workshops import Evidence, Question, Truth

OPEN, CLOSED = "stall-open", "stall-closed"
SLOW_MS = 100.0  # no answer of a service that does nothing takes as long, unless it is frozen
Floats = NDArray[np.float64]


def latencies_ms(evidence: Evidence, scenario: str) -> Floats:
    """Sorted, of the windows of all valid deployments; from the intended start, which for a closed loop is when it sent."""
    run, valid = evidence.runs[scenario], {c.cell for c in evidence.summaries[scenario].cells if c.valid}
    taken = []
    for cell in run.read(run.plan, Plan).cells:
        if cell.role == "subject" and cell.id in valid:
            of = samples.read(run.cell(cell.id))
            mine = of.where(of.during("window"))
            taken.append(mine.service_ms(cell.load.timeout_s) if scenario == CLOSED else mine.latency_ms(cell.load.timeout_s))
    return np.sort(np.concatenate(taken))


def _p99(evidence: Evidence, scenario: str) -> Stat:
    return quantile_stat(latencies_ms(evidence, scenario), 0.99, "ms")


def _slow(evidence: Evidence, scenario: str) -> tuple[int, int]:
    """(how many of them took over SLOW_MS, how many there are)"""
    ordered = latencies_ms(evidence, scenario)
    return int((ordered > SLOW_MS).sum()), len(ordered)


def open_p99(evidence: Evidence) -> Truth:
    stat = _p99(evidence, OPEN)
    slow, n = _slow(evidence, OPEN)
    why = (
        f"{slow} of {n} requests came while nothing answered, and waited between nothing and the whole freeze: p99 is the worst tenth of "
        f"these waits (theory: 900 ms). {stat.why_missing}".strip()
    )
    return Truth(shows=stat.value, low=stat.low, high=stat.high, why=why)


def closed_p99(evidence: Evidence) -> Truth:
    stat, ordered = _p99(evidence, CLOSED), latencies_ms(evidence, CLOSED)
    slow, n = _slow(evidence, CLOSED)
    why = (
        f"{slow} of {n} requests met a freeze: the client waited for that one answer and asked nothing meanwhile. The freeze is its "
        f"maximum ({ordered[-1]:.0f} ms) and no percentile. {stat.why_missing}".strip()
    )
    return Truth(shows=stat.value, low=stat.low, high=stat.high, why=why)


def hidden(evidence: Evidence) -> Truth:
    one, other = _p99(evidence, OPEN), _p99(evidence, CLOSED)
    if one.value is None or other.value is None:
        return Truth(shows=None, why=one.why_missing or other.why_missing)
    why = f"the same service, the same freezes: p99 {one.value:.0f} ms in the open loop, {other.value:.2g} ms in the closed one"
    return Truth(shows=one.value / other.value, why=why)


def slow_share(evidence: Evidence) -> Truth:
    slow, n = _slow(evidence, OPEN)
    stat = share_stat(slow, n)
    if stat.value is None or stat.low is None or stat.high is None:
        return Truth(shows=None, why=stat.why_missing)
    why = f"{slow} of {n}: a tenth of the time is frozen, and of its waits nine tenths are longer than {SLOW_MS:g} ms (theory: 9 %)"
    return Truth(shows=100 * stat.value, low=100 * stat.low, high=100 * stat.high, why=why)


def met(evidence: Evidence) -> Truth:
    """Of one deployment's windows, as the scenario has one."""
    slow, n = _slow(evidence, CLOSED)
    why = f"{slow} of {n} requests took over {SLOW_MS:g} ms; between two freezes it asked some {n / max(1, slow):.0f} times"
    return Truth(shows=float(slow), why=why) if slow else Truth(shows=None, why=f"none of {n} requests met a freeze")


QUESTIONS = (
    Question(id="open_p99_ms", ask="Open loop, 200 requests/s: what is p99?", unit="ms", within=1.15, truth=open_p99),
    Question(id="open_slow_percent", ask="Open loop: how many percent take over 100 ms?", unit="%", within=1.3, truth=slow_share),
    Question(id="closed_p99_ms", ask="Closed loop, one client: what is p99?", unit="ms", within=3.0, truth=closed_p99),
    Question(
        id="closed_slow_requests",
        ask="Closed loop, 30 seconds with 3 freezes: how many of its thousands of requests take over 100 ms?",
        unit="requests",
        within=1.4,
        truth=met,
    ),
    Question(
        id="times_hidden", ask="How many times smaller is the p99 that the closed loop reports?", unit="times", within=3.0, truth=hidden
    ),
)
