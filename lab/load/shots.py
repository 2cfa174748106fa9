"""Every arrival with the request it will send, made before the load begins; and the Sample that comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from lab.contracts import Workload
from lab.load import schedule, wire
from lab.model import Request, Response, Sample
from lab.model.measure import Phase


@dataclass(frozen=True, slots=True)
class Shot:
    """One arrival, ready to be sent. `offset_s` counts from the beginning of its phase; `operation` is an index, -1 outside a schedule;
    `place` is its place in the schedule of its phase, over all drivers."""

    phase: Phase
    request: Request
    head: bytes
    offset_s: float = 0.0
    operation: int = -1
    step: int = schedule.NO_STEP
    place: int = 0


def single(phase: Phase, request: Request, address: wire.Address) -> Shot:
    return Shot(phase, request, wire.head(request, address))


def load(phase: Phase, arrivals: schedule.Arrivals, workload: Workload, seed: int, address: wire.Address) -> list[Shot]:
    names = [o.name for o in workload.operations]
    columns = (arrivals.offset_s, arrivals.operation, arrivals.payload, arrivals.step, arrivals.place)
    shots = []
    for offset_s, operation, payload, step, place in zip(*(c.tolist() for c in columns), strict=True):
        request = workload.payload(seed, payload, names[operation])
        shots.append(Shot(phase, request, wire.head(request, address), offset_s, operation, step, place))
    return shots


@dataclass(frozen=True, slots=True)
class Flight:
    """What became of a shot, in seconds of time.monotonic. Dropped: never sent. Never answered: `error` says why."""

    number: int
    intended_s: float
    sent_s: float | None = None
    answered: wire.Answered | None = None
    error: str | None = None


def sample(shot: Shot, flight: Flight, workload: Workload, origin_s: float) -> Sample:
    """Judges the answer. Times count from `origin_s`."""
    answered, error, correct = flight.answered, flight.error, None
    timing = ""
    if answered is not None:
        timing = answered.headers.get("server-timing", "")
        error = f"HTTP {answered.status}" if answered.status >= 400 else None
        correct = None if error else _right(shot.request, answered, workload)
    return Sample(
        sequence=flight.number,
        operation=shot.request.operation,
        phase=shot.phase,
        step=shot.step,
        intended_s=flight.intended_s - origin_s,
        sent_s=None if flight.sent_s is None else flight.sent_s - origin_s,
        first_byte_s=answered.first_byte_s - origin_s if answered else None,
        done_s=answered.done_s - origin_s if answered else None,
        status=answered.status if answered else 0,
        ok=error is None,
        correct=correct,
        cold=wire.cold(timing),
        error=error,
        bytes_sent=0 if flight.sent_s is None else len(shot.head) + len(shot.request.body),
        bytes_received=answered.bytes_received if answered else 0,
        server_timing=timing,
    )


def _right(request: Request, answered: wire.Answered, workload: Workload) -> bool:
    """An answer that `check` cannot read is a wrong one."""
    try:
        return workload.check(request, Response(status=answered.status, body=answered.body, headers=answered.headers))
    except (ValueError, LookupError, TypeError):
        return False
