"""The tables behind the charts of a summary, and those of starts, options, operations, counts and floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.analysis.results import Curve, Group, Summary
from lab.model import Stat
from lab.report import figures
from lab.report.bars import cold_phase_order
from lab.report.figures import DASH
from lab.report.table import INVALID, Row, Table, TableCell, asked, cell, chosen, columns, given, shown, usable, words
from lab.report.tables import PERCENTILES, option


def latency_points(groups: Sequence[Group], name: str) -> Table:
    rows = []
    for group in filter(usable, groups):
        for step in group.steps:
            latency = [cell(step.latency[p], f"{p} at {figures.per_second(step.rate_per_s)}") for p in PERCENTILES if p in step.latency]
            cells = (words(group.name), asked(step.rate_per_s), cell(step.achieved_per_s, "achieved_per_s"), *latency)
            rows.append(Row(cells=cells, series=group.name))
    kept = [p for p in PERCENTILES if any(p in s.latency for g in groups for s in g.steps)]
    return Table(
        name=name,
        caption="Throughput and latency, as drawn",
        columns=columns("<architecture", "asked", "achieved", *kept),
        rows=tuple(rows),
        source="summary.json /groups/*/steps",
    )


def percentiles(picked: Mapping[str, Curve], name: str) -> Table:
    quantiles = sorted({x for curve in picked.values() for x in curve.x})
    why = "the sample does not support this percentile"
    rows = []
    for q in quantiles:
        found = [given(c.y[c.x.index(q)] if q in c.x else None, "ms", why) for c in picked.values()]
        rows.append(Row(cells=(words(f"p{figures.plain(round(q * 100, 6))}"), *found)))
    return Table(
        name=name,
        caption="Latency percentiles at the primary rate",
        columns=columns("<percentile", *picked),
        rows=tuple(rows),
        source="summary.json /groups/*/steps/*/percentiles, from cells/*/samples.parquet",
    )


def waterfalls(groups: Sequence[Group], name: str) -> Table:
    rows = []
    for group in filter(usable, groups):
        for span in group.waterfall:
            rows.append(
                Row(
                    cells=(
                        words(group.name),
                        words(span.name),
                        words(span.kind),
                        words(span.service),
                        given(span.start_ms, "ms"),
                        given(span.duration_ms, "ms"),
                        given(span.count),
                    ),
                    series=group.name,
                )
            )
    return Table(
        name=name,
        caption="One median request, span by span",
        columns=columns("<architecture", "<span", "<kind", "<service", "start", "duration", "per request"),
        rows=tuple(rows),
        source="summary.json /groups/*/waterfall, from the Server-Timing header in cells/*/samples.parquet",
    )


def timeline(group: Group, name: str) -> Table:
    services = sorted({s for point in group.timeline for s in point.instances})
    rows = []
    for p in group.timeline:
        latency = given(p.p50_ms, "ms", "no request was answered in this second")
        counts = [given(p.instances.get(s), "", "not counted in this second") for s in services]
        rates = (given(p.offered_per_s, "/s"), given(p.completed_per_s, "/s"))
        happened = words(_happened(group, p.at_s))
        rows.append(Row(cells=(chosen(p.at_s, "s"), *rates, latency, given(p.errors), *counts, happened)))
    return Table(
        name=name,
        caption=f"{group.name}, second by second",
        columns=columns("time", "offered", "completed", "p50", "errors", *(f"instances of {s}" for s in services), "<events"),
        rows=tuple(rows),
        source="summary.json /groups/*/timeline, from cells/*/samples.parquet and events.jsonl",
    )


def _happened(group: Group, second: float) -> str:
    """What happened within one second from `second`."""
    found = [e for e in group.events if isinstance(at := e.get("at_s"), (int, float)) and second <= at < second + 1]
    return ", ".join(f"{str(e.get('kind', 'event')).replace('_', ' ')} {e.get('service', '')}".strip() for e in found)


def cold_phases(groups: Sequence[Group], name: str) -> Table:
    phases = cold_phase_order(groups)
    rows = []
    for group in groups:
        parts = [given(group.cold_phases_ms.get(p), "ms", "this phase does not occur here") for p in phases]
        rows.append(Row(cells=(words(group.name), cell(shown(group, group.cold_ms), "cold_ms"), *parts), series=group.name))
    return Table(
        name=name,
        caption="A cold start, phase by phase",
        columns=columns("<architecture", "cold request", *map(figures.metric, phases)),
        rows=tuple(rows),
        source="summary.json /groups/*/cold_ms and cold_phases_ms, from cells/*/events.jsonl and samples.parquet",
    )


def starts(summary: Summary) -> Table:
    rows = []
    for index, g in enumerate(summary.groups):
        at = f"summary.json /groups/{index}"
        cells = (words(g.name, at), cell(shown(g, g.ready_s), f"{at}/ready_s"), cell(shown(g, g.cold_ms), f"{at}/cold_ms"))
        rows.append(Row(cells=cells, series=g.name))
    return Table(
        name="starts",
        caption="How fast they start",
        columns=columns("<architecture", "all that always runs ready after", "request that found nothing running"),
        rows=tuple(rows),
        source="summary.json /groups/*/ready_s and cold_ms, from cells/*/status.json and samples.parquet",
    )


def options(summary: Summary) -> Table:
    """Every option of every group; strong where others of the same architecture have another value."""
    rows = []
    for index, g in enumerate(summary.groups):
        beside = [o.options for o in summary.groups if o.architecture == g.architecture]
        for name, value in g.options.items():
            differs = any(name in o and o[name] != value for o in beside)
            cells = (words(g.name), words(name, f"summary.json /groups/{index}/options/{name}"), words(option(value)))
            rows.append(Row(cells=cells, strong=differs, series=g.name))
    return Table(
        name="options",
        caption="Options of each architecture",
        columns=columns("<architecture", "<option", "<value"),
        rows=tuple(rows),
        source="summary.json /groups/*/options, from plan.json. Bold where others of the same architecture have another value",
    )


def operations(summary: Summary) -> Table:
    """Median of every operation, and the primary metric of every deployment, step by step."""
    names = list(dict.fromkeys(n for g in summary.groups for s in g.steps for n in s.by_operation))
    rows = []
    for index, group in enumerate(summary.groups):
        for number, step in enumerate(group.steps):
            at = f"summary.json /groups/{index}/steps/{number}"
            absent = Stat.missing("ms", "this operation was not asked for")
            each = [cell(shown(group, step.by_operation.get(n, absent)), f"{at}/by_operation/{n}") for n in names]
            drawn = " · ".join(figures.number(v) for v in step.per_deployment_ms) if usable(group) else ""
            why = "a deployment alone does not support it" if usable(group) else INVALID
            spread = TableCell(text=drawn or DASH, why="" if drawn else why, source=f"{at}/per_deployment_ms")
            rows.append(Row(cells=(words(group.name, at), asked(step.rate_per_s), *each, spread), series=group.name))
    return Table(
        name="operations",
        caption="By operation (p50), and by deployment",
        columns=columns("<architecture", "asked", *names, f"{figures.metric(summary.primary_metric)} of each deployment, ms"),
        rows=tuple(rows),
        source="summary.json /groups/*/steps",
    )


def counts(summary: Summary) -> Table:
    rows = []
    for index, g in enumerate(summary.groups):
        c, at = g.counts, f"summary.json /groups/{index}/counts"
        numbers = [
            given(None if c.why_missing else v, "", c.why_missing, at) for v in (c.hops, c.store_writes, c.store_reads, c.database_trips)
        ]
        moved = [given(v if usable(g) else None, "B", INVALID, at) for v in (c.bytes_in, c.bytes_out)]
        why = c.why_missing or "there is none in one request"
        local = [given(v, "ms", why, at) for v in (c.hop_ms, c.store_ms, c.database_ms)]
        rows.append(Row(cells=(words(g.name, at), *numbers, *moved, *local), series=g.name))
    heads = ("<architecture", "hops", "store writes", "store reads", "database trips", "bytes in", "bytes out")
    return Table(
        name="counts",
        caption="What one request does",
        columns=columns(*heads, "one hop here", "one store operation here", "one database trip here"),
        rows=tuple(rows),
        source="summary.json /groups/*/counts",
    )


def floors(summary: Summary) -> Table:
    driving, absent = summary.driving, Stat.missing("ms", "the scenario does not measure the floor")
    measured = [("", summary.floor_driver_ms, summary.floor_path_ms, "floor_driver_ms", "floor_path_ms")]
    if driving and driving.other:
        elsewhere = driving.other_floor_driver_ms, driving.other_floor_path_ms
        measured[0] = (f"{driving.place}: ", *measured[0][1:])
        measured.append((f"{driving.other}: ", *elsewhere, "driving/other_floor_driver_ms", "driving/other_floor_path_ms"))
    rows = []
    for place, driver_ms, path_ms, *sources in measured:
        labels = (f"{place}driver + fake provider", f"{place}driver + noop on the real provider")
        for label, values, source in zip(labels, (driver_ms, path_ms), sources, strict=True):
            rows.append(Row(cells=(words(label), *(cell(values.get(p, absent), f"summary.json /{source}/{p}") for p in ("p50", "p99")))))
    return Table(
        name="floors",
        caption="The floor of the instrument",
        columns=columns("<floor of", "p50", "p99"),
        rows=tuple(rows),
        source="summary.json /floor_driver_ms, /floor_path_ms and /driving",
    )
