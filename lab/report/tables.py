"""The first tables of a run, made from its summary: the headline, every step of the ladder, every service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lab.analysis.results import Comparison, CostAt, Group, ServiceFigures, StepFigures, Summary
from lab.analysis.transfer import cost_metric
from lab.model import Stat
from lab.report import cloud, figures, load
from lab.report.figures import DASH
from lab.report.table import INVALID, Row, Table, TableCell, cell, chosen, columns, given, shown, usable, words

PERCENTILES = ("p50", "p95", "p99")


def primary_step(summary: Summary, group: Group) -> tuple[int, StepFigures] | None:
    """The step of the ladder that is nearest to the primary rate, with its index."""
    steps = list(enumerate(group.steps))
    return min(steps, key=lambda pair: abs(pair[1].rate_per_s - summary.primary_rate_per_s)) if steps else None


def cost_at(comparison: Comparison | None, group: Group, rate: float) -> tuple[int, CostAt] | None:
    """The costs of `group` at the monthly traffic of `rate`, with their index."""
    found = enumerate(comparison.costs.at if comparison and comparison.costs else ())
    return next(((i, at) for i, at in found if at.group == group.name and at.traffic_per_s == rate), None)


def latencies(values: object, wanted: Sequence[str] = PERCENTILES) -> list[Stat]:
    """Figures by percentile; one that is absent says so."""
    assert hasattr(values, "get")
    return [values.get(p) or Stat.missing("ms", f"{p} was not computed") for p in wanted]


def headline(summary: Summary, comparison: Comparison | None) -> Table:
    """One row per group at the primary rate: the table of the first screen and of report.md."""
    rate = figures.per_second(summary.primary_rate_per_s)
    traffic = summary.traffic_per_s if comparison and comparison.costs else ()
    million = [f"$ per 1M at {figures.per_second(t)}" for t in traffic]
    first = cloud.winners(comparison)
    rows = []
    for index, group in enumerate(summary.groups):
        at = f"summary.json /groups/{index}"
        rows.append(Row(cells=(*_headline(summary, group, at, first), *_million(comparison, group, traffic, first)), series=group.name))
    heads = ("<architecture", "held rate", "p50", "p95", "p99", "service p50", "errors", "wrong", "CPU architecture", "CPU platform")
    return Table(
        name="headline",
        caption=f"At {rate}, latency from the intended start" if summary.primary_rate_per_s else f"At {rate}: {load.CLOSED}",
        columns=columns(*heads, "memory", "cold start", *million),
        rows=tuple(rows),
        source="summary.json /groups/*" + (", comparison.json /costs/at" if traffic else ""),
        remarks=(
            "CPU is CPU-ms per request. The held rate is the highest whose errors, rate and latency were within the limits.",
            *(["Bold: first of its column, and that holds over the cloud ranges."] if first else []),
        ),
    )


def _headline(summary: Summary, group: Group, at: str, first: set[tuple[str, str]]) -> list[TableCell]:
    valid = f"{group.valid_deployments} of {group.deployments} deployments valid" if group.valid_deployments < group.deployments else ""
    name = TableCell(text=group.name, interval="; ".join(filter(None, (own_options(summary, group), valid))), source=at)
    found = primary_step(summary, group)
    cells = [name, _held(shown(group, group.held_rate_per_s), f"{at}/held_rate_per_s")]
    if found is None:
        cells += [TableCell(text=DASH, why="no step of the ladder was run" if usable(group) else INVALID) for _ in range(8)]
    else:
        made = step_cells(group, found[1], f"{at}/steps/{found[0]}")
        count = len(PERCENTILES)
        best = [(f"{p}_ms", group.name) in first for p in PERCENTILES]
        cells += [replace(c, best=b and not c.missing) for c, b in zip(made[:count], best, strict=True)] + made[count:]
    cells.append(cell(shown(group, group.memory_mib), f"{at}/memory_mib"))
    cells.append(cell(shown(group, group.cold_ms), f"{at}/cold_ms"))
    return cells


def held(stat: Stat) -> str:
    """Without its unit: a rate as it was asked for, or the mean of several."""
    assert stat.value is not None
    rate = figures.number(stat.value) if _searched(stat) else figures.plain(round(stat.value, 6))
    return f"{'≥ ' if stat.low is not None and stat.high is None else ''}{rate}"


def own_options(summary: Summary, group: Group) -> str:
    """The options by which it differs from others of its architecture: "batch_max 8"."""
    beside = [g.options for g in summary.groups if g.architecture == group.architecture and g.name != group.name]
    differ = [k for k, v in group.options.items() if any(k in o and o[k] != v for o in beside)]
    return ", ".join(f"{k} {option(group.options[k])}" for k in differ)


def option(value: str | int | float | bool | None) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "on", False: "off", None: "none"}[value]
    return figures.plain(value) if isinstance(value, (int, float)) else value


def _held(stat: Stat, source: str) -> TableCell:
    """The highest rate that held, ≥ where all that were asked did; its upper end is the lowest rate that did not. Of a search the mean
    over deployments with its interval."""
    made = figures.figure(stat)
    if stat.value is not None:
        made = replace(made, bare=held(stat))
    failed = f"{figures.plain(stat.high)} did not" if stat.value is not None and stat.high not in (None, stat.value) else ""
    beside = made.interval if _searched(stat) else failed
    return TableCell(text=made.bare, unit=made.unit, interval=beside, basis=made.basis, source=source, why=made.why, n=made.n)


def _searched(stat: Stat) -> bool:
    """The lower end of a ladder's is the rate itself."""
    return stat.low is not None and stat.low != stat.value


