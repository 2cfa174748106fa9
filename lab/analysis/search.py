"""The largest rate that meets the SLO: from the probes so far to the next rate or the end, and from a window's samples to a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lab.analysis.stats import Floats, mean_stat, order_interval, percentile_name, quantile, samples_needed, supports
from lab.analysis.validity import DRIVER_CPU_LIMIT, LAG_LIMIT_MS
from lab.model import Probe, Search

DIGITS = 4  # of a rate between two others: far finer than the finest precision
LEAST_BATCHES, MOST_BATCHES = 3, 5
Limit = Literal["service", "driver", "highest", "queue"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """`rate_per_s`: the largest that passed, None where the lowest did not. `limit`: why it is not larger: the service failed the next one,
    the driver was late there, nobody asked for more, or the queue that a probe left did not drain. `sentence` says it."""

    rate_per_s: float | None
    limit: Limit
    sentence: str


def next_rate(search: Search, probes: Sequence[Probe]) -> float | None:
    """Doubling until a probe does not pass, then the geometric middle of the largest that passed and the smallest that did not; None when
    they are within the precision, or nothing is left to ask."""
    if any(not p.recovered for p in probes):
        return None
    passed, above = _ends(probes)
    if not probes:
        return search.lowest_per_s
    if passed is None:
        return None
    if above is None:
        return min(2 * passed, search.highest_per_s) if passed < search.highest_per_s else None
    return _rounded(math.sqrt(passed * above.rate_per_s)) if above.rate_per_s > search.precision * passed else None


def _ends(probes: Sequence[Probe]) -> tuple[float | None, Probe | None]:
    """The largest rate that passed below all that did not, and the probe that did not pass at the smallest."""
    above = min((p for p in probes if p.verdict != "passed"), key=lambda p: p.rate_per_s, default=None)
    passed = [p.rate_per_s for p in probes if p.verdict == "passed" and (above is None or p.rate_per_s < above.rate_per_s)]
    return max(passed, default=None), above


def _rounded(rate: float) -> float:
    return float(f"{rate:.{DIGITS}g}")


def outcome(search: Search, probes: Sequence[Probe]) -> Outcome:
    """Of a search that has ended."""
    passed, above = _ends(probes)
    name = percentile_name(search.percentile / 100)
    found = f"{passed:g}/s meets {name} within {search.limit_ms:g} ms" if passed else "no rate was found"
    if above is None:
        return Outcome(rate_per_s=passed, limit="highest", sentence=f"{found}; no higher rate was asked for (highest_per_s)")
    at = f"{above.rate_per_s:g}/s"
    if any(not p.recovered for p in probes):
        return Outcome(rate_per_s=passed, limit="queue", sentence=f"{found}; the queue that {at} left did not drain, so the search ended")
    if above.verdict == "driver_limited":
        why = f"at {at} the driver, not the service, was the limit (lag p99 {above.lag_p99_ms:.1f} ms)"
        return Outcome(rate_per_s=passed, limit="driver", sentence=f"{found}; {why}")
    found_there = f"up to {above.upper_ms:.0f} ms" if above.upper_ms is not None else "too few right answers for it"
    why = f"{at} does not ({name} {found_there}, {above.error_rate:.1%} errors)"
    return Outcome(rate_per_s=passed, limit="service", sentence=f"{found}; {why}")


def judge(
    search: Search, *, step: int, rate_per_s: float, latency_ms: Floats, failed: int, offered: int, lag_ms: Floats, driver_share: float
) -> Probe:
    """`latency_ms` of headline operations with right answers or failures (at their time-out), in order of the intended start. It passes
    when the upper end of its percentile's interval is within the limit: the outer one of the order statistics and of the spread between
    parts of the window, because requests that queue behind each other say less than their number. (What one window alone is worth,
    lab.analysis.worth, is stricter; on a queue it misses the true rate by a third.)"""
    q = search.percentile / 100
    upper_ms = _upper_ms(latency_ms, q)
    errors = failed / offered if offered else 1.0
    lag = float(np.percentile(lag_ms, 99)) if len(lag_ms) else 0.0
    met = upper_ms is not None and upper_ms <= search.limit_ms and errors <= search.error_rate_limit
    late = lag > LAG_LIMIT_MS or driver_share > DRIVER_CPU_LIMIT
    verdict: Literal["passed", "failed", "driver_limited"] = "driver_limited" if late else "passed" if met else "failed"
    return Probe(step=step, rate_per_s=rate_per_s, verdict=verdict, upper_ms=upper_ms, error_rate=errors, lag_p99_ms=lag)


def _upper_ms(latency_ms: Floats, q: float) -> float | None:
    """None where the sample does not support the quantile."""
    if not supports(q, len(latency_ms)):
        return None
    _, high = order_interval(np.sort(latency_ms), q)
    parts = _batches(latency_ms, q)
    between = mean_stat([quantile(np.sort(part), q) for part in parts], "ms").high if len(parts) >= LEAST_BATCHES else None
    return high if between is None else max(high, between)


def _batches(latency_ms: Floats, q: float) -> list[Floats]:
    """As many equal parts, one after the other in time, as each support the quantile."""
    count = min(MOST_BATCHES, len(latency_ms) // samples_needed(q))
    return [part for part in np.array_split(latency_ms, count) if supports(q, len(part))] if count > 1 else []
