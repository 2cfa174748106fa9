"""Charts of lines: throughput and latency, cost and traffic, percentiles, a timeline; nouns of a run go in, SVG text comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log10
from typing import TYPE_CHECKING

from lab.analysis.results import BreakEven, Costs, Curve, Group, StepFigures, Summary
from lab.report import axes as style
from lab.report import figures, svg
from lab.report.axes import SMALL, EndLabel
from lab.report.cloud import break_even
from lab.report.palette import Look, colour
from lab.report.table import usable
from lab.report.tables import primary_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 560, 380
NARROW = 370  # of charts that stand three in a row
FAR = 2.5  # times the highest latency drawn: an SLO above is not drawn as a line
ROOM = 126  # right of the axes, for the names of lines


def headline_percentile(summary: Summary) -> str:
    """The percentile that the primary metric is about: p50 for p50_ms."""
    name = figures.metric(summary.primary_metric)
    return name if name.startswith("p") and name[1:].isdigit() else "p50"


def throughput(groups: Sequence[Group], looks: Mapping[str, Look], summary: Summary, name: str) -> str:
    """Achieved rate against latency: the primary percentile with its band where it has an interval, the SLO's percentile thinner, the SLO
    as a line. Hollow markers are steps that did not hold."""
    main, tail = headline_percentile(summary), figures.percentile(summary.slo_percentile)
    with svg.canvas(WIDTH, HEIGHT) as figure:
        axes = style.place(figure, 46, 44, ROOM, 34)
        style.logarithmic(axes.yaxis)
        labels = []
        for group in filter(usable, groups):
            look = looks[group.name]
            labels += _latency_line(axes, group.steps, main, look, group.name, strong=True)
            if tail != main:
                labels += _latency_line(axes, group.steps, tail, look, tail, strong=False)
        style.few(axes.xaxis, 6)
        axes.set_xlim(left=0)
        axes.margins(x=0.04, y=0.08)
        if summary.slo_ms > 0:
            _slo(axes, summary, bool(labels))
        style.refine(axes.yaxis)
        style.name(axes, "achieved, requests/s", "latency, ms (log scale)")
        style.label_ends(axes, labels)
        return svg.text(figure, name, "Throughput against latency", latency_words(groups, main))


def _latency_line(axes: Axes, steps: Sequence[StepFigures], percentile: str, look: Look, label: str, strong: bool) -> list[EndLabel]:
    points = []
    for step in steps:
        latency = step.latency.get(percentile)
        if latency is not None and latency.value is not None and step.achieved_per_s.value is not None:
            low, high = (float("nan") if end is None else end for end in (latency.low, latency.high))  # no band where there is no interval
            points.append((step.achieved_per_s.value, latency.value, low, high, step.held))
    if not points:
        return []
    xs, ys, lows, highs, helds = zip(*points, strict=True)
    width = 2.2 if strong else 1.1
    axes.plot(xs, ys, color=look.line, linewidth=width, linestyle=look.dash if strong else (0, (1.5, 2)))
    if strong:
        axes.fill_between(xs, lows, highs, color=look.line, alpha=0.16, linewidth=0)
        axes.vlines(xs, lows, highs, color=look.line, linewidth=1.2)
        for x, y, held in zip(xs, ys, helds, strict=True):
            fill = look.line if held else colour("page")
            axes.plot([x], [y], look.marker, color=look.line, markersize=7, markerfacecolor=fill, markeredgewidth=1.8)
    return [EndLabel(y=ys[-1], text=label, colour=look.text, weight="bold" if strong else "normal")]


def _slo(axes: Axes, summary: Summary, drawn: bool) -> None:
    """As a line; only in words where a line that far above everything drawn would flatten it."""
    words = f"SLO: {figures.percentile(summary.slo_percentile)} within {figures.quantity(summary.slo_ms, 'ms')}"
    low, high = axes.get_ylim()
    if drawn and summary.slo_ms > FAR * high:
        axes.set_ylim(low, high * (high / low) ** 0.1)
        words = f"↑ {words}, beyond this scale"
        axes.annotate(words, (0, 1), (4, -13), xycoords="axes fraction", textcoords="offset points", fontsize=SMALL)
        return
    axes.axhline(summary.slo_ms, color=colour("ink"), linewidth=1.4, linestyle=(0, (5, 3)))
    axes.annotate(words, (0, summary.slo_ms), (4, 5), xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=SMALL)


def latency_words(groups: Sequence[Group], percentile: str) -> str:
    said = []
    for group in filter(usable, groups):
        values = [s.latency[percentile].value for s in group.steps if percentile in s.latency]
        known = [v for v in values if v is not None]
        if known:
            said.append(f"{group.name} {figures.number(known[0])} to {figures.quantity(known[-1], 'ms')}")
    return f"{percentile} from the lowest to the highest rate: {'; '.join(said)}." if said else "No figure here can be used."


def monthly_cost(costs: Costs, names: Sequence[str], looks: Mapping[str, Look], name: str) -> str:
    """USD per month against traffic, both axes logarithmic, with the break-even points between `names` and their bands."""
    with svg.canvas(WIDTH, HEIGHT) as figure:
        axes = style.place(figure, 66, 44, ROOM, 34)
        style.logarithmic(axes.xaxis, dense=False)
        style.logarithmic(axes.yaxis, write=lambda v: f"${v:,.10g}", dense=False)
        labels = []
        for group in names:
            curve = costs.curves.get(group)
            if curve is not None and curve.x:
                look = looks[group]
                axes.plot(curve.x, curve.y, color=look.line, linewidth=2.2, linestyle=look.dash)
                if curve.low and curve.high:
                    axes.fill_between(curve.x, curve.low, curve.high, color=look.line, alpha=0.16, linewidth=0)
                labels.append(EndLabel(y=curve.y[-1], text=group, colour=look.text))
        axes.margins(x=0, y=0.1)
        low, high = axes.get_ylim()
        known = [b for b in costs.break_even if b.traffic_per_s.value is not None and {b.cheaper_below, b.other} <= set(names)]
        crossings = list({_at(b): b for b in known}.values())  # groups that cost the same cross another at one point
        axes.set_ylim(low, high * (high / low) ** (0.08 * len(crossings)))
        for row, crossing in enumerate(sorted(crossings, key=lambda b: -(b.traffic_per_s.value or 0.0))):
            _break_even(axes, crossing, costs.curves, row)
        style.name(axes, "traffic all month, requests/s (log scale)", "USD per month (log scale)")
        style.label_ends(axes, labels)
        return svg.text(figure, name, "Dollars per month against traffic", cost_words(costs, names))


def _break_even(axes: Axes, b: BreakEven, curves: Mapping[str, Curve], row: int) -> None:
    """The crossing with its band; its figure stands left of it in a row of its own near the top (row 0: the highest traffic), joined to
    the crossing by a thin line that ends there, so that no line runs through another's figure."""
    at = b.traffic_per_s
    assert at.value is not None
    left, right = axes.get_xlim()
    top = 1 - (4 + 16 * row) / axes.get_window_extent().height
    if at.low is not None or at.high is not None:
        axes.axvspan(at.low or left, at.high or right, ymax=top, color=colour("soft"), alpha=0.13, linewidth=0)
    axes.axvline(at.value, ymax=top, color=colour("soft"), linewidth=1, linestyle=(0, (1.5, 2)))
    for x, size, face in ((at.value, 6.0, "ink"), *((more, 4.5, "page") for more in b.more)):
        y = _height(curves.get(b.cheaper_below), x)
        if y is not None:
            edge = colour("page" if face == "ink" else "ink")
            axes.plot([x], [y], "D", markersize=size, markerfacecolor=colour(face), markeredgecolor=edge, markeredgewidth=1.2)
    before = at.value < left * (right / left) ** 0.35
    axes.annotate(
        _at(b),
        (at.value, top),
        (5 if before else -5, -1),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if before else "right",
        va="top",
        fontsize=SMALL,
    )


