"""Functions: invocations, their duration and CPU in, requests and GB-seconds at tiered prices out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.analysis.bill import EDGE, MIB_PER_GIB, Array, Line, Variation, cpu_s, requests_per_month, tiered, within
from lab.analysis.price_book import PriceBook
from lab.analysis.results import ServiceFigures


def function_memory_mb(s: ServiceFigures, book: PriceBook, memory: float, throttled: bool) -> float:
    """max(configured, vCPU given x MB per vCPU): a function on a whole core but priced at 512 MB would look 3.5 times too cheap."""
    given = s.cpus_configured if throttled else max(1.0, s.cpus_configured)
    return max(s.memory_configured_mib * memory, given * book.rule(book.mapping.function.mb_per_vcpu))


def billed_ms(s: ServiceFigures, book: PriceBook, v: Variation, memory_mb: float, wait_ms: float) -> float:
    """Mean per invocation, each rounded up, cold starts included at the book's share: max(wall, CPU / share of a vCPU)."""
    rule = book.mapping.function
    assert s.invocations_per_request is not None and s.billed_ms_per_request is not None and s.start_s.value is not None
    calls = max(s.invocations_per_request, 1e-12)
    share = min(1.0, memory_mb / book.rule(rule.mb_per_vcpu))
    cpu = cpu_s(s, v) * 1000.0
    wall = s.billed_ms_per_request + cpu - (s.cpu_ms_per_request.value or 0.0)
    grain = book.rule(rule.granularity)
    warm = max(wall, cpu / share) / calls + wait_ms
    start = within(s.start_s, v.spread) * 1000.0 * v.cpu_scale
    return _rounded_up(warm, s.durations_ms, grain) + float(book.rule(rule.cold_start_share) * np.ceil(start / grain - EDGE) * grain)


def _rounded_up(mean_ms: float, durations_ms: Sequence[float], grain: float) -> float:
    """The mean of durations that are each rounded up to whole grains: spread around `mean_ms` as those measured; where these are not known,
    half a grain more."""
    measured = float(np.mean(durations_ms)) if durations_ms else 0.0
    if measured <= 0:
        return max(grain, mean_ms + grain / 2)
    each = np.asarray(durations_ms, np.float64) * (mean_ms / measured)
    return float(np.mean(np.ceil(each / grain - EDGE)) * grain)


def price_functions(services: Sequence[ServiceFigures], book: PriceBook, traffic: Array, v: Variation, throttled: bool) -> list[Line]:
    """Tiers and free amounts count once over all functions. A request's longer waits are billed to the function that calls most."""
    rule = book.mapping.function
    months = requests_per_month(book, traffic)
    calls = {s.service: months * (s.invocations_per_request or 0.0) for s in services}
    most = max(services, key=lambda s: s.billed_ms_per_request or 0.0)
    gb_seconds, skus = {}, {}
    for s in services:
        memory_mb = function_memory_mb(s, book, v.memory, throttled)
        wait = v.wait_ms / max(s.invocations_per_request or 0.0, 1e-12) if s is most else 0.0
        gb_seconds[s.service] = calls[s.service] * memory_mb / MIB_PER_GIB * billed_ms(s, book, v, memory_mb, wait) / 1000.0
        skus[s.service] = f"{rule.called} {memory_mb:.0f} MB"
    free_s = book.rule(rule.free_duration) if v.free_tier else 0.0
    free_calls = book.rule(rule.free_requests) if v.free_tier else 0.0
    all_s, all_calls = sum(gb_seconds.values(), np.zeros_like(traffic)), sum(calls.values(), np.zeros_like(traffic))
    duration_usd, keys = tiered(book, rule.duration, np.maximum(all_s - free_s, 0.0), v.all_grades)
    request_usd = np.maximum(all_calls - free_calls, 0.0) / 1e6 * book.price(rule.request)
    lines = []
    for s in services:
        compute = duration_usd * _share(gb_seconds[s.service], all_s)
        requests = request_usd * _share(calls[s.service], all_calls)
        lines.append(Line(kind="compute", service=s.service, sku=skus[s.service], keys=keys, allocation=compute, usage=compute))
        lines.append(
            Line(
                kind="requests", service=s.service, sku=f"{rule.called} requests", keys=(rule.request,), allocation=requests, usage=requests
            )
        )
    return lines


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
