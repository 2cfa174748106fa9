"""Axes in the style of a report: no boxes, light rules, plain numbers, names of lines beside the lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.report import figures
from lab.report.palette import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

SMALL, NORMAL = 10.5, 11.5


@dataclass(frozen=True, kw_only=True, slots=True)
class EndLabel:
    """A name that belongs at data position `y` beside the right end of its line."""

    y: float
    text: str
    colour: str
    weight: str = "bold"


def place(figure: Figure, left: float, bottom: float, right: float, top: float) -> Axes:
    """Axes by their margins, in units of the figure."""
    width, height = figure.get_figwidth() * 72, figure.get_figheight() * 72
    axes = figure.add_axes((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=colour("soft"), linewidth=1)
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=colour("soft"), pad=5)
    axes.grid(True, axis="y", color=colour("rule"), linewidth=1)
    axes.set_axisbelow(True)
    return axes


def name(axes: Axes, x: str, y: str) -> None:
    """The axes' names, both horizontal: y above its axis, x below its right end."""
    axes.annotate(y, (0, 1), (0, 10), xycoords="axes fraction", textcoords="offset points", color=colour("soft"), fontsize=SMALL)
    axes.annotate(
        x,
        (1, 0),
        (0, -21),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="top",
        color=colour("soft"),
        fontsize=SMALL,
    )


def logarithmic(axis: Axis, write: Callable[[float], str] = figures.plain, dense: bool = True) -> None:
    """Ticks at 1, 2, 5 of each power of ten (at powers only if not `dense`), written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis._set_axes_scale("log")  # type: ignore[attr-defined]
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if dense else (1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_locator(NullLocator())


def refine(axis: Axis) -> None:
    """More ticks where a logarithmic axis spans less than a power of ten; call it when the limits are final."""
    from matplotlib.ticker import LogLocator

    low, high = axis.get_view_interval()
    if low > 0 and high < 10 * low:
        axis.set_major_locator(LogLocator(base=10, subs=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0), numticks=12))


def ticks(axis: Axis, values: Sequence[float], write: Callable[[float], str] = figures.plain) -> None:
    from matplotlib.ticker import NullLocator

    axis.set_ticks(list(values), [write(v) for v in values])
    axis.set_minor_locator(NullLocator())


def few(axis: Axis, count: int, write: Callable[[float], str] = figures.plain) -> None:
    """At most `count` round ticks on a linear axis."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=count, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def label_ends(axes: Axes, labels: Sequence[EndLabel], gap: float = 14) -> None:
    """Writes the names right of the axes, pushed apart to `gap` units where they would touch; call it when the limits are final."""
    if not labels:
        axes.annotate("no usable figure", (0.5, 0.5), xycoords="axes fraction", ha="center", color=colour("soft"), fontsize=NORMAL)
        return
    ordered = sorted(labels, key=lambda label: label.y)
    heights = [float(axes.transData.transform((1, label.y))[1]) for label in ordered]
    box = axes.get_window_extent()
    for label, height in zip(ordered, apart(heights, gap, box.y0, box.y1), strict=True):
        axes.annotate(
            clipped(label.text),
            (box.x1 + 8, height),
            xycoords="figure pixels",
            color=label.colour,
            fontsize=NORMAL if label.weight == "bold" else SMALL,
            fontweight=label.weight,
            va="center",
            annotation_clip=False,
        )


def apart(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Rising positions moved as little as needed to stand `gap` apart, within low..high where they fit."""
    placed: list[float] = []
    for position in positions:
        placed.append(max(position, placed[-1] + gap) if placed else max(position, low))
    ceiling = max(high, low + gap * (len(placed) - 1))
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed


def clipped(text: str, length: int = 16) -> str:
    """Cut in the middle: what tells a variant from its architecture stands at the end."""
    head = (length - 1) // 2
    return text if len(text) <= length else f"{text[:head]}…{text[head + 1 - length :]}"