def _at(b: BreakEven) -> str:
    """'4.9/s (3.7–6.1)'."""
    between = figures.interval(b.traffic_per_s)
    return f"{figures.figure(b.traffic_per_s).text}{f' ({between})' if between else ''}"


def _height(curve: Curve | None, x: float) -> float | None:
    """Where the curve passes at x, between its points on log-log axes; only for placing a mark."""
    if curve is None:
        return None
    points = list(zip(curve.x, curve.y, strict=True))
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= x <= x1 and min(x0, y0, y1) > 0 and x0 != x1:
            part = (log10(x) - log10(x0)) / (log10(x1) - log10(x0))
            return float(10 ** (log10(y0) + part * (log10(y1) - log10(y0))))
    return None


def cost_words(costs: Costs, names: Sequence[str]) -> str:
    said = [break_even(b) for b in costs.break_even if {b.cheaper_below, b.other} <= set(names)]
    return "; ".join(said) + "." if said else "One line per architecture with its band."


def percentiles(groups: Sequence[Group], looks: Mapping[str, Look], summary: Summary, name: str) -> str:
    """Latency at the primary rate by percentile, tails stretched, both axes logarithmic; the floor of the path shaded."""
    picked = picked_percentiles(groups, summary)
    with svg.canvas(WIDTH, HEIGHT) as figure:
        axes = style.place(figure, 46, 44, ROOM, 34)
        style.logarithmic(axes.yaxis)
        labels = []
        for group, curve in picked.items():
            look = looks[group]
            axes.plot([_tail(q) for q in curve.x], curve.y, color=look.line, linewidth=2.2, linestyle=look.dash)
            axes.plot([_tail(curve.x[-1])], [curve.y[-1]], look.marker, color=look.line, markersize=6)
            labels.append(EndLabel(y=curve.y[-1], text=group, colour=look.text))
        last = max((c.x[-1] for c in picked.values()), default=0.99)
        wanted = [q for q in (0, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.999) if q <= last + 1e-9]
        style.ticks(axes.xaxis, [_tail(q) for q in wanted], lambda v: f"p{figures.plain(round(100 * (1 - 10**-v), 4))}")
        axes.set_xlim(0, _tail(last) * 1.02)
        axes.margins(y=0.08)
        _floor(axes, summary)
        style.refine(axes.yaxis)
        style.name(axes, "share of requests that were faster", "latency, ms (log scale)")
        style.label_ends(axes, labels)
        return svg.text(figure, name, "Latency percentiles", "Each line ends at the highest percentile that its sample supports.")


