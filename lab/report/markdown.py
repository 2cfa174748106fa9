"""report.md: the answer, the table, two pictures and how to repeat the run, small enough for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.analysis.results import Comparison, Summary
from lab.report import cloud, facts, figures, page, palette, svg, wins
from lab.report.table import Table, TableCell
from lab.report.tables import headline

THROUGHPUT, COST = "report-throughput.svg", "report-cost.svg"
LEFT_OUT = ("service p50", "CPU platform", "memory")  # of the headline table; report.html has them
MOST_CELLS = 12


def markdown(summary: Summary, comparison: Comparison | None = None) -> str:
    return "\n".join(_lines(summary, comparison)) + "\n"


def pictures(summary: Summary, comparison: Comparison | None = None) -> dict[str, str]:
    """file name -> SVG, of the first workload and model size."""
    looks = palette.looks(summary.groups)
    panels = page.panels(summary)
    if not panels:
        return {}
    made = {THROUGHPUT: svg.standalone(page.throughput(summary, panels[0], looks).svg)}
    if comparison is not None and comparison.costs is not None:
        made[COST] = svg.standalone(page.monthly_cost(comparison.costs, panels[0], looks).svg)
    return made


def _lines(summary: Summary, comparison: Comparison | None) -> Iterator[str]:
    yield f"**{escaped(comparison.answer if comparison else 'No comparison has been made of this run.')}**"
    if comparison is not None:
        yield from ("", escaped(comparison.certainty))
    mode = escaped(f"{facts.heading(summary)} · {figures.duration(summary.duration_s)} · {summary.run}")
    yield from ("", mode, "", *table_lines(headline(summary, comparison)), "")
    yield from _grids(wins.grids(summary, comparison))
    if comparison is not None:
        yield from _rankings(comparison)
    yield f"![Throughput against latency]({THROUGHPUT})"
    if comparison is not None and comparison.costs is not None:
        yield f"![Dollars per month against traffic]({COST})"
    yield from ("", *_small_print(summary, comparison))
    yield from ("", "Repeat it:", "", f"    {' '.join(summary.command.split())}")


def _grids(grids: Sequence[wins.Grid]) -> Iterator[str]:
    for grid in grids:
        yield from (f"**{escaped(grid.title)}** {figures.MARKS[grid.basis]}", "", *table_lines(grid.table), "")
    if grids:
        yield from (wins.READ_IT, "")


def table_lines(table: Table) -> Iterator[str]:
    kept = [i for i, column in enumerate(table.columns) if column.title not in LEFT_OUT]
    yield "| " + " | ".join(_heading(table, i) for i in kept) + " |"
    yield "|" + "|".join("--:" if table.columns[i].numeric else ":--" for i in kept) + "|"
    for row in table.rows:
        yield "| " + " | ".join(_cell(table, i, row.cells[i]) for i in kept) + " |"
    for why in table.notes:
        yield f"\n<sup>{table.letter(why)}</sup> {figures.DASH} {escaped(why)}"


def _heading(table: Table, index: int) -> str:
    parts = (escaped(table.columns[index].title), table.unit(index), figures.MARKS.get(table.basis(index), ""))
    return " ".join(part for part in parts if part)


def _cell(table: Table, index: int, cell: TableCell) -> str:
    mark = f"<sup>{table.letter(cell.why)}</sup>" if cell.why else ""
    if cell.missing:
        return f"{cell.text}{mark}"
    text = escaped(table.text(index, cell))
    text = f"**{text}**" if cell.best else text
    return f"{text} ({escaped(cell.interval)}){mark}" if cell.interval else f"{text}{mark}"


def _rankings(comparison: Comparison) -> Iterator[str]:
    for metric, lines in cloud.lines(comparison):
        yield from (f"- {escaped(metric)}: **{escaped(line.order)}** {escaped(line.words)}" for line in lines)
    for b in comparison.costs.break_even if comparison.costs else ():
        yield f"- {escaped(cloud.break_even(b))}"
    if comparison.costs and facts.pricing(comparison.costs):
        yield f"- {escaped(facts.pricing(comparison.costs))}"
    for silence in cloud.unsaid(comparison)[:MOST_CELLS]:
        yield f"- cannot say: {escaped(silence.words)}"
    yield ""


def _small_print(summary: Summary, comparison: Comparison | None) -> Iterator[str]:
    marks = ", ".join(f"{figures.MARKS[basis]} {basis}" for basis in figures.MARKS)
    yield f"<details><summary>Small print</summary>\n\n- {marks}; {figures.DASH} missing, never zero"
    yield "- Bold figures in the table: first of all groups, and that holds over the cloud ranges"
    for term, words in facts.small_print(summary, comparison.costs if comparison else None):
        yield f"- {term}: {escaped(words)}"
    invalid = [c for c in summary.cells if not c.valid]
    for cell in invalid[:MOST_CELLS]:
        yield f"- INVALID {escaped(cell.cell)}: {escaped('; '.join(cell.reasons))}"
    if len(invalid) > MOST_CELLS:
        yield f"- and {len(invalid) - MOST_CELLS} more INVALID cells, in report.html"
    yield "\n</details>"


def escaped(text: str) -> str:
    """Shown as it is written: no markup, no table cell of its own, no mention of an account."""
    plain = re.sub(r"[\\`*\[\]|]", r"\\\g<0>", " ".join(text.split()))
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)
