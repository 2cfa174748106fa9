"""A comparison of providers becomes a page, a Markdown file and what the terminal prints: verdicts first, then why, then the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from lab import rundir
from lab.analysis.sides import Ranked, SideBySide
from lab.report import side_charts, side_tables, svg
from lab.report.html import key, templates
from lab.report.markdown import escaped, table_lines
from lab.report.page import Picture
from lab.report.palette import Look
from lab.report.side_tables import STATUS, Reason, letters

STYLE = {"agree": "green", "disagree": "red", "cannot tell": "yellow", "nothing to rank": "dim"}
MOST_REASONS = 12
RULE = (
    "A ranking agrees where every provider tells the same order of every pair, disagrees where two tell another one, and cannot be told "
    "where one of them tells none. Numbers are no comparison of the providers: they are there to show what turned an order."
)


def write(found: SideBySide, folder: Path) -> tuple[Path, Path]:
    """report.html, report.md and its pictures."""
    page, text = folder / "report.html", folder / "report.md"
    for name, picture in pictures(found).items():
        rundir.write(folder / name, svg.standalone(picture.svg).encode())
    rundir.write(page, html(found).encode())
    rundir.write(text, markdown(found).encode())
    return page, text


def looks(found: SideBySide) -> dict[str, Look]:
    """By group; groups of one architecture and variant at other model sizes look alike."""
    sizes = {row.name: r.model_size for r in found.rankings for row in r.rows}
    seen: dict[str, Look] = {}
    names = dict.fromkeys(n.group for n in found.numbers)
    return {name: seen.setdefault(name.removesuffix(f"-{sizes.get(name, '')}"), Look(len(seen))) for name in names}


def charts(found: SideBySide) -> list[Picture]:
    """One for each ranking of figures."""
    sides, drawn = [s.name for s in found.sides], looks(found)
    return [_chart(r, index, sides, drawn) for index, r in enumerate(found.rankings) if r.rows]


def _chart(ranked: Ranked, index: int, sides: list[str], drawn: Mapping[str, Look]) -> Picture:
    sign, words = STATUS[ranked.status]
    return Picture(
        title=f"{ranked.title}: {sign} {words}",
        svg=side_charts.dots(ranked, sides, drawn, f"side-{index}"),
        caption="",
        table=side_tables.rows(ranked, sides, f"side-{index}-data", index),
        basis=ranked.basis,
    )


def pictures(found: SideBySide) -> dict[str, Picture]:
    """file name -> picture, of the first two rankings of figures."""
    return {f"report-{n}.svg": picture for n, picture in enumerate(charts(found)[:2], 1)}


# ---- the page --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """A ranking on which the providers do not agree."""

    ranked: Ranked
    sign: str
    words: str
    reasons: tuple[Reason, ...]


def html(found: SideBySide) -> str:
    notes = letters(found)
    drawn = looks(found)
    return (
        templates()
        .get_template("side.html.j2")
        .render(
            f=found,
            rule=RULE,
            overview=side_tables.overview(found),
            charts=charts(found),
            whys=[_why(r, notes) for status in ("disagree", "cannot tell") for r in found.rankings if r.status == status],
            causes=notes,
            parts=side_tables.parts(found),
            numbers=side_tables.numbers(found),
            times=side_tables.times(found),
            sides=side_tables.sides(found),
            invalid=side_tables.invalid(found),
            differences=side_tables.differences(found) if found.differences else None,
            keys={name: key(look) for name, look in drawn.items()},
            roles={name: look.role for name, look in drawn.items()},
        )
    )


def _why(ranked: Ranked, notes: Mapping[str, str]) -> Why:
    sign, words = STATUS[ranked.status]
    return Why(ranked=ranked, sign=sign, words=words, reasons=side_tables.reasons(ranked, notes))


# ---- Markdown --------------------------------------------------------------------------------------------------------


def markdown(found: SideBySide) -> str:
    return "\n".join(_lines(found)) + "\n"


def _lines(found: SideBySide) -> Iterator[str]:
    yield from (f"**{escaped(found.answer)}**", "", escaped(found.certainty), "")
    yield from (escaped(f"{found.scenario} · {' · '.join(f'{s.name} ({s.run})' for s in found.sides)}"), "")
    yield from (*table_lines(side_tables.overview(found)), "", RULE, "")
    yield from _reasons(found)
    yield from (f"![{escaped(p.title)}]({name})" for name, p in pictures(found).items())
    yield from ("", *table_lines(side_tables.numbers(found)), "")
    yield from ("<details><summary>Small print</summary>", "")
    yield from table_lines(side_tables.sides(found))
    yield ""
    yield from (f"- {escaped(note)}" for note in found.notes)
    for side in found.sides:
        yield from (f"- INVALID on {escaped(side.name)}: {escaped(c.cell)}: {escaped('; '.join(c.reasons))}" for c in side.invalid)
    yield from ("", "</details>", "", "Repeat it:", "")
    yield from (f"    {' '.join(side.command.split())}" for side in found.sides)
    yield f"    lab compare {' '.join(s.run for s in found.sides)}"


def _reasons(found: SideBySide) -> Iterator[str]:
    """Of what disagrees, then of what cannot be told, each cause once."""
    said = list(reasons(found))
    for title, words in said[:MOST_REASONS]:
        yield f"- {escaped(title)}: {escaped(words)}"
    if len(said) > MOST_REASONS:
        yield f"- and {len(said) - MOST_REASONS} more, in report.html"
    yield from (f"- {letter}: {escaped(cause)}" for cause, letter in letters(found).items())
    yield ""


def reasons(found: SideBySide) -> Iterator[tuple[str, str]]:
    """(ranking and pairs, what its sides say of them and what moved it), of what disagrees first."""
    notes = letters(found)
    for status in ("disagree", "cannot tell"):
        for ranked in found.rankings:
            for r in (r for r in side_tables.reasons(ranked, notes) if r.status == status):
                told = "; ".join(f"{s.side}: {s.why or s.words}".rstrip(".") for s in r.said)
                behind = f" Behind it: {r.notes}." if r.notes else ""
                yield f"{ranked.title}, {_pairs(r)}", " ".join((f"{told}.", *r.reasons)) + behind


def _pairs(reason: Reason) -> str:
    return "; ".join(f"{a} or {b}" for a, b in reason.pairs)


# ---- the terminal ----------------------------------------------------------------------------------------------------


def terminal(found: SideBySide) -> RenderableType:
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("ranking", *(s.name for s in found.sides), ""):
        grid.add_column(title, overflow="fold")
    for ranked, row in zip(found.rankings, side_tables.overview(found).rows, strict=True):
        cells = [Text(c.text) for c in row.cells[:-1]]
        grid.add_row(*cells, Text(row.cells[-1].text, style=STYLE[ranked.status]))
    lines = Grid(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    lines.add_column(style="dim", overflow="fold", max_width=40)
    lines.add_column(overflow="fold")
    said = list(reasons(found))
    for title, words in said[:MOST_REASONS]:
        lines.add_row(Text(title), Text(words))
    if len(said) > MOST_REASONS:
        lines.add_row(Text(), Text(f"and {len(said) - MOST_REASONS} more, in the report"))
    for cause, letter in letters(found).items():
        lines.add_row(Text(letter), Text(cause))
    for note in found.notes:
        lines.add_row(Text("note"), Text(note))
    head = Text(found.answer, style="bold")
    return Stack(head, Text(found.certainty), Text(), grid, Text(), lines)
