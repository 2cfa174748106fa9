"""Series of the history in; a table with a sparkline and the change points of each out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.analysis.trend import LEAST, Change, Series
from lab.analysis.verdict import change, figure

BARS = "▁▂▃▄▅▆▇█"
LONGEST = 40  # points of a sparkline; the newest ones
COLUMNS = ("scenario", "group", "metric", "machine", "runs", "first", "last", "trend", "changed")


def terminal(found: Sequence[Series]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in COLUMNS:
        table.add_column(title, overflow="fold", no_wrap=title == "trend")
    digests = {(s.scenario, s.scenario_sha256) for s in found}
    for one in found:
        edited = sum(name == one.scenario for name, _ in digests) > 1
        name = f"{one.scenario} ({one.scenario_sha256[:8]})" if edited else one.scenario
        first, last = (figure(p.value, one.unit) for p in (one.points[0], one.points[-1]))
        told = "\n".join(map(_changed, one.changes)) or ("no" if len(one.points) >= 2 * LEAST else f"needs {2 * LEAST} runs")
        cells = (
            name,
            one.group,
            one.metric,
            one.machine[:8],
            str(len(one.points)),
            first,
            last,
            sparkline([p.value for p in one.points]),
            told,
        )
        table.add_row(*map(Text, cells))
    return Group(table, Text(), Text("each row is one machine and one scenario file; others are never joined to it", style="dim"))


def sparkline(values: Sequence[float]) -> str:
    """From the lowest to the highest of the newest values; a flat line in the middle where all are equal."""
    shown = list(values[-LONGEST:])
    low, high = min(shown), max(shown)
    if high <= low:
        return BARS[len(BARS) // 2] * len(shown)
    return "".join(BARS[min(len(BARS) - 1, int((v - low) / (high - low) * len(BARS)))] for v in shown)


def _changed(at: Change) -> str:
    return f"{change(at.ratio)} from {at.run}" + (f" ({at.commit[:8]})" if at.commit else "")
