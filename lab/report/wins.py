"""Which one wins where, as a page shows it: grids of model size by rate, from a comparison's wins, and the tables made from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lab.analysis.results import Comparison, Group, Summary, Win
from lab.report import figures
from lab.report.figures import DASH
from lab.report.table import INVALID, Column, Row, Table, TableCell, columns, usable

# metric -> title, how a winner is better, what the figures are based on, why there may be no cell
METRICS: Mapping[str, tuple[str, str, str, str]] = {
    "p50_ms": ("Fastest at each rate, by p50", "faster", "measured", "this rate was not run"),
    "cost": ("Cheapest at each traffic, all month", "cheaper", "priced", "no cost was computed here"),
}
MANY_RATES = 3
READ_IT = (
    "As measured here, not over the cloud ranges. A winner's 95 % interval lies below the next one's: descriptive, no verdict. "
    "A dash: none can be named."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One model size at one rate. `series` is the winning group, `name` the same without the size; both are empty where none can be named,
    and `why` says why. `beside`: what `factor` is over; where there is no other figure, `factor` is empty and `beside` says so."""

    series: str = ""
    name: str = ""
    factor: str = ""
    beside: str = ""
    why: str = ""
    source: str = ""

    @property
    def cell(self) -> TableCell:
        words = " ".join(filter(None, (self.factor, self.beside)))
        return TableCell(text=self.name or DASH, interval=words, series=self.series, why=self.why, source=self.source)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """`rows`: model size -> a place for each of `rates`."""

    metric: str
    title: str
    basis: str
    rates: tuple[float, ...]
    rows: tuple[tuple[str, tuple[Place, ...]], ...]

    @property
    def table(self) -> Table:
        rows = tuple(Row(cells=(TableCell(text=size), *(p.cell for p in places))) for size, places in self.rows)
        heads = (Column(title=figures.per_second(rate), numeric=False) for rate in self.rates)
        return Table(
            name=f"wins-{self.metric}",
            caption=self.title,
            columns=(*columns("<model"), *heads),
            rows=rows,
            source="comparison.json /wins",
        )


def grids(summary: Summary, comparison: Comparison | None) -> tuple[Grid, ...]:
    """Empty unless there are several model sizes or at least three rates: one place is no map."""
    found = comparison.wins if comparison else ()
    rates = {w.rate_per_s for w in found if w.metric == "p50_ms"}
    if not several_sizes(comparison) and len(rates) < MANY_RATES:
        return ()
    return tuple(_grid(summary, comparison, metric) for metric in METRICS if comparison and any(w.metric == metric for w in found))


def several_sizes(comparison: Comparison | None) -> bool:
    return len({w.model_size for w in comparison.wins}) > 1 if comparison else False


def _grid(summary: Summary, comparison: Comparison, metric: str) -> Grid:
    title, better, basis, absent = METRICS[metric]
    found = {(w.model_size, w.rate_per_s): (i, w) for i, w in enumerate(comparison.wins) if w.metric == metric}
    rates = tuple(sorted({rate for _, rate in found}))
    names = _names(summary)
    invalid = {g.name for g in summary.groups if not usable(g)}

    def place(size: str, rate: float) -> Place:
        if (size, rate) not in found:
            return Place(why=absent)
        index, win = found[size, rate]
        source = f"comparison.json /wins/{index}"
        return Place(why=INVALID, source=source) if win.winner in invalid else _place(win, names, better, source)

    if metric == "cost" and comparison.costs:
        title += f" (allocation, cpu_scale {figures.plain(comparison.costs.cpu_scale)})"
    rows = tuple((size, tuple(place(size, rate) for rate in rates)) for size in dict.fromkeys(size for size, _ in found))
    return Grid(metric=metric, title=title, basis=basis, rates=rates, rows=rows)


def _place(win: Win, names: Mapping[str, str], better: str, source: str) -> Place:
    why = _renamed(win.margin.why_missing, names)
    if not win.winner:
        return Place(why=why or "no reason was recorded", source=source)
    name = names.get(win.winner, win.winner)
    if win.margin.value is None:
        return Place(series=win.winner, name=name, beside=why, source=source)
    over = f"{better} than {names.get(win.runner_up, win.runner_up)}"
    return Place(series=win.winner, name=name, factor=factor(win.margin.value), beside=over, source=source)


def factor(margin: float) -> str:
    """1.4× and 12×, but 1.04×: never a factor that reads as none."""
    return f"{figures.number(margin, 2 if margin >= 1.1 else 3)}×"


def _names(summary: Summary) -> dict[str, str]:
    """Group -> its name without the model size, which the row says."""
    if len({g.model_size for g in summary.groups}) < 2:
        return {g.name: g.name for g in summary.groups}
    providers = len({g.provider for g in summary.groups}) > 1
    return {g.name: _without_size(g, providers) for g in summary.groups}


def _without_size(group: Group, providers: bool) -> str:
    return "-".join(filter(None, (group.architecture, group.variant, group.provider if providers else "")))


def _renamed(words: str, names: Mapping[str, str]) -> str:
    """So that the same reason at several sizes is said once."""
    if not names:
        return words
    longest_first = sorted(names, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: names[found[0]], words)
