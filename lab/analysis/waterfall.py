"""From the Server-Timing headers of a group's requests to the bars of its waterfall and to the hops and operations of one request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lab.analysis import samples
from lab.analysis.measured import Measured, Step
from lab.analysis.results import Counts, Span
from lab.analysis.stats import quantile
from lab.runtime import timing

Floats = NDArray[np.float64]
Cells = Sequence[tuple[Measured, Step]]
NEAR_MEDIAN = (0.4, 0.6)
WRITES = ("put", "list")  # billed as writes by object stores; deletes are free
SEQUENTIAL = ("stage", "hop", "queue", "cold")  # their durations add up to a request's stay; store and database lie inside stages
WAITS = ("hop", "queue", "batch", "cold", "store", "database")  # what a request spends in no service's own work
NO_HEADER = "no answer carried a Server-Timing header"


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A right answer to a headline operation with its spans; `lag_ms` from intended to sent, `service_ms` from sent to done."""

    latency_ms: float
    lag_ms: float
    service_ms: float
    bytes_sent: float
    bytes_received: float
    spans: tuple[timing.Span, ...]


@dataclass
class _Sum:
    start_ms: float = 0.0
    duration_ms: float = 0.0
    count: float = 0.0
    seen: int = 0


@dataclass
class _Means:
    """Sums over requests, by (name, kind, service), in order of first appearance."""

    requests: int = 0
    lag_ms: float = 0.0
    edge_ms: float = 0.0
    host_ms: float = 0.0
    entry: str = ""
    spans: dict[tuple[str, str, str], _Sum] = field(default_factory=lambda: defaultdict(_Sum))


def requests(cells: Cells) -> tuple[_Request, ...]:
    """Of all deployments given, at the step given with each, those that the step kept to tell of it."""
    return tuple(request for cell, step in cells for request in _requests(cell, step))


def _requests(cell: Measured, step: Step) -> Iterator[_Request]:
    here = step.told
    for i, header in enumerate(samples.timing_headers(cell.folder, step.told_rows)):
        intended, sent, done = here.intended_s[i], here.sent_s[i], here.done_s[i]
        yield _Request(
            latency_ms=float(done - intended) * 1e3,
            lag_ms=float(sent - intended) * 1e3,
            service_ms=float(done - sent) * 1e3,
            bytes_sent=float(here.bytes_sent[i]),
            bytes_received=float(here.bytes_received[i]),
            spans=timing.parse(header),
        )


# ---- the bars --------------------------------------------------------------------------------------------------------


def waterfall(of: Sequence[_Request]) -> tuple[Span, ...]:
    """Means over the requests near the median, in order of start: the driver's lag, the way to the service and back (`edge`, drawn before),
    the spans of the services, and last what is left of the entry service's stay (`host`). Empty without headers."""
    timed = [r for r in of if r.spans]
    if not timed:
        return ()
    ordered = np.sort([r.latency_ms for r in timed])
    low, high = (quantile(ordered, q) for q in NEAR_MEDIAN)
    means = _Means()
    for request in timed:
        if low <= request.latency_ms <= high:
            _add(means, request)
    n = means.requests
    begin = (means.lag_ms + means.edge_ms) / n
    bars = [_bar(key, total, n, begin) for key, total in means.spans.items()]
    end = begin + sum(b.duration_ms for b in bars if b.kind in SEQUENTIAL)
    return (
        Span(name="driver lag", kind="other", service="driver", start_ms=0.0, duration_ms=means.lag_ms / n),
        Span(name="edge", kind="other", service="gateway", start_ms=means.lag_ms / n, duration_ms=means.edge_ms / n),
        *sorted(bars, key=lambda b: b.start_ms),
        Span(name="host", kind="other", service=means.entry, start_ms=end, duration_ms=means.host_ms / n),
    )


def _add(means: _Means, request: _Request) -> None:
    totals = [s for s in request.spans if s.kind == "total"]
    inside = totals[0].duration_ms if totals else 0.0
    named = sum(s.duration_ms for s in request.spans if s.kind in SEQUENTIAL)
    means.requests += 1
    means.lag_ms += request.lag_ms
    means.edge_ms += max(0.0, request.service_ms - inside)
    means.host_ms += max(0.0, inside - named)
    means.entry = totals[0].service if totals else means.entry
    for span in request.spans:
        if span.kind != "total":
            total = means.spans[(span.name, span.kind, span.service)]
            total.start_ms += span.start_ms
            total.duration_ms += span.duration_ms
            total.count += span.count
            total.seen += 1


def _bar(key: tuple[str, str, str], total: _Sum, n: int, begin: float) -> Span:
    """Duration and count are means over all requests, also those without it; the start over those with it."""
    name, kind, service = key
    return Span(
        name=name,
        kind=kind,
        service=service,
        start_ms=begin + total.start_ms / total.seen,
        duration_ms=total.duration_ms / n,
        count=total.count / n,
    )


# ---- the counts ------------------------------------------------------------------------------------------------------


def counts(of: Sequence[_Request], functions: Collection[str] = ()) -> Counts:
    """`functions`: the services that are functions; each of their own totals is one call."""
    timed = [r for r in of if r.spans]
    n = max(1, len(timed))
    spans = [s for r in timed for s in r.spans]
    store = [s for s in spans if s.kind == "store"]
    hops, database = ([s for s in spans if s.kind == kind] for kind in ("hop", "database"))
    calls = [s for s in spans if s.kind == "total" and s.service in functions]
    return Counts(
        hops=_count(hops) / n,
        store_writes=_count([s for s in store if s.name in WRITES]) / n,
        store_reads=_count([s for s in store if s.name == "get"]) / n,
        database_trips=_count(database) / n,
        bytes_in=float(np.mean([r.bytes_sent for r in of])) if of else 0.0,
        bytes_out=float(np.mean([r.bytes_received for r in of])) if of else 0.0,
        hop_ms=_mean_ms(hops),
        store_ms=_mean_ms(store),
        database_ms=_mean_ms(database),
        function_calls=_count(calls) / n if timed else None,
        functions=len(calls) / n if timed else None,  # spans of one service are added up in the header
        busy_ms=sum(_busy_ms(r) for r in timed) / n if timed else None,
        why_missing="" if timed else NO_HEADER,
    )


def _busy_ms(request: _Request) -> float:
    whole = next((s.duration_ms for s in request.spans if s.kind == "total"), 0.0)
    return max(0.0, whole - sum(s.duration_ms for s in request.spans if s.kind in WAITS))


def _count(spans: Sequence[timing.Span]) -> float:
    return sum(s.count for s in spans)


def _mean_ms(spans: Sequence[timing.Span]) -> float | None:
    return sum(s.duration_ms for s in spans) / _count(spans) if spans else None
