"""What `lab run` prints when it is done: the table, the rankings and what the run cannot say, for any width of terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lab.analysis.results import Comparison, Group, Summary
from lab.analysis.transfer import cost_metric
from lab.model import Stat
from lab.power import tellable, tells_nothing
from lab.report import cloud, facts, figures, load, method, wins
from lab.report.figures import DASH
from lab.report.table import shown, usable
from lab.report.tables import cost_at, held, own_options, primary_step

NONE = "-"
BEST = "bold green"  # of a figure that no other group beats, which holds over the cloud ranges
STYLE = {"holds": "green", "flips": "yellow"}


def table(summary: Summary, comparison: Comparison | None = None) -> RenderableType:
    """Names are plain text: markup in them is not obeyed. A group without a valid deployment shows no number."""
    head = Text(f"{facts.heading(summary)} · {figures.duration(summary.duration_s)}", style="bold")
    claims = Text(f"may claim here: {facts.claims(summary) or 'nothing'}", style="dim")
    answer, evidence = [*_answer(comparison)], [*_costs(comparison), *_limits(summary, comparison)]
    rankings = [*_rankings(comparison)]
    labels = max(len(row[0]) for row in (*answer, *evidence, *rankings))
    parts: list[RenderableType] = [head, claims, _figures(summary, comparison), Text()]
    if wins.several_sizes(comparison):
        parts += [part for grid in wins.grids(summary, comparison) for part in _grid(grid)]
    return Stack(*parts, *(_lines(rows, labels) for rows in (answer, rankings, evidence) if rows))


def _figures(summary: Summary, comparison: Comparison | None) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("", overflow="fold")
    for title in ("held", "p50", "p99", "CPU/req", "wrong", "cold start"):
        grid.add_column(title, justify="right", no_wrap=True)
    traffic = summary.traffic_per_s if comparison and comparison.costs else ()
    if traffic:
        grid.add_column(f"$ per 1M at {' · '.join(map(figures.per_second, traffic))}", justify="right", overflow="fold")
    first = cloud.winners(comparison)
    for group in summary.groups:
        grid.add_row(_name(summary, group), *_row(summary, comparison, group, first))
    return grid


def _grid(grid: wins.Grid) -> Iterator[RenderableType]:
    """Rows of model sizes, the winner by its factor in each column; reasons for silence by letter below."""
    made, written = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim"), grid.table
    for column in written.columns:
        made.add_column(column.title, overflow="fold")
    for size, places in grid.rows:
        made.add_row(Text(size, style="bold"), *(Text(f"{NONE} {written.letter(p.why)}" if p.why else _winner(p)) for p in places))
    yield Text(grid.title)
    yield made
    alone = {p.beside for _, places in grid.rows for p in places if p.name and not p.factor}
    for sign, words in (*((written.letter(why), why) for why in written.notes), *(("alone", words) for words in sorted(alone))):
        yield Text(f"{sign}: {words}", style="dim")
    yield Text()


def _winner(place: wins.Place) -> str:
    return f"{place.name} {place.factor or 'alone'}"


def _name(summary: Summary, group: Group) -> Text:
    differs = own_options(summary, group)
    return Text(group.name, style="bold") + Text(f" ({differs})" if differs else "", style="dim")


def _row(summary: Summary, comparison: Comparison | None, group: Group, first: set[tuple[str, str]]) -> Iterator[str | Text]:
    traffic = summary.traffic_per_s if comparison and comparison.costs else ()
    if not usable(group):
        yield from ("INVALID", *[NONE] * (5 + bool(traffic)))
        return
    yield f"{held(group.held_rate_per_s)}/s" if group.held_rate_per_s.value is not None else NONE
    found = primary_step(summary, group)
    latency = found[1].latency if found else {}
    yield Text(_with_margin(latency.get("p50")), style=BEST if ("p50_ms", group.name) in first else "")
    yield Text(_range(latency.get("p99")), style=BEST if ("p99_ms", group.name) in first else "")
    yield _cpu(group)
    yield _text(found[1].wrong_rate) if found else NONE
    yield _with_margin(group.cold_ms)
    if traffic:
        costs = [(cost_at(comparison, group, rate), (cost_metric(rate), group.name) in first) for rate in traffic]
        said = [Text(_text(shown(group, c[1].per_million_allocation)) if c else NONE, style=BEST if best else "") for c, best in costs]
        yield Text(" · ").join(said)


def _cpu(group: Group) -> str:
    """Architecture + platform; ? for the part that was not measured."""
    both = (group.cpu_ms_architecture, group.cpu_ms_platform)
    if all(stat.value is None for stat in both):
        return NONE
    return "+".join("?" if stat.value is None else figures.number(stat.value, 2) for stat in both) + " ms"


def _text(stat: Stat) -> str:
    made = figures.figure(stat).text
    return NONE if made == DASH else made


def _with_margin(stat: Stat | None) -> str:
    if stat is None or stat.value is None:
        return NONE
    return f"{figures.number(stat.value)} {figures.margin(stat)} {stat.unit}".replace("  ", " ")


def _range(stat: Stat | None) -> str:
    """A tail is only as good as its interval: low–high where there is one, ±? where it is withheld."""
    if stat is None or stat.value is None:
        return NONE
    if figures.withheld(stat):
        return _with_margin(stat)
    between = figures.interval(stat)
    return f"{between} {stat.unit}" if "–" in between else figures.figure(stat).text


def _lines(rows: Sequence[tuple[str, *tuple[Text, ...]]], labels: int) -> Table:
    """Rows of a label and as many texts; labels take the same room in every such table."""
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=labels)
    for row in rows:
        grid.add_row(Text(row[0]), *row[1:])
    return grid


def _answer(comparison: Comparison | None) -> Iterator[tuple[str, Text]]:
    if comparison is not None:
        yield "answer", Text(comparison.answer, style="bold")
        yield "", Text(comparison.certainty)


def _rankings(comparison: Comparison | None) -> Iterator[tuple[str, Text, Text]]:
    for metric, lines in cloud.lines(comparison) if comparison else ():
        for number, line in enumerate(lines):
            yield "" if number else metric, Text(line.order), Text(line.words, style=STYLE[line.status])


def _costs(comparison: Comparison | None) -> Iterator[tuple[str, Text]]:
    costs = comparison.costs if comparison else None
    for number, b in enumerate(costs.break_even if costs else ()):
        yield "" if number else "break-even", Text(cloud.break_even(b))
    if costs:
        listed = f"{costs.prices} {costs.region}, list prices, cpu_scale {figures.plain(costs.cpu_scale)}, allocation basis."
        yield "prices", Text(f"{listed} {facts.pricing(costs)}".strip(), style="dim")


def _limits(summary: Summary, comparison: Comparison | None) -> Iterator[tuple[str, Text]]:
    unsaid = [silence.words for silence in cloud.unsaid(comparison)] if comparison else []
    unsaid += [] if any("p99 cannot be measured" in words for words in unsaid) else _missing_tails(summary)
    unsaid += _withheld(summary)
    for number, words in enumerate(unsaid):
        yield "" if number else "cannot say", Text(words, style="dim")
    yield "budget", Text(method.BUDGET.get(summary.enforcement, summary.enforcement), style="dim")
    yield from (("" if n else "scaled by", Text(words)) for n, words in enumerate(facts.scalers(summary)))
    if summary.load_kind != "ladder":
        yield from (("" if n else "load", Text(words)) for n, words in enumerate(load.said(summary)))
    yield "floor", Text(facts.floor(summary) + " CPU/req is architecture + platform.")
    if summary.driving:
        yield "driver", Text(facts.driver(summary.driving))
    yield from (("" if n else "faults", Text(words)) for n, words in enumerate(summary.faults))
    for cell in (c for c in summary.cells if not c.valid):
        yield "INVALID", Text(f"{cell.cell}: {'; '.join(cell.reasons)}", style="red")
    if not summary.verdicts:
        least = tellable(summary.detectable_ratio)
        smallest = f"; differences below {figures.share(least)} cannot be told" if least is not None else ""
        smallest += ", nor tell any difference by a test" if tells_nothing(summary.detectable_ratio) else ""
        count = f"{summary.deployments} deployment" + ("s" if summary.deployments != 1 else "")
        more = "a larger `gate.least`" if any(g.code_ref for g in summary.groups) else "`lab run compare-full`"
        yield "limits", Text(f"{count} of each cannot give a verdict{smallest}: {more} can.")


def _withheld(summary: Summary) -> Iterator[str]:
    """Which figures of the table have a value and no interval (±?), those of one reason in one line."""
    found: dict[str, list[str]] = {}
    for group in filter(usable, summary.groups):
        step = primary_step(summary, group)
        latency = step[1].latency if step else {}
        for name in ("p50", "p99"):
            stat = latency.get(name)
            if stat is not None and figures.withheld(stat):
                found.setdefault(stat.why_missing, []).append(f"{name} of {group.name}")
    yield from (f"{', '.join(names)} at {figures.per_second(summary.primary_rate_per_s)}: {why}" for why, names in found.items())


def _missing_tails(summary: Summary) -> Iterator[str]:
    """Which groups have no p99 at the primary rate, those of one reason in one line whatever their number of samples."""
    found: dict[str, list[tuple[str, Stat]]] = {}
    groups = [g for g in summary.groups if usable(g)]
    for group in groups:
        step = primary_step(summary, group)
        stat = step[1].latency.get("p99") if step else None
        if stat is not None and stat.value is None and summary.primary_rate_per_s:
            found.setdefault(stat.why_missing.removeprefix(f"{stat.n} samples; "), []).append((group.name, stat))
    for why, missing in found.items():
        counts = sorted({s.n for _, s in missing if s.why_missing != why})
        samples = f"{counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} samples; " if counts else ""
        of = "every architecture" if len(missing) == len(groups) else ", ".join(name for name, _ in missing)
        yield f"p99 of {of} at {figures.per_second(summary.primary_rate_per_s)}: {samples}{why}"
