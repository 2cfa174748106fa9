"""A server frozen 1 s in every 10 s, in an open and in a closed loop, side by side with theory: `python -m benchmarks.experiment_stall`.

In an open loop a tenth of the requests waits, evenly from nothing to a second: p95 is 500 ms and p99 900 ms. A closed loop asks nothing
while it waits, so one request of thousands meets each freeze. Exit 1 where p99 is not within WITHIN of theory, or the closed loop hides it
less than HIDDEN times; 4 where a run is INVALID.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.experiments import lab, reasons
from lab.analysis.results import Summary
from lab.model import Stat

OPEN, CLOSED = "stall", "experiments/stall-closed"
THEORY_MS = {"p95": 500.0, "p99": 900.0}
WITHIN, HIDDEN = 0.05, 10.0
NAMES = ("p50", "p95", "p99")


@dataclass(frozen=True, kw_only=True)
class Judged:
    code: int
    lines: tuple[str, ...]


def judge(opened: Summary, closed: Summary) -> Judged:
    """Of the open loop latencies from the intended start, of the closed one service times: that is all it can report."""
    invalid = [
        f"{name} is INVALID: {reason}"
        for name, summary in ((OPEN, opened), (CLOSED, closed))
        if not all(group.valid_deployments for group in summary.groups) or not summary.groups
        for reason in reasons(summary) or ("nothing was measured",)
    ]
    if invalid:
        return Judged(code=4, lines=tuple(invalid))
    latency, service = opened.groups[0].steps[0].latency, closed.groups[0].steps[0].service
    missing = [
        f"{name} has no {q}: {of[q].why_missing}" for name, of in ((OPEN, latency), (CLOSED, service)) for q in NAMES if of[q].value is None
    ]
    if missing:
        return Judged(code=4, lines=tuple(missing))
    return _judged(latency, service)


def _judged(latency: Mapping[str, Stat], service: Mapping[str, Stat]) -> Judged:
    opened, closed = ({q: float(of[q].value or 0.0) for q in NAMES} for of in (latency, service))
    off, times = opened["p99"] / THEORY_MS["p99"] - 1, opened["p99"] / closed["p99"]
    near, hidden = abs(off) <= WITHIN, times >= HIDDEN
    lines = (
        f"{'':22}{'requests':>10}" + "".join(f"{q + ' ms':>10}" for q in NAMES),
        f"{'open loop, 200/s':22}{latency['p99'].n:10d}" + "".join(f"{opened[q]:10.1f}" for q in NAMES),
        f"{'closed loop, 1 client':22}{service['p99'].n:10d}" + "".join(f"{closed[q]:10.1f}" for q in NAMES),
        f"{'theory, open loop':22}{'':10}" + "".join(f"{THEORY_MS[q]:10.1f}" if q in THEORY_MS else " " * 10 for q in NAMES),
        f"p99 of the open loop: {off:+.1%} of theory (goal {WITHIN:.0%})  {'reached' if near else 'MISSED'}",
        f"the closed loop hides it {times:.0f} times (goal {HIDDEN:.0f})  {'reached' if hidden else 'MISSED'}",
    )
    return Judged(code=0 if near and hidden else 1, lines=lines)


def main() -> int:
    found = judge(*(lab("run", scenario).summary for scenario in (OPEN, CLOSED)))
    print(*found.lines, sep="\n")
    return found.code


if __name__ == "__main__":
    sys.exit(main())
