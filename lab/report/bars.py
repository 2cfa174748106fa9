"""Charts of bars: a waterfall, the phases of a cold start, the lines of a bill; nouns of a run go in, SVG text comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lab.analysis.results import CostAt, Group, Span
from lab.report import axes as style
from lab.report import figures, svg
from lab.report.axes import NORMAL, SMALL
from lab.report.palette import Look, colour, parts
from lab.report.table import usable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 1120
OTHERS = {"edge": "network, gateway", "host": "between the spans"}  # what lab.analysis.waterfall adds to the spans
SPAN_KINDS = ("stage", "hop", "store", "database", "queue", "cold", "batch", "other")
COLD_PHASES = ("queue", "spawn", "import", "open", "model", "first request")
COST_KINDS = ("compute", "requests", "storage", "egress", "shared_fixed", "idle")
COST_FILLS = ("compute", "requests", "idle", "egress", "storage", "queue", "shared_fixed", "other")
ROW = 25
VISIBLE = 0.008  # of the longest request: shorter spans are in the table only


def span_order(groups: Sequence[Group], visible_ms: float) -> list[tuple[str, str]]:
    """(kind, name) of all spans such that every group's own order is kept as far as the groups agree; those that nowhere last
    `visible_ms` are left out."""
    order: list[tuple[str, str]] = []
    seen = {(s.kind, s.name) for g in groups for s in g.waterfall if s.duration_ms >= visible_ms}
    for group in sorted(groups, key=lambda g: -len(g.waterfall)):
        after = 0
        for span in group.waterfall:
            key = (span.kind, span.name)
            if key not in seen:
                continue
            if key in order:
                after = order.index(key) + 1
            else:
                order.insert(after, key)
                after += 1
    return order


def waterfall(groups: Sequence[Group], looks: Mapping[str, Look], name: str) -> str:
    """One column per architecture, one row per span, all on the same scale: a stage stands at the same height everywhere, and what an
    architecture adds is a row that the others leave empty."""
    shown = [g for g in groups if usable(g) and g.waterfall]
    end = max(map(ends_at, shown), default=1.0)
    order = span_order(shown, VISIBLE * end)
    fills = span_fills(shown)
    left = 122
    width = (WIDTH - left) / max(1, len(shown))
    with svg.canvas(WIDTH, 74 + ROW * len(order)) as figure:
        for index, group in enumerate(shown):
            start = left + width * index
            axes = style.place(figure, start, 30, WIDTH - start - width + 26, 36)
            _waterfall_column(axes, group, order, fills, end)
            ends = figures.quantity(ends_at(group), "ms")
            axes.annotate(
                f"{style.clipped(group.name, 24)}  {ends}",
                (0, 1),
                (0, 14),
                xycoords="axes fraction",
                textcoords="offset points",
                color=looks[group.name].text,
                fontweight="bold",
                fontsize=NORMAL + 1,
            )
            if index:
                axes.tick_params(labelleft=False)
            else:
                style.ticks(axes.yaxis, range(len(order)), lambda row: style.clipped(span_label(*order[int(row)]), 17))
        totals = "; ".join(f"{g.name} {figures.quantity(ends_at(g), 'ms')}" for g in shown)
        return svg.text(figure, name, "Where the time of a median request goes", f"End of the last span: {totals or 'none'}.")


def _waterfall_column(axes: Axes, group: Group, order: Sequence[tuple[str, str]], fills: Mapping[str, str], end: float) -> None:
    axes.grid(False)
    axes.set_xlim(0, end * 1.22)
    axes.set_ylim(len(order) - 0.5, -0.5)
    style.few(axes.xaxis, 4, lambda v: f"{figures.plain(v)} ms" if v < end * 1.1 else "")  # no label at the edge of the next column
    axes.set_yticks([])
    rows = {key: row for row, key in enumerate(order)}
    for even in range(0, len(order), 2):
        axes.axhspan(even - 0.5, even + 0.5, color=colour("wash"), linewidth=0, alpha=0.6)
    for key, row in rows.items():
        spans = [s for s in group.waterfall if (s.kind, s.name) == key]
        for span in spans:
            axes.barh(row, max(span.duration_ms, end * 0.004), left=span.start_ms, height=0.62, color=fills[span.kind], linewidth=0)
        if spans:
            at = (max(s.start_ms + s.duration_ms for s in spans), row)
            words = " + ".join(map(_span_words, spans))
            axes.annotate(words, at, (4, 0), textcoords="offset points", va="center", fontsize=SMALL)


def _span_words(span: Span) -> str:
    times = f" ×{figures.number(span.count, 2)}" if abs(span.count - 1) > 0.05 else ""
    return f"{figures.number(span.duration_ms, 2)}{times}"


def cold(groups: Sequence[Group], name: str) -> str:
    """The phases of a cold start end to end, in ms; segments too small to be named are named in the table."""
    shown = [g for g in groups if usable(g) and g.cold_phases_ms]
    fills = phase_fills(shown)
    rows = [(g.name, figures.figure(g.cold_ms).text, [(p, g.cold_phases_ms.get(p, 0.0)) for p in fills]) for g in shown]
    with svg.canvas(WIDTH, 66 + 52 * len(rows)) as figure:
        axes = style.place(figure, 128, 42, 70, 10)
        _stacks(axes, rows, fills, lambda v: figures.quantity(v, "ms"))
        style.name(axes, "ms from the request that found nothing running", "")
        said = "; ".join(f"{n}: " + ", ".join(f"{p} {figures.quantity(v, 'ms')}" for p, v in segments) for n, _, segments in rows)
        return svg.text(figure, name, "Phases of a cold start", said or "No cold start was measured.")


def bill(at: Sequence[CostAt], name: str) -> str:
    """USD per month at one traffic, by kind of cost: above allocation, below usage. No prices of grade C, as in every headline."""
    fills = bill_fills([line.kind for a in at for line in a.lines])
    rows = []
    for cost in at:
        counted = [line for line in cost.lines if line.grade != "C"]
        for basis in ("allocation", "usage"):
            label = f"{style.clipped(cost.group, 15)}\n{basis}" if basis == "allocation" else basis
            total = cost.month_allocation if basis == "allocation" else cost.month_usage
            rows.append(
                (
                    label,
                    figures.figure(total).text,
                    [(k, sum(getattr(i, f"{basis}_usd") for i in counted if i.kind == k)) for k in fills],
                )
            )
    with svg.canvas(380, 58 + 30 * len(rows)) as figure:
        axes = style.place(figure, 100, 40, 58, 8)
        _stacks(axes, rows, fills, figures.money, named=False)
        style.name(axes, "USD per month", "")
        totals = "; ".join(f"{a.group} {figures.figure(a.month_allocation).text} allocated" for a in at)
        return svg.text(figure, name, "What a month costs, line by line", totals + ".")


def bill_fills(kinds: Sequence[str]) -> dict[str, str]:
    """kind of cost -> colour, in the order of the stack."""
    fills = parts(kinds, COST_FILLS)
    return {kind: fills[kind] for kind in [*COST_KINDS, *sorted(set(kinds) - set(COST_KINDS))] if kind in kinds}


def span_label(kind: str, name: str) -> str:
    """What a row of the waterfall is called: a hop by its target, what is not a stage with its kind."""
    if kind == "hop":
        return f"→ {name.removeprefix('→ ')}"
    return OTHERS.get(name, name) if kind in ("stage", "other", name) else f"{kind} {name}"


def ends_at(group: Group) -> float:
    return max(s.start_ms + s.duration_ms for s in group.waterfall)


def span_fills(groups: Sequence[Group]) -> dict[str, str]:
    """kind of span -> colour, of those that can be seen."""
    kinds = {kind for kind, _ in span_order(groups, VISIBLE * max(map(ends_at, groups), default=1.0))}
    return {kind: fill for kind, fill in parts(kinds, SPAN_KINDS).items() if kind in kinds}


def cold_phase_order(groups: Sequence[Group]) -> list[str]:
    """All phases that occur, in order of time; those that are not known stand before the first request."""
    found = {p for g in groups for p in g.cold_phases_ms}
    known = {name: index for index, name in enumerate(COLD_PHASES)}
    return sorted(found, key=lambda p: (known.get(figures.metric(p), len(known) - 1.5), p))


def phase_fills(groups: Sequence[Group]) -> dict[str, str]:
    """phase of a cold start -> colour, in order of time."""
    phases = cold_phase_order(groups)
    return parts(phases, phases)


Rows = Sequence[tuple[str, str, Sequence[tuple[str, float]]]]  # of a stack: its label, its total as text, (kind, value) from left to right


def _stacks(axes: Axes, rows: Rows, fills: Mapping[str, str], write: Callable[[float], str], named: bool = True) -> None:
    """Horizontal stacks with their sum at the end; a segment wide enough carries its name and figure if `named`."""
    axes.grid(False)
    end = max([sum(v for _, v in segments) for _, _, segments in rows] + [1e-9])
    for row, (_, total, segments) in enumerate(rows):
        left = 0.0
        for kind, value in segments:
            axes.barh(row, value, left=left, height=0.6, color=fills[kind], edgecolor=colour("page"), linewidth=1 if value else 0)
            if named and value > 0.07 * end:
                axes.annotate(
                    f"{figures.metric(kind)}\n{write(value)}",
                    (left + value / 2, row),
                    ha="center",
                    va="center",
                    fontsize=SMALL,
                    color=colour("on"),
                )
            left += value
        axes.annotate(total, (left, row), (6, 0), textcoords="offset points", va="center", fontsize=SMALL, fontweight="bold")
    axes.set_xlim(0, end)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    style.few(axes.xaxis, 4)
    style.ticks(axes.yaxis, range(len(rows)), lambda row: rows[int(row)][0])
