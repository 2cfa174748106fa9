"""What `lab run` prints when it is done: the table, the rankings and what the run cannot say, for any width of terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lab.analysis.results import Comparison, Group, Summary
from lab.model import Stat
from lab.report import cloud, figures, page
from lab.report.figures import DASH
from lab.report.tables import cost_at, primary_step, shown, usable

NONE = "-"
STYLE = {"holds": "green", "flips": "yellow"}


def table(summary: Summary, comparison: Comparison | None = None) -> RenderableType:
    """Names are plain text: markup in them is not obeyed. A group without a valid deployment shows no number."""
    head = Text(f"{page.heading(summary)} (class: {page.claims(summary) or 'claims nothing'})  {figures.duration(summary.duration_s)}")
    head.stylize("bold")
    parts: list[RenderableType] = [head, _figures(summary, comparison)]
    lines = [*_answer(comparison), *_rankings(comparison), *_costs(comparison), *_limits(summary)]
    if lines:
        parts += [Text(), _lines(lines)]
    return Stack(*parts)


def _figures(summary: Summary, comparison: Comparison | None) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("", overflow="fold")
    for title in ("held", "p50", "p99", "CPU/req", "wrong", "cold start"):
        grid.add_column(title, justify="right", no_wrap=True)
    traffic = summary.traffic_per_s if comparison and comparison.costs else ()
    if traffic:
        grid.add_column(f"$ per 1M at {' · '.join(map(figures.per_second, traffic))}", justify="right", overflow="fold")
    for group in summary.groups:
        grid.add_row(Text(group.name, style="bold"), *_row(summary, comparison, group))
    return grid


def _row(summary: Summary, comparison: Comparison | None, group: Group) -> Iterator[str]:
    traffic = summary.traffic_per_s if comparison and comparison.costs else ()
    if not usable(group):
        yield from ("INVALID", *[NONE] * (5 + bool(traffic)))
        return
    yield _text(group.held_rate_per_s)
    found = primary_step(summary, group)
    latency = found[1].latency if found else {}
    yield _with_margin(latency.get("p50"))
    yield _range(latency.get("p99"))
    yield f"{_bare(group.cpu_ms_architecture)}+{_bare(group.cpu_ms_platform)} ms"
    yield _text(found[1].wrong_rate) if found else NONE
    yield _text(group.cold_ms)
    if traffic:
        costs = [cost_at(comparison, group, rate) for rate in traffic]
        yield " · ".join(_text(shown(group, c[1].per_million_allocation)) if c else NONE for c in costs)


def _text(stat: Stat) -> str:
    made = figures.figure(stat).text
    return NONE if made == DASH else made


def _bare(stat: Stat) -> str:
    return NONE if stat.value is None else figures.number(stat.value, 2)


def _with_margin(stat: Stat | None) -> str:
    if stat is None or stat.value is None:
        return NONE
    return f"{figures.number(stat.value)} {figures.margin(stat)} {stat.unit}".replace("  ", " ")


def _range(stat: Stat | None) -> str:
    """A tail is only as good as its interval: low-high where there is one."""
    if stat is None or stat.value is None:
        return NONE
    between = figures.interval(stat).replace("–", "-")
    return f"{between} {stat.unit}" if between else figures.figure(stat).text


def _lines(rows: list[tuple[str, Text]]) -> Table:
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(Text(label), text)
    return grid


def _answer(comparison: Comparison | None) -> Iterator[tuple[str, Text]]:
    if comparison is not None:
        yield "answer", Text(comparison.answer, style="bold")
        yield "", Text(comparison.certainty)


def _rankings(comparison: Comparison | None) -> Iterator[tuple[str, Text]]:
    if comparison is None:
        return
    for metric, rankings in cloud.lines(comparison):
        line = Text("; ").join(Text(cloud.order(r), style=STYLE[r.status]) for r in rankings)
        yield metric, line
    for silence in cloud.unsaid(comparison):
        yield "cannot say", Text(f"{', '.join(silence.metrics)} of {silence.pairs}: {silence.sentence}", style="dim")


def _costs(comparison: Comparison | None) -> Iterator[tuple[str, Text]]:
    costs = comparison.costs if comparison else None
    for b in costs.break_even if costs else ():
        yield "cost", Text(cloud.break_even(b))
    if costs:
        yield (
            "",
            Text(f"list prices {costs.prices} {costs.region}, cpu_scale {figures.plain(costs.cpu_scale)}, allocation basis", style="dim"),
        )


def _limits(summary: Summary) -> Iterator[tuple[str, Text]]:
    yield "floor", Text(page.floor(summary) + " CPU/req is architecture + platform.")
    missing = dict.fromkeys(s.why_missing for s in _missing_tails(summary))
    for why in missing:
        yield "p99", Text(f"{NONE} because: {why}")
    invalid = [c for c in summary.cells if not c.valid]
    for cell in invalid:
        yield "INVALID", Text(f"{cell.cell}: {'; '.join(cell.reasons)}", style="red")
    if not summary.verdicts:
        smallest = f"; differences below {figures.share(summary.detectable_ratio - 1)} cannot be told" if summary.detectable_ratio else ""
        count = f"{summary.deployments} deployment" + ("s" if summary.deployments != 1 else "")
        yield "limits", Text(f"{count} cannot give a verdict{smallest}: `lab run compare-full` can.")


def _missing_tails(summary: Summary) -> Iterator[Stat]:
    for group in filter(usable, summary.groups):
        found = primary_step(summary, group)
        stat = found[1].latency.get("p99") if found else None
        if stat is not None and stat.value is None:
            yield stat
