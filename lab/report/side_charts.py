"""One ranking as dots with their intervals, a column for each provider on the same scale; a ranking goes in, SVG text comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lab.analysis.sides import Ranked, Row
from lab.model import Stat
from lab.report import axes as style
from lab.report import figures, svg
from lab.report.axes import NORMAL, SMALL
from lab.report.palette import Look, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, ROW = 560, 30
NARROW, BROAD = (136, 19), (196, 29)  # room left of the columns, and letters in it: of groups, of pairs
WIDE = 6.0  # times from the smallest to the largest end: a logarithmic scale from there on


def dots(ranked: Ranked, sides: Sequence[str], looks: Mapping[str, Look], name: str) -> str:
    """Rows keep their place from column to column, so that a changed order shows."""
    low, high, logarithmic = _span(ranked.rows)
    left, letters = BROAD if ranked.metric == "break_even" else NARROW
    column = (WIDTH - left) / len(sides)
    with svg.canvas(WIDTH, 72 + ROW * len(ranked.rows)) as figure:
        for index, side in enumerate(sides):
            start = left + column * index
            axes = style.place(figure, start, 40, WIDTH - start - column + 16, 28)
            axes.grid(False)
            if logarithmic:
                style.logarithmic(axes.xaxis, _write(ranked.unit), dense=high / low < 20)
            else:
                style.few(axes.xaxis, 3, _write(ranked.unit))
            axes.set_xlim(low, high)
            axes.set_ylim(len(ranked.rows) - 0.5, -0.5)
            _rows(axes, ranked.rows, index, looks, "no crossing" if ranked.metric == "break_even" else "no figure")
            if index:
                axes.set_yticks([])
            else:
                style.ticks(axes.yaxis, range(len(ranked.rows)), lambda row: style.clipped(ranked.rows[int(row)].name, letters))
            axes.annotate(side, (0, 1), (0, 10), xycoords="axes fraction", textcoords="offset points", fontsize=NORMAL, fontweight="bold")
        style.name(axes, f"{ranked.unit}{' (log scale)' if logarithmic else ''}", "")
        return svg.text(figure, name, ranked.title, words(ranked, sides))


def _span(rows: Sequence[Row]) -> tuple[float, float, bool]:
    """The ends of the scale, with room for the figures right of the dots, and whether it is logarithmic."""
    ends = [e for row in rows for s in row.on for e in (s.value, s.low, s.high) if e is not None and e > 0]
    if not ends:
        return 0.0, 1.0, False
    low, high = min(ends), max(ends)
    if high > WIDE * low:
        return low / (high / low) ** 0.06, high * (high / low) ** 0.55, True
    return 0.0, high * 1.45, False


def _write(unit: str) -> Callable[[float], str]:
    return (lambda v: f"${v:,.10g}") if unit == "USD" else figures.plain


def _rows(axes: Axes, rows: Sequence[Row], index: int, looks: Mapping[str, Look], absent: str) -> None:
    for even in range(0, len(rows), 2):
        axes.axhspan(even - 0.5, even + 0.5, color=colour("wash"), linewidth=0, alpha=0.6)
    for place, row in enumerate(rows):
        stat, look = row.on[index], looks.get(row.name)
        if stat.value is None:
            axes.annotate(
                absent,
                (0, place),
                (6, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                fontsize=SMALL,
                color=colour("soft"),
            )
            continue
        drawn, marker = (look.line, look.marker) if look else (colour("ink"), "D")
        if stat.low is not None and stat.high is not None:
            axes.hlines(place, stat.low, stat.high, color=drawn, linewidth=2.4)
        axes.plot([stat.value], [place], marker, color=drawn, markersize=7)
        axes.annotate(_words(stat), (stat.high or stat.value, place), (7, 0), textcoords="offset points", va="center", fontsize=SMALL)


def _words(stat: Stat) -> str:
    return f"{figures.figure(stat).text}{' ±?' if figures.withheld(stat) else ''}"


def words(ranked: Ranked, sides: Sequence[str]) -> str:
    """The picture for those who cannot see it."""
    each = [f"{side}: " + ", ".join(f"{row.name} {_words(row.on[i])}" for row in ranked.rows) for i, side in enumerate(sides)]
    return "; ".join(each) + "."
