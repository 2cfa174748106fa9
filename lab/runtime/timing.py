"""Where a request's time went: spans recorded while it runs go out as a Server-Timing header, and `parse` gives them back.

Entries are joined by ", ", times are in ms, and START counts from the moment the answering service began to read the request:

    NAME;dur=MS;desc="KIND@SERVICE+START[*COUNT][:UNITS]"        infer;dur=4.81;desc="stage@model+1.96"

KIND      NAME               what it is                                                              UNITS
total     the service        the whole stay in SERVICE; the first entry is that of the answering one  -
stage     the stage          its handler (for a batched stage the run of the batch)                   -
hop       the service called round trip minus the callee's own total: what the call itself cost       bytes sent and received
queue     the service        wait for one of the `concurrency` places                                 -
batch     the stage          wait for company, and for the batch before                               size of the batch
store     put get list delete  object store operations                                                bytes
database  execute            database round trips                                                     -
cold      the function       wait for an instance to start                                            -

SERVICE is where it was recorded; a callee's entries are merged into its caller's, their START moved to the caller's clock. Entries with
equal name, kind and service are added up: COUNT (default 1) says of how many; a batch's store and database operations are shared evenly
by its messages, so COUNT may be a fraction. A header has at most LIMIT bytes; a last entry `left_out` of kind `other` counts what does
not fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter

HEADER = "server-timing"
LIMIT = 2000
_ENTRY = re.compile(r'([\w.-]+);dur=([\d.]+);desc="(\w+)@([\w.-]+)\+([\d.]+)(?:\*([\d.]+))?(?::(\d+))?"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    name: str
    kind: str
    service: str
    start_ms: float
    duration_ms: float
    count: float = 1.0
    units: int = 0


def parse(header: str) -> tuple[Span, ...]:
    """All entries of that form, in order; others (a proxy's) are left out."""
    return tuple(
        Span(name=n, kind=k, service=s, start_ms=float(at), duration_ms=float(d), count=float(c or 1), units=int(u or 0))
        for n, d, k, s, at, c, u in _ENTRY.findall(header)
    )


class Recorder:
    """The spans of one request in one service. Times given are perf_counter seconds. Adding is safe from any thread."""

    __slots__ = ("_entries", "began", "service")

    def __init__(self, service: str) -> None:
        self.service = service
        self.began = perf_counter()
        self._entries: list[tuple[str, str, str, float, float, float, int]] = []

    def add(self, name: str, kind: str, began: float, ended: float, units: int = 0, count: float = 1.0) -> None:
        self._entries.append((name, kind, self.service, (began - self.began) * 1e3, (ended - began) * 1e3, count, units))

    def merge(self, header: str, target: str, began: float, ended: float, units: int = 0) -> None:
        """A call to `target`, from `began` to `ended`, answered with `header`: one hop, and the callee's spans in its middle."""
        spans = _ENTRY.findall(header)
        inside = float(spans[0][1]) if spans and spans[0][2] == "total" else 0.0
        trip = (ended - began) * 1e3
        hop = max(0.0, trip - inside)
        start = (began - self.began) * 1e3
        self._entries.append((target, "hop", self.service, start, hop, 1.0, units))
        middle = start + hop / 2
        self._entries.extend((n, k, s, middle + float(at), float(d), float(c or 1), int(u or 0)) for n, d, k, s, at, c, u in spans)

    def share(self, batch: Recorder, size: int) -> None:
        """What one of `size` messages had of a batch that was recorded in `batch`: all of its time, its part of the counts and units."""
        shift = (batch.began - self.began) * 1e3
        self._entries.extend(
            (n, k, s, at + shift, d, c if k == "stage" else c / size, u // size) for n, k, s, at, d, c, u in batch._entries
        )

    def header(self) -> str:
        """Rendered now, which ends `total`."""
        total = (perf_counter() - self.began) * 1e3
        parts = [f'{self.service};dur={total:.3f};desc="total@{self.service}+0"']
        used = len(parts[0])
        entries = _added_up(self._entries)
        for i, (name, kind, service, at, duration, count, units) in enumerate(entries):
            times = "" if count == 1.0 else f"*{count:g}"
            amount = f":{units}" if units else ""
            part = f'{name};dur={duration:.3f};desc="{kind}@{service}+{max(0.0, at):.2f}{times}{amount}"'
            used += len(part) + 2
            if used > LIMIT - 60:
                parts.append(f'left_out;dur=0;desc="other@{self.service}+0*{len(entries) - i}"')
                break
            parts.append(part)
        return ", ".join(parts)


_Entry = tuple[str, str, str, float, float, float, int]


def _added_up(entries: Iterable[_Entry]) -> list[_Entry]:
    merged: dict[tuple[str, str, str], _Entry] = {}
    for entry in entries:
        key = entry[:3]
        known = merged.get(key)
        if known is None:
            merged[key] = entry
        else:
            merged[key] = (*key, min(known[3], entry[3]), known[4] + entry[4], known[5] + entry[5], known[6] + entry[6])
    return list(merged.values())


CURRENT: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def record(name: str, kind: str, began: float, units: int = 0) -> None:
    """From `began` (perf_counter) to now, in the request that this thread or task works for; nothing outside of one."""
    recorder = CURRENT.get()
    if recorder is not None:
        recorder.add(name, kind, began, perf_counter(), units)
