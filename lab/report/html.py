"""report.html: one file that opens offline, from a summary, a comparison if there is one, and the environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lab.analysis.results import Comparison, Costs, Summary
from lab.report import cloud, compared, evidence, facts, figures, method, page, palette, tables, wins
from lab.report.page import Panel
from lab.report.palette import Look
from lab.report.table import Row, Table

NO_COMPARISON = "No comparison has been made of this run"
HOW_TO_COMPARE = "The figures below are measured; costs, effects and cloud rankings appear after: lab compare RUN."

# Shapes of palette.MARKERS in a box of 10 x 10.
SHAPES: Mapping[str, str] = {
    "o": "M5 1a4 4 0 1 0 .01 0z",
    "s": "M1.5 1.5h7v7h-7z",
    "^": "M5 1 9.3 8.7H.7z",
    "D": "M5 .5 9.5 5 5 9.5.5 5z",
    "v": "M5 9 .7 1.3h8.6z",
    "P": "M3.5 1h3v2.5H9v3H6.5V9h-3V6.5H1v-3h2.5z",
    "X": "M2.5.8 5 3.3 7.5.8l1.7 1.7L6.7 5l2.5 2.5-1.7 1.7L5 6.7 2.5 9.2.8 7.5 3.3 5 .8 2.5z",
}


def html(summary: Summary, comparison: Comparison | None = None, *, run: str = "", environment: Mapping[str, str] | None = None) -> str:
    """`run` names the run directory; `environment` is environment.json, flat."""
    looks = palette.looks(summary.groups)
    panels = page.panels(summary)
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            s=summary,
            run=run or summary.run,
            heading=facts.heading(summary),
            duration=figures.duration(summary.duration_s),
            panels=panels,
            throughputs=[page.throughput(summary, p, looks) for p in panels],
            facts=facts.small_print(summary, comparison.costs if comparison else None),
            headline=tables.headline(summary, comparison),
            ladder=tables.ladder(summary),
            operations=evidence.operations(summary),
            floors=evidence.floors(summary),
            percentiles=[page.percentiles(summary, p, looks) for p in panels],
            waterfalls=[w for p in panels for w in page.waterfalls(p, looks)],
            counts=evidence.counts(summary),
            timelines=list(page.timelines(summary, looks)),
            colds=[picture for p in panels if (picture := page.cold(p)) is not None],
            services=tables.services(summary),
            options=evidence.options(summary),
            starts=evidence.starts(summary),
            invalid=[cell for cell in summary.cells if not cell.valid],
            warned=[cell for cell in summary.cells if cell.valid and cell.warnings],
            environment=environment or {str(k).replace("_", " "): str(v) for k, v in summary.machine.items()},
            grids=[(grid, grid.table) for grid in wins.grids(summary, comparison)],
            how_to_read=wins.READ_IT,
            keys={name: key(look) for name, look in looks.items()},
            roles={name: look.role for name, look in looks.items()},
            **_compared(comparison, panels, looks),
            **_costs(summary, comparison.costs if comparison else None, panels, looks),
        )
    )


def _compared(comparison: Comparison | None, panels: Sequence[Panel], looks: Mapping[str, Look]) -> Mapping[str, object]:
    """What the page says of the comparison, or that there is none."""
    if comparison is None:
        silent = {"answer": NO_COMPARISON, "certainty": HOW_TO_COMPARE, "matrices": (), "remarks": (), "shares": None, "effects": None}
        return silent | {"compared": False, "orders": ()}
    return {
        "compared": True,
        "answer": comparison.answer or "No answer can be given",
        "certainty": comparison.certainty,
        "matrices": [cloud.matrix(comparison, p.names, looks, p.title) for p in panels] if comparison.rankings else [],
        "orders": list(cloud.lines(comparison)),
        "remarks": facts.remarks(comparison.notes, comparison.costs),
        "shares": compared.shares(comparison),
        "effects": compared.effects(comparison) if comparison.effects else None,
    }


def _costs(summary: Summary, costs: Costs | None, panels: Sequence[Panel], looks: Mapping[str, Look]) -> Mapping[str, object]:
    if costs is None:
        return {"costs": None, "curves": [None for _ in panels]}
    return {
        "costs": costs,
        "curves": [page.monthly_cost(costs, p, looks) for p in panels],
        "monthly": compared.monthly(summary, costs),
        "break_evens": compared.break_evens(costs) if costs.break_even else None,
        "variants": compared.bill_variants(costs),
        "bills": [b for p in panels for b in page.bills(costs, p)],
        "bill_legend": page.bill_legend(costs),
    }


def key(look: Look) -> Markup:
    """The line and marker of an architecture, as small as a letter."""
    dash = " ".join(f"{v:g}" for v in look.dash[1])
    dashes = Markup(' stroke-dasharray="{}"').format(dash) if dash else Markup("")
    return Markup(
        '<svg class="key" viewBox="0 0 26 10" aria-hidden="true"><path class="k-{role}" d="M1 5h24" stroke-width="2"{dashes}/>'
        '<path class="f-{role}" transform="translate(8 0)" d="{shape}"/></svg>'
    ).format(role=look.role, dashes=dashes, shape=SHAPES[look.marker])


def bodies(table: Table) -> list[tuple[int, Sequence[Row]]]:
    """Rows in runs with the same head, which is then written once."""
    if not table.rows:
        return []
    return [(len(rows), rows) for rows in (list(run) for _, run in groupby(table.rows, key=lambda row: row.cells[0].text))]


def templates() -> Environment:
    made = Environment(
        loader=PackageLoader("lab.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        bodies=bodies,
        marks=figures.MARKS,
        light=Markup(palette.variables(dark=False)),
        dark=Markup(palette.variables(dark=True)),
        classes=Markup(palette.rules(palette.COLOURS)),
        css=Markup(_text(made, "report.css")),
        js=Markup(_text(made, "report.js")),
        method=method,
    )
    made.filters.update(trusted=Markup, path=lambda value: quote(str(value), safe="/"))
    return made


def _text(templates: Environment, name: str) -> str:
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]
