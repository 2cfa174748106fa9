"""From a cell's events to what broke in it: what broke by itself makes it INVALID, what was broken as planned does not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.analysis.findings import Findings, judged_rate, placed
from lab.analysis.measured import Measured
from lab.model import Event, Plan, TimedFault

FAILURES = {"crash": "died", "start_failed": "failed to start"}
FAULT = "fault"  # kind of event: a provider tells begin and end of what it was told to break
SOONER_S = 0.01  # clocks of two machines are compared with an error
LATE_LIMIT_S = 0.1
LONGER_LIMIT = 0.05  # of how long a fault was to last
Killed = tuple[str, object]  # service and instance


@dataclass(frozen=True, kw_only=True)
class Made:
    """One planned moment of a fault, of seconds into the windows, and the events that tell of it."""

    fault: TimedFault
    planned_s: float
    begin: Event
    begun_s: float
    ended_s: float | None

    @property
    def late_s(self) -> float:
        return self.begun_s - self.planned_s

    @property
    def longer_s(self) -> float | None:
        """Than planned; None for one that has no end, or whose end nobody told."""
        return None if self.ended_s is None or not self.fault.for_s else self.ended_s - self.begun_s - self.fault.for_s


def failures(measured: Measured, plan: Plan, found: Findings) -> None:
    killed = _faults(measured, found)
    _deaths(measured, plan, found, killed)


def _faults(measured: Measured, found: Findings) -> Collection[Killed]:
    """What was killed as planned. How the figures suffer from a fault is judged as ever."""
    made = list(faults_made(measured))
    found.reasons += _missing(measured, made)
    theirs = {id(m.begin) for m in made}
    for event in _begins(measured):
        if id(event) not in theirs:
            at_s = measured.driver_s(event) - measured.steps[0].start_s
            found.reasons.append(f"a {_name(str(event.values.get('fault')), event.service)} at {at_s:.1f} s, which the plan does not have")
    for words in _inexact(made):
        found.warnings.append(words)
    return {_who(m.begin, _urls(measured)) for m in made if m.fault.fault == "kill"}


def faults_made(measured: Measured) -> Iterator[Made]:
    """Each planned moment with the first fault of its kind that came from then on and belongs to no earlier one."""
    start_s = measured.steps[0].start_s
    for fault in dict.fromkeys(measured.cell.faults):
        mine = [e for e in measured.events if e.kind == FAULT and _is(e, fault)]
        begins = [e for e in mine if e.values.get("phase") == "begin"]
        ends = [e for e in mine if e.values.get("phase") == "end"]
        moments = fault.moments(measured.cell.windows_s)
        for moment_s, following_s in zip(moments, (*moments[1:], float("inf")), strict=True):
            at = {id(e): measured.driver_s(e) - start_s for e in mine}
            begin = next((e for e in begins if moment_s - SOONER_S <= at[id(e)] < following_s - SOONER_S), None)
            if begin is not None:
                ended_s = next((at[id(e)] for e in ends if at[id(e)] >= at[id(begin)]), None)
                yield Made(fault=fault, planned_s=moment_s, begin=begin, begun_s=at[id(begin)], ended_s=ended_s)


def _missing(measured: Measured, made: Sequence[Made]) -> Iterator[str]:
    """With what the last one that failed said."""
    done = {(m.fault, m.planned_s) for m in made}
    for fault in dict.fromkeys(measured.cell.faults):
        missing = [moment_s for moment_s in fault.moments(measured.cell.windows_s) if (fault, moment_s) not in done]
        said = [e.values.get("error") for e in measured.events if e.kind == FAULT and _is(e, fault) and e.values.get("phase") == "failed"]
        why = f": {said[-1]}" if said else ""
        if missing:
            times = ", ".join(f"{s:g} s" for s in missing)
            yield f"the planned {_name(fault.fault, fault.service)} at {times} did not happen{why}"


def made_of(cells: Sequence[Measured]) -> tuple[str, ...]:
    """A sentence for each planned fault, over all cells that got to their windows."""
    made = [m for cell in cells for m in faults_made(cell)]
    return tuple(_exactly(fault, [m for m in made if m.fault == fault]) for fault in dict.fromkeys(f for c in cells for f in c.cell.faults))


def _exactly(fault: TimedFault, made: Sequence[Made]) -> str:
    if not made:
        return f"{fault}: never made."
    late_ms = max(m.late_s for m in made) * 1e3
    lasted = sorted(fault.for_s + m.longer_s for m in made if m.longer_s is not None)
    how_long = f", lasted {lasted[0]:.3f} to {lasted[-1]:.3f} s" if lasted else ""
    times = "once" if len(made) == 1 else f"{len(made)} times"
    return f"{fault}: made {times}, begun at most {late_ms:.0f} ms late{how_long}."


def _begins(measured: Measured) -> Iterator[Event]:
    """Faults that somebody made while the windows ran."""
    first, last = measured.steps[0].start_s, measured.steps[-1].end_s
    for event in measured.events:
        if event.kind == FAULT and event.values.get("phase") == "begin" and first <= measured.driver_s(event) <= last:
            yield event


def _is(event: Event, fault: TimedFault) -> bool:
    return (event.values.get("fault"), event.service) == (fault.fault, fault.service)


def _inexact(made: Sequence[Made]) -> Iterator[str]:
    late = max(made, key=lambda m: m.late_s, default=None)
    if late is not None and late.late_s > LATE_LIMIT_S:
        name = _name(late.fault.fault, late.fault.service)
        yield f"the planned {name} at {late.planned_s:g} s began {late.late_s:.2f} s late; limit {LATE_LIMIT_S:g} s"
    for m in made:
        if m.longer_s is not None and abs(m.longer_s) > LONGER_LIMIT * m.fault.for_s:
            name = _name(m.fault.fault, m.fault.service)
            yield f"the planned {name} at {m.planned_s:g} s lasted {m.fault.for_s + m.longer_s:.2f} s, planned {m.fault.for_s:g} s"


def _name(fault: str, service: str) -> str:
    return f"{fault} of {service}" if service else fault


def _urls(measured: Measured) -> Mapping[object, object]:
    """URL -> instance: the activator knows instances by their URLs, the provider by its own names."""
    return {e.values["url"]: e.values.get("instance") for e in measured.events if e.kind == "ready" and "url" in e.values}


def _planned(event: Event, urls: Mapping[object, object], killed: Collection[Killed]) -> bool:
    """Whether it tells of what was killed as planned. On a cluster nobody tells the URLs of instances: there the activator, which tells an
    `error`, is believed to mean those of the service."""
    unknown = "error" in event.values and event.values.get("instance") not in urls
    return _who(event, urls) in killed or (unknown and event.service in {service for service, _ in killed})


def _who(event: Event, urls: Mapping[object, object]) -> Killed:
    instance = event.values.get("instance")
    return event.service, urls.get(instance, instance)


def _deaths(measured: Measured, plan: Plan, found: Findings, killed: Collection[Killed]) -> None:
    """Processes that died and starts that failed, from the warm-up on to the end of the last window; one that came between two windows
    belongs to the step before it, one of the warm-up to all. Not those that were `killed` as planned."""
    steps, judged = measured.steps, judged_rate(measured, plan)
    begin = steps[0].start_s - (measured.status.driver or {}).get("warmup_s", 0.0)
    urls = _urls(measured)
    seen: dict[tuple[int, str, str], dict[object, Event]] = {}
    for event in measured.events:
        at_s = measured.driver_s(event)
        if event.kind in FAILURES and begin <= at_s <= steps[-1].end_s and not _planned(event, urls, killed):
            place = sum(s.start_s <= at_s for s in steps)  # 0: before the first window
            of = seen.setdefault((place, event.kind, event.service), {})
            of.setdefault(_who(event, urls)[1] or at_s, event)  # provider and activator may both tell of one
    for (place, kind, service), of in sorted(seen.items()):
        at = placed(measured, steps[place - 1]) if place else "in the warm-up"
        times = f" {len(of)} times" if len(of) > 1 else ""
        why = next(filter(None, map(_why, of.values())), "")
        found.add(f"{at}: {service} {FAILURES[kind]}{times}{why}", not place or steps[place - 1].rate_per_s <= judged)


def _why(event: Event) -> str:
    code, error = event.values.get("exit"), event.values.get("error")
    return f" (exit code {code})" if code is not None else f" ({error})" if error else ""
