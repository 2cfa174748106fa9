"""What a load will do, and what its figures can tell: words for the plan, the terminal and the page."""

from __future__ import annotations

from lab.analysis.results import Group, Summary
from lab.model import Load, Stat
from lab.model.plan import CLOSED as CLOSED_KINDS
from lab.report import figures

CLOSED = "closed loop: hides waiting"
TELLS = {
    "ladder": "ladder: arrivals at rising rates, scheduled before the run; latency counts from the intended start.",
    "server": "server: arrivals at a given rate, scheduled before the run; latency counts from the intended start.",
    "burst": "burst: a rate with peaks, scheduled before the run; its mean stands for it.",
    "ramp": "ramp: a rate that grows or falls evenly, scheduled before the run; its mean stands for it.",
    "diurnal": "diurnal: a rate that follows the day, scheduled before the run; its mean stands for it.",
    "replay": "replay: arrivals at the recorded gaps of a trace, scheduled before the run; their mean rate stands for it.",
    "search": "search: each step is a probe; the held rate is the mean over deployments of the largest that held.",
    "single_stream": f"single_stream, {CLOSED}. One request in flight, the next is sent on the answer: its figures are service times.",
    "offline": f"offline, {CLOSED}. All requests at once, so many on the wire: throughput is the figure.",
}


def planned(load: Load) -> str:
    """One line for `lab plan`: windows, and how many requests are expected."""
    if load.search is not None:
        s = load.search
        ends = f"{s.lowest_per_s:g} to {s.highest_per_s:g} requests/s within x{s.precision:g}"
        return (
            f"search {ends}: {s.most_probes} probes at most x {load.window_s:g} s, {load.arrival}, p{s.percentile:g} <= {s.limit_ms:g} ms"
        )
    if load.closed and load.ends == "window":
        return f"{load.kind}: as many requests as fit into {load.window_s:g} s, {load.max_in_flight} at once"
    if load.closed:
        return f"{load.kind}: {load.requests} requests, {load.max_in_flight} at once, {load.window_s:g} s at most"
    expected = round(sum(load.rates_per_s) * load.window_s)
    if load.trace is not None:
        speed = f" at speed {load.trace.speed:g}" if load.trace.speed != 1 else ""
        return f"replay of {load.trace.file}{speed}: {expected} requests in {load.window_s:g} s"
    rates = ", ".join(f"{r:g}" for r in load.rates_per_s)
    if load.profile:
        ends = f"{min(r for _, r in load.profile):g} to {load.peak_per_s:g}"
        return f"{load.kind} {ends} requests/s, mean {rates}, x {load.window_s:g} s, {load.arrival}: about {expected} requests"
    name = "" if load.kind == "ladder" else f"{load.kind} "
    return f"{name}{rates} requests/s x {load.window_s:g} s, {load.arrival}: about {expected} requests"


def said(summary: Summary) -> tuple[str, ...]:
    """What the figures of this kind of load tell, and for each group what they found where that is not in the tables."""
    return (TELLS[summary.load_kind], *(words for group in summary.groups if (words := _found(summary, group))))


def _found(summary: Summary, group: Group) -> str:
    if group.search is not None:
        return f"{group.name}: {' '.join(group.search)}"
    step = group.steps[0] if group.steps else None
    if step is not None and summary.load_kind in CLOSED_KINDS:
        throughput = _figure("throughput", step.achieved_per_s)
        service = [_figure(f"service {name}", stat) for name, stat in step.service.items() if stat.value is not None]
        return f"{group.name}: {', '.join([throughput, *service] if summary.load_kind == 'offline' else [*service, throughput])}"
    if group.steps and summary.load_kind == "server":
        limit = f"p{summary.slo_percentile:g} within {summary.slo_ms:g} ms"
        each = (f"{'meets' if s.held else 'does not meet'} {limit} at {figures.per_second(s.rate_per_s)}" for s in group.steps)
        return f"{group.name}: {', '.join(each)}"
    return ""


def _figure(name: str, stat: Stat) -> str:
    made = figures.figure(stat)
    beside = made.why if figures.withheld(stat) else made.interval
    return f"{name} {made.text}{f' ({beside})' if beside else ''}"
