"""From the valid deployments of one group to every metric that a threshold may name, one value per deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lab.analysis.measured import Measured, Step
from lab.analysis.results import Deployed
from lab.analysis.stats import percentile_name, quantile, samples_needed
from lab.analysis.steps import NO_CPU

Taken = Sequence[tuple[Measured, Step]]
QUANTILES = (0.5, 0.95, 0.99)


def deployed(at_primary: Taken) -> Mapping[str, Deployed]:
    """lab.thresholds.METRICS: latencies of headline operations from the intended start, rates and shares of all operations, CPU and memory
    of the architecture's processes, `cold_ms` the median of the cold phase, `ready_s` until the last service was ready."""
    made = {f"{percentile_name(q)}_ms": _quantile(at_primary, q) for q in QUANTILES}
    made["mean_ms"] = _each(at_primary, "ms", "no headline request was answered", lambda m, s: _mean(s))
    made["cpu_ms"] = _each(at_primary, "ms", NO_CPU, lambda m, s: s.cpu_ms(s.cpu_architecture_s))
    made["memory_mib"] = _each(at_primary, "MiB", "the provider does not tell the memory", _memory_mib)
    made["achieved_per_s"] = _each(at_primary, "1/s", "", lambda m, s: s.achieved / s.window_s)
    made["error_rate"] = _share([(s.failed, s.offered) for _, s in at_primary], "no request was offered")
    made["wrong_rate"] = _share([(sum(s.wrong.values()), sum(s.checked.values())) for _, s in at_primary], "no answer was checked")
    made["cold_ms"] = _each(at_primary, "ms", "no request met a cold start", lambda m, s: _median(m))
    made["ready_s"] = _each(at_primary, "s", "the provider tells no start times", lambda m, s: _ready_s(m))
    return made


def _each(taken: Taken, unit: str, why_not: str, of: Callable[[Measured, Step], float | None]) -> Deployed:
    """Of every deployment, or of none: the rest would not be the deployments that the blocks name."""
    found = [of(m, s) for m, s in taken]
    known = tuple(float(v) for v in found if v is not None)
    if known and len(known) == len(found):
        return Deployed(unit=unit, values=known)
    some = f"; {len(known)} of {len(found)} deployments have it" if known else ""
    return Deployed(unit=unit, why_missing=why_not + some, measured=bool(known))


def _quantile(taken: Taken, q: float) -> Deployed:
    needed, fewest = samples_needed(q), min((len(s.latency_ms) for _, s in taken), default=0)
    if fewest < needed:
        why = f"{percentile_name(q)} of one deployment needs {needed} headline requests; the smallest has {fewest}"
        return Deployed(unit="ms", why_missing=why)
    return Deployed(unit="ms", values=tuple(quantile(s.latency_ms, q) for _, s in taken))


def _share(counts: Sequence[tuple[int, int]], why_not: str) -> Deployed:
    if not counts or not all(n for _, n in counts):
        return Deployed(unit="share", why_missing=why_not, measured=any(n for _, n in counts))
    return Deployed(unit="share", values=tuple(hits / n for hits, n in counts), asked=tuple(n for _, n in counts))


def _mean(step: Step) -> float | None:
    return float(step.latency_ms.mean()) if len(step.latency_ms) else None


def _memory_mib(measured: Measured, step: Step) -> float | None:
    return measured.counters.tier_memory_mib("architecture", step.start_s, step.end_s)


def _median(measured: Measured) -> float | None:
    return float(np.median(measured.cold_ms)) if len(measured.cold_ms) else None


def _ready_s(measured: Measured) -> float | None:
    return max(measured.status.ready_s.values()) if measured.status.ready_s else None
