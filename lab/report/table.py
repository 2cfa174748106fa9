"""A table as data: every cell knows its unit, its mark, why it or its interval is missing, and which file it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.analysis.results import Group
from lab.model import Stat
from lab.report import figures, load
from lab.report.figures import DASH

INVALID = "INVALID: no deployment of this group may be used; the reasons are listed under invalid cells"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableCell:
    """`source` is a file of the run directory and a JSON pointer into it. `why` is there exactly where the figure is missing, or
    stands there without its interval. `best`: no other group has a better one, and that holds in a cloud. `series` is the group that the
    cell names, to be marked as everywhere."""

    text: str
    unit: str = ""
    interval: str = ""
    basis: str = ""
    source: str = ""
    why: str = ""
    n: int = 0
    best: bool = False
    series: str = ""

    @property
    def missing(self) -> bool:
        """No figure at all, not only none with an interval."""
        return bool(self.why) and self.text == DASH

    @property
    def tip(self) -> str:
        """All that is known of the figure, for a title."""
        deployments = f"n = {self.n}" if self.n else ""
        between = f"95 % interval {self.interval}" if "–" in self.interval else "" if self.why else self.interval
        best = "first, and it holds over the cloud ranges" if self.best else ""
        return " · ".join(part for part in (self.why, best, between, deployments, self.basis, self.source) if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    title: str
    numeric: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The first cell heads the row. `strong` marks the row that a reader should find first."""

    cells: tuple[TableCell, ...]
    strong: bool = False
    series: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """`source` says where all of it comes from; a unit or a mark that a whole column shares stands in its head only."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    source: str = ""
    remarks: tuple[str, ...] = field(default=())

    def column(self, index: int) -> list[TableCell]:
        return [row.cells[index] for row in self.rows]

    def unit(self, index: int) -> str:
        units = {c.unit for c in self.column(index) if c.unit and not c.missing}
        return units.pop() if len(units) == 1 else ""

    def basis(self, index: int) -> str:
        found = {c.basis for c in self.column(index) if c.basis}
        return found.pop() if len(found) == 1 else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Why figures or their intervals are missing, each reason once, in order of appearance."""
        return tuple(dict.fromkeys(c.why for row in self.rows for c in row.cells if c.why))

    def letter(self, why: str) -> str:
        index = self.notes.index(why)
        return chr(97 + index % 26) * (1 + index // 26)

    def text(self, index: int, cell: TableCell) -> str:
        """What stands in the cell: with the unit where the head of its column does not give it."""
        if cell.missing or not cell.unit or self.unit(index):
            return cell.text
        gap = "" if cell.unit.startswith("/") else " "
        return f"{cell.text}{gap}{cell.unit}"


def words(value: object, source: str = "") -> TableCell:
    return TableCell(text=str(value), source=source)


def given(value: float | None, unit: str = "", why: str = "not recorded", source: str = "") -> TableCell:
    """A figure without an interval; None is missing."""
    if value is None:
        return TableCell(text=DASH, unit=unit, why=why, source=source)
    return TableCell(text=figures.number(value), unit=unit, source=source)


def chosen(value: float | None, unit: str, source: str = "", why: str = "") -> TableCell:
    """A figure that somebody set, as they wrote it."""
    if value is None:
        return TableCell(text=DASH, unit=unit, why=why, source=source)
    return TableCell(text=figures.plain(value), unit=unit, source=source)


def asked(rate: float, source: str = "") -> TableCell:
    """A closed loop asks for none."""
    return chosen(rate or None, "/s", source, load.CLOSED)


def cell(stat: Stat, source: str) -> TableCell:
    made = figures.figure(stat)
    interval = made.interval if made.interval != made.bare else ""
    return TableCell(text=made.bare, unit=made.unit, interval=interval, basis=made.basis, source=source, why=made.why, n=made.n)


def columns(*titles: str) -> tuple[Column, ...]:
    """A title that begins with < is of words, set left."""
    return tuple(Column(title=t.removeprefix("<"), numeric=not t.startswith("<")) for t in titles)


def usable(group: Group) -> bool:
    return group.valid_deployments > 0


def shown(group: Group, stat: Stat) -> Stat:
    """The figure of a group that may be used; no headline number of one that may not."""
    return stat if usable(group) else Stat.missing(stat.unit, INVALID, basis=stat.basis)