def picked_percentiles(groups: Sequence[Group], summary: Summary) -> dict[str, Curve]:
    """The percentile curve of each usable group at the primary rate."""
    found = {g.name: primary_step(summary, g) for g in groups if usable(g)}
    return {name: pair[1].percentiles for name, pair in found.items() if pair is not None and pair[1].percentiles.x}


def _tail(quantile: float) -> float:
    return -log10(max(1 - quantile, 1e-6))


def _floor(axes: Axes, summary: Summary) -> None:
    points = [(q, summary.floor_path_ms[p].value) for q, p in ((0.5, "p50"), (0.99, "p99")) if p in summary.floor_path_ms]
    known = [(q, v) for q, v in points if v is not None]
    if not known:
        return
    low, high = axes.get_ylim()
    low = min(low, min(v for _, v in known) * 0.6)
    xs = [0.0, *(_tail(q) for q, _ in known), 6.0]
    ys = [known[0][1], *(v for _, v in known), known[-1][1]]
    axes.fill_between(xs, ys, low, color=colour("soft"), alpha=0.18, linewidth=0)
    axes.set_ylim(low, high)
    axes.annotate("floor of the path", (0, low), (6, 7), xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=SMALL)


def timeline(group: Group, look: Look, name: str) -> str:
    """Rate (offered dotted, completed solid), median latency and instances over one cell; crosses: errors; ticks: events; bands: faults."""
    points = group.timeline
    xs = [p.at_s for p in points]
    with svg.canvas(NARROW, 330) as figure:
        rate = style.place(figure, 38, 232, 10, 28)
        latency = style.place(figure, 38, 136, 10, 124)
        instances = style.place(figure, 38, 40, 10, 220)
        rate.plot(
            xs, [p.offered_per_s for p in points], color=colour("soft"), linewidth=1.2, linestyle=(0, (1.5, 2)), drawstyle="steps-mid"
        )
        rate.plot(xs, [p.completed_per_s for p in points], color=look.line, linewidth=1.8)
        failed = [p for p in points if p.errors]
        rate.plot(
            [p.at_s for p in failed], [p.completed_per_s for p in failed], "x", color=colour("ink"), markersize=7, markeredgewidth=1.8
        )
        answered = [float("nan") if p.p50_ms is None else p.p50_ms for p in points]
        latency.plot(xs, answered, "o-", color=look.line, linewidth=1.8, markersize=2.6)
        instances.plot(xs, [sum(p.instances.values()) for p in points], color=look.line, linewidth=1.8, drawstyle="steps-mid")
        for axes, title in ((rate, "requests/s"), (latency, "p50, ms"), (instances, "instances")):
            axes.set_ylim(0, max(axes.get_ylim()[1], 1) * 1.05)
            axes.set_xlim(min(xs, default=0), max(xs, default=1) or 1)
            style.few(axes.yaxis, 3)
            style.few(axes.xaxis, 5)
            style.name(axes, "", title)
            if axes is not instances:
                axes.tick_params(labelbottom=False)
        _faults((rate, latency, instances), group)
        _events(instances, group)
        style.name(instances, "seconds in the cell", "")
        errors = sum(p.errors for p in points)
        return svg.text(figure, name, f"Timeline of {group.name}", f"{len(points)} seconds, {errors} errors, {len(group.events)} events.")


def _faults(all_axes: Sequence[Axes], group: Group) -> None:
    """A band from begin to end of each; a kill, which ends at once, is a line."""
    begun: dict[tuple[object, object], float] = {}
    for event in group.events:
        at, who = event.get("at_s"), (event.get("fault"), event.get("service"))
        if event.get("kind") != "fault" or not isinstance(at, (int, float)):
            continue
        if event.get("phase") == "begin":
            begun[who] = at
        elif event.get("phase") == "end" and who in begun:
            for axes in all_axes:
                axes.axvspan(begun[who], at, color=colour("soft"), alpha=0.3, linewidth=1)
            del begun[who]


def _events(axes: Axes, group: Group) -> None:
    """Those within the time shown; processes start before the driver does. Faults have bands."""
    top = axes.get_ylim()[1]
    first, last = axes.get_xlim()
    for event in group.events:
        at = event.get("at_s")
        if isinstance(at, (int, float)) and first <= at <= last and event.get("kind") != "fault":
            axes.plot([at], [top], "v", color=colour("ink"), markersize=6, clip_on=False)