def step_cells(group: Group, step: StepFigures, at: str) -> list[TableCell]:
    """p50, p95, p99, service p50, errors, wrong, CPU of architecture and platform."""
    figures_at = [(stat, f"{at}/latency/{p}") for stat, p in zip(latencies(step.latency), PERCENTILES, strict=True)]
    figures_at.append((latencies(step.service, ("p50",))[0], f"{at}/service/p50"))
    for name in ("error_rate", "wrong_rate", "cpu_ms_architecture", "cpu_ms_platform"):
        figures_at.append((getattr(step, name), f"{at}/{name}"))
    return [cell(shown(group, stat), source) for stat, source in figures_at]


def _million(comparison: Comparison | None, group: Group, traffic: Sequence[float], first: set[tuple[str, str]]) -> list[TableCell]:
    cells = []
    for rate in traffic:
        found = cost_at(comparison, group, rate)
        if found is None:
            cells.append(TableCell(text=DASH, basis="priced", why="no cost was computed here"))
        else:
            source = f"comparison.json /costs/at/{found[0]}/per_million_allocation"
            made = cell(shown(group, found[1].per_million_allocation), source)
            cells.append(replace(made, best=(cost_metric(rate), group.name) in first and not made.why))
    return cells


def ladder(summary: Summary) -> Table:
    """Every step of every group."""
    rows = []
    for index, group in enumerate(summary.groups):
        for number, step in enumerate(group.steps):
            at = f"summary.json /groups/{index}/steps/{number}"
            held = "yes" if step.held else "no" if step.rate_per_s else "not asked"
            cells = [words(group.name, at), cell(shown(group, step.offered_per_s), f"{at}/offered_per_s")]
            cells.append(cell(shown(group, step.achieved_per_s), f"{at}/achieved_per_s"))
            cells.append(
                TableCell(text=held, source=f"{at}/held") if usable(group) else TableCell(text=DASH, why=INVALID, source=f"{at}/held")
            )
            cells += step_cells(group, step, at)
            cells.append(cell(shown(group, step.utilisation), f"{at}/utilisation"))
            cells.append(cell(shown(group, step.lag_p99_ms), f"{at}/lag_p99_ms"))
            rows.append(Row(cells=tuple(cells), strong=step.rate_per_s == summary.primary_rate_per_s, series=group.name))
    heads = ("<architecture", "offered", "achieved", "<held", "p50", "p95", "p99", "service p50", "errors", "wrong")
    return Table(
        name="ladder",
        caption="Every step of the ladder",
        columns=columns(*heads, "CPU architecture", "CPU platform", "CPU of the budget", "driver lag p99"),
        rows=tuple(rows),
        source="summary.json /groups/*/steps, from cells/*/samples.parquet and cells/*/usage.jsonl",
    )


def scaled_by(s: ServiceFigures, at: str = "") -> TableCell:
    """hpa, with the fewest and the most instances that were seen in the windows; none where their number is fixed."""
    if not s.scaler:
        return words("none", at)
    r = s.replicas
    ends = list(dict.fromkeys(map(figures.plain, (min(r.low), max(r.high))))) if r and r.low else []
    seen = f"{' to '.join(ends)} instance{'' if ends[-1] == '1' else 's'}" if ends else "not seen"
    return TableCell(text=s.scaler, interval=seen, source=f"{at}/replicas")


def services(summary: Summary) -> Table:
    rows = []
    for index, group in enumerate(summary.groups):
        for number, s in enumerate(group.services):
            at = f"summary.json /groups/{index}/services/{number}"
            none = "not billed by the call"
            open_ended = "no limit is configured"
            cells = (
                words(group.name, at),
                words(s.service),
                words(s.tier),
                words(s.billing),
                scaled_by(s, at),
                given(s.instances, source=f"{at}/instances"),
                cell(shown(group, s.cpu_ms_per_request), f"{at}/cpu_ms_per_request"),
                cell(shown(group, s.memory_mib), f"{at}/memory_mib"),
                chosen(s.memory_configured_mib or None, "MiB", f"{at}/memory_configured_mib", open_ended),
                chosen(round(s.cpus_configured, 3) or None, "vCPU", f"{at}/cpus_configured", open_ended),
                cell(shown(group, s.start_s), f"{at}/start_s"),
                given(s.invocations_per_request, "", none, f"{at}/invocations_per_request"),
                given(s.billed_ms_per_request, "ms", none, f"{at}/billed_ms_per_request"),
            )
            rows.append(Row(cells=cells, series=group.name))
    heads = ("<architecture", "<service", "<tier", "<billed as", "<scaled by", "instances", "CPU per request", "memory")
    return Table(
        name="services",
        caption="Every service at the primary rate",
        columns=columns(*heads, "memory configured", "CPU configured", "start", "calls per request", "billed per request"),
        rows=tuple(rows),
        source="summary.json /groups/*/services, from cells/*/usage.jsonl, events.jsonl and status.json",
    )
