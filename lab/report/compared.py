"""The tables of comparison.json: costs and the lines behind them, break-even points, effects, shares of cloud draws."""

from __future__ import annotations

from collections.abc import Sequence

from lab.analysis.results import Comparison, CostAt, Costs, Curve, Summary
from lab.model import Stat
from lab.report import figures
from lab.report.cloud import draws
from lab.report.figures import DASH
from lab.report.table import Row, Table, TableCell, asked, cell, columns, shown, words


def cost_curves(costs: Costs, names: Sequence[str], name: str) -> Table:
    curves = {n: costs.curves[n] for n in names if n in costs.curves}
    xs = sorted({x for curve in curves.values() for x in curve.x})
    rows = [Row(cells=(asked(x), *(_amount(curve, x) for curve in curves.values()))) for x in xs]
    return Table(
        name=name,
        caption=f"USD per month by traffic, allocation, cpu_scale {figures.plain(costs.cpu_scale)}",
        columns=columns("traffic", *curves),
        rows=tuple(rows),
        source="comparison.json /costs/curves",
    )


def _amount(curve: Curve, x: float) -> TableCell:
    if x not in curve.x:
        return TableCell(text=DASH, why="not computed at this traffic")
    i = curve.x.index(x)
    between = f"{figures.money(curve.low[i])}–{figures.money(curve.high[i])}" if curve.low and curve.high else ""
    return TableCell(text=figures.money(curve.y[i]), interval=between, basis="priced")


def monthly(summary: Summary, costs: Costs) -> Table:
    """Both bases at every traffic: no figure per million without its monthly traffic."""
    rows = []
    by_name = {g.name: g for g in summary.groups}
    absent = Stat.missing("USD", "not computed", basis="priced")
    both_bases = any(at.per_1000_correct_usage for at in costs.at)
    for index, at in _by_traffic(costs):
        group = by_name.get(at.group)
        source = f"comparison.json /costs/at/{index}"
        names = ("month_allocation", "month_usage", "per_million_allocation", "per_million_usage", "per_1000_correct_allocation")
        stats: list[tuple[Stat, str]] = [(getattr(at, n), f"{source}/{n}") for n in names]
        if both_bases:
            stats.append((at.per_1000_correct_usage or absent, f"{source}/per_1000_correct_usage"))
        made = [cell(shown(group, s) if group else s, where) for s, where in stats]
        counted = ", ".join(f"{figures.plain(n)} {s}" for s, n in at.replicas.items()) or "on demand"
        why = at.month_allocation.why_missing
        replicas = TableCell(text=DASH if why else counted, why=why)
        rows.append(Row(cells=(asked(at.traffic_per_s), words(at.group, source), *made, replicas)))
    heads = ("traffic", "<architecture", "month, allocation", "month, usage", "per 1M, allocation", "per 1M, usage")
    return Table(
        name="monthly",
        caption=f"What it costs, cpu_scale {figures.plain(costs.cpu_scale)}",
        columns=columns(*heads, "per 1,000 correct, allocation", *(["per 1,000 correct, usage"] if both_bases else []), "<replicas"),
        rows=tuple(rows),
        source="comparison.json /costs/at",
    )


def _by_traffic(costs: Costs) -> list[tuple[int, CostAt]]:
    """With the index in the file; groups at one traffic stand together."""
    return sorted(enumerate(costs.at), key=lambda pair: pair[1].traffic_per_s)


def bill_variants(costs: Costs) -> Table:
    """The same month under other rules of counting, on the allocation basis."""
    rows = []
    absent = Stat.missing("USD", "not computed", basis="priced")
    for index, at in _by_traffic(costs):
        names = ("month_allocation", "month_all_grades", "month_free_tier", "month_without_shared")
        made = [cell(getattr(at, n) or absent, f"comparison.json /costs/at/{index}/{n}") for n in names]
        rows.append(Row(cells=(asked(at.traffic_per_s), words(at.group), *made)))
    return Table(
        name="bill-variants",
        caption="The same month, counted differently (allocation)",
        columns=columns("traffic", "<architecture", "headline", "with grade C", "with the free tier", "without what all share"),
        rows=tuple(rows),
        source="comparison.json /costs/at",
    )


def cost_lines(at_traffic: Sequence[CostAt], cpu_scale: float, name: str) -> Table:
    rows = []
    for at in at_traffic:
        for line in at.lines:
            amounts = [TableCell(text=figures.money(v), basis="priced") for v in (line.allocation_usd, line.usage_usd)]
            price = words(f"{line.grade}, {line.as_of}")
            cells = (words(at.group), asked(at.traffic_per_s), words(line.kind.replace("_", " ")), words(line.service), *amounts)
            rows.append(Row(cells=(*cells, words(line.sku), price, words(line.source)), series=at.group))
    return Table(
        name=name,
        caption=f"Every line of the bill per month, cpu_scale {figures.plain(cpu_scale)}",
        columns=columns(
            "<architecture", "traffic", "<kind", "<service", "allocation", "usage", "<what is bought", "<grade, date", "<source"
        ),
        rows=tuple(rows),
        source="comparison.json /costs/at/*/lines",
    )


def break_evens(costs: Costs) -> Table:
    rows = []
    free = Stat.missing("1/s", "no function is in it, or the order is another", basis="priced")
    drawn = Stat.missing("1/s", "not computed", basis="modelled")
    for index, b in enumerate(costs.break_even):
        at = f"comparison.json /costs/break_even/{index}"
        said = b.sentence or (f"{b.always} is always cheaper" if b.always else "")
        stats = ((b.traffic_per_s, "traffic_per_s"), (b.in_cloud or drawn, "in_cloud"), (b.with_free_tier or free, "with_free_tier"))
        cells = (words(b.cheaper_below), words(b.other), *(cell(stat, f"{at}/{name}") for stat, name in stats), words(said))
        rows.append(Row(cells=cells))
    heads = ("<costs less below", "<than", "traffic, as measured here", "over the cloud ranges", "with the free tier", "<in words")
    return Table(
        name="break-even",
        caption="Where the cheaper one changes",
        columns=columns(*heads),
        rows=tuple(rows),
        source="comparison.json /costs/break_even",
    )


def effects(comparison: Comparison) -> Table:
    rows = []
    for index, e in enumerate(comparison.effects):
        ratio = cell(e.ratio, f"comparison.json /effects/{index}/ratio")
        cells = (words(figures.metric(e.metric)), words(e.b), words(e.a), ratio, words(e.verdict), words(e.reason))
        rows.append(Row(cells=cells))
    return Table(
        name="effects",
        caption="How much they differ here",
        columns=columns("<metric", "<this one", "<over that one", "ratio", "<verdict", "<why"),
        rows=tuple(rows),
        source="comparison.json /effects",
    )


def shares(comparison: Comparison) -> Table:
    rows = []
    for index, r in enumerate(comparison.rankings):
        drawn = " · ".join(f"{name} {draws(value)}" for name, value in sorted(r.shares.items(), key=lambda share: -share[1]))
        source = f"comparison.json /rankings/{index}"
        pair = words(f"{r.a}, {r.b}", source)
        share = words(drawn) if drawn else TableCell(text=DASH, why=r.sentence or "no draws were made")
        rows.append(Row(cells=(words(figures.metric(r.metric)), pair, share, words(r.status), words(r.flip_at), words(r.sentence))))
    return Table(
        name="shares",
        caption="Share of cloud draws by winner",
        columns=columns("<metric", "<pair", "<wins", "<status", "<flips at", "<sentence"),
        rows=tuple(rows),
        source="comparison.json /rankings",
    )
