"""Prints results: a table for people, JSON for machines; no colour when the output is not a terminal."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import msgspec
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lab import registry
from lab.contracts import Endpoint
from lab.model import Plan, Usage
from lab.progress import clock
from lab.registry import Kind

if TYPE_CHECKING:
    from lab.analysis.results import Comparison
    from lab.analysis.sides import SideBySide
    from lab.analysis.trend import Row
    from lab.analysis.verdict import Verdict
    from lab.doctor import Finding
    from lab.history import Rebuilt
    from lab.noise.scoring import Fitness
    from lab.rework import Finished
    from lab.rundir import RunDir
    from lab.settings import Settings


def _out() -> Console:
    width = None if sys.stdout.isatty() else 160
    return Console(width=width, highlight=False, soft_wrap=False)


def _json(value: Any) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def _table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table


def endpoints(found: Sequence[Endpoint], *, usage: Sequence[Usage] = (), took_s: float | None = None, as_json: bool = False) -> None:
    if as_json:
        return _json({"services": found, "usage": usage, "took_s": took_s})
    table = _table("service", "kind", "endpoint", "credentials", "ready after", numbers=["ready after"])
    for e in found:
        table.add_row(e.service, f"{e.kind} {e.version}".strip(), e.url, e.credentials or "none needed", f"{e.ready_s:.2f} s")
    _out().print(table)
    if usage:
        memory = _table("service", "tier", "instances", "memory", "CPU", numbers=["instances", "memory", "CPU"])
        for u in usage:
            memory.add_row(u.service, u.tier, str(u.instances), _unit(u.memory_mib, "MiB", 0), _unit(u.cpu_s, "s", 1))
        _out().print(memory)
    if took_s is not None:
        _out().print(f"ready in {took_s:.1f} s. `lab down` stops it, `lab status` shows it, `lab run quick` uses it.")
    return None


def _unit(value: float | None, unit: str, digits: int) -> str:
    return "unknown" if value is None else f"{value:.{digits}f} {unit}"


def doctor(found: Sequence[Finding], settings: Settings, *, as_json: bool) -> None:
    if as_json:
        return _json({"findings": found, "settings": settings})
    table = _table("", "what", "found", "next step")
    marks = {"ok": "[green]ok[/]", "missing": "[red]missing[/]", "limited": "[yellow]limited[/]"}
    for f in found:
        mark = marks[f.state] if f.needed or f.state != "missing" else "[dim]not there[/]"
        table.add_row(mark, *map(escape, (f.name, f.says, f.next_step)))
    out = _out()
    out.print(table)
    bad = [f.name for f in found if f.needed and f.state == "missing"]
    out.print(
        f"\nprovider {settings.provider} cannot work here: {', '.join(bad)}" if bad else f"\nprovider {settings.provider} can work here."
    )
    return None


def noise(found: Fitness, *, as_json: bool) -> None:
    if as_json:
        return _json(found)
    table = _table("points", "what", "found", "wanted", "what to do", numbers=["points"])
    for p in found.parts:
        points = f"- of {p.most}" if p.points is None else f"{p.points:g} of {p.most}"
        table.add_row(points, *map(escape, (p.name, p.found, p.wanted, p.advice)))
    out = _out()
    out.print(table)
    untold = f"; {found.untold} points were not told by the system" if found.untold else ""
    out.print(f"\nscore       {found.score} of 100{untold}")
    out.print(f"class       {found.machine_class}; may claim {', '.join(found.claims)}")
    for claim in found.withheld:
        out.print(f"            no claim on {claim.claim}: {claim.why}")
    rate = found.readings.driver_rate_per_s
    learned = "not told: `lab doctor --noise --driver` measures it" if rate is None else f"{rate:.0f} requests/s for each process"
    out.print(f"driver      {learned}")
    for note in found.notes:
        out.print(f"note        {escape(note)}")
    for sentence in found.invalid_now:
        out.print(f"[red]INVALID[/]     now, because {escape(sentence)}")
    return None


def removed(names: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        return _json({"dry_run": dry_run, "removed": names})
    verb = "would delete" if dry_run else "deleted"
    for name in names:
        sys.stdout.write(f"{verb} {name}\n")
    sys.stdout.write("" if names else "nothing to delete\n")
    return None


def names(kind: str | None, *, as_json: bool) -> None:
    kinds = cast(tuple[Kind, ...], (kind,) if kind else get_args(Kind))
    listed = {k: {n: {"about": _about(p), "file": str(p)} for n, p in registry.files(k).items()} for k in kinds}
    if as_json:
        return _json(listed)
    table = _table("kind", "name", "about", "file")
    for k, entries in listed.items():
        for name, entry in entries.items():
            table.add_row(*map(escape, (k, name, entry["about"], _near(entry["file"]))))
    out = _out()
    out.print(table)
    yours = ", ".join(f"{k}/" for k in kinds)
    out.print(f"\n`lab plan NAME` says what a scenario would do; files of yours in {yours} here are found first")
    return None


def _near(file: str) -> str:
    """As it would be typed in this folder."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def _about(path: Path) -> str:
    """The first sentence of a module's docstring, or a YAML file's `about` or first comment."""
    if path.suffix == ".yaml":
        text = path.read_text()
        loaded = yaml.safe_load(text)
        about = loaded.get("about") if isinstance(loaded, dict) else None
        return str(about or text.partition("\n")[0].lstrip("# "))
    source = path / "__init__.py" if path.is_dir() else path
    try:
        return (ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0]
    except SyntaxError as error:
        return f"cannot be read: {error}"


def plan(found: Plan, *, as_json: bool) -> None:
    from lab.report import plan as written

    if as_json:
        return _json(found)
    _out().print(written.terminal(found))
    return None


def finished(found: Finished, *, as_json: bool, quiet: bool) -> int:
    """Prints the table and the path; the exit code is 4 when no cell is valid, or none of one side of a gate."""
    from lab.report import terminal

    summary, comparison = found.summary, found.comparison
    if as_json:
        _json({"run": str(found.run.root), "report": str(found.run.html), "summary": summary, "comparison": comparison})
    else:
        _out().print(terminal.table(summary, comparison))
        _out().print(f"report  {found.run.html}")
        _out().print(f"        {found.run.markdown}")
        if found.took_s is not None and not quiet:
            _out().print(f"took    {clock(found.took_s)}")
    sides = [g for g in summary.groups if g.code_ref]
    return 0 if any(c.valid for c in summary.cells) and all(g.valid_deployments for g in sides) else 4


def comparison(run: RunDir, *, as_json: bool) -> None:
    from lab.analysis.results import Comparison, Summary
    from lab.report import terminal

    summary, found = run.read(run.summary, Summary), run.read(run.comparison, Comparison)
    if as_json:
        return _json(found)
    _out().print(terminal.table(summary, found))
    return None


def two_runs(found: Comparison, path: Path, *, as_json: bool) -> None:
    if as_json:
        return _json(found)
    table = _table("metric", "a", "b", "b / a", "95 % interval", "verdict", "because", numbers=["b / a"])
    for e in found.effects:
        interval = "unknown" if e.ratio.low is None or e.ratio.high is None else f"{e.ratio.low:.2f} - {e.ratio.high:.2f}"
        table.add_row(*map(escape, (e.metric, e.a, e.b, _unit(e.ratio.value, "x", 2), interval, e.verdict, e.reason)))
    _out().print(table)
    for line in (found.answer, found.certainty, *found.notes, str(path)):
        _out().print(escape(line))
    return None


def side_by_side(found: SideBySide, page: Path, *, as_json: bool) -> None:
    from lab.report import side

    if as_json:
        return _json(found)
    _out().print(side.terminal(found))
    _out().print(f"report  {page}")
    return None


def verdict(found: Verdict, *, as_json: bool) -> None:
    from lab.report import verdict as written

    if as_json:
        return _json(found)
    _out().print(written.terminal(found))
    return None


def rebuilt(found: Rebuilt) -> None:
    """On stderr: what --export writes stands alone on stdout."""
    sys.stderr.write(f"wrote the rows of {len(found.kept)} runs again\n")
    sys.stderr.writelines(f"left out {name}: {why}\n" for name, why in found.left_out)


def history(rows: Sequence[Row], *, as_json: bool) -> None:
    from lab.analysis import trend
    from lab.report import trend as written

    found = trend.series(rows)
    if as_json:
        return _json(found)
    _out().print(written.terminal(found))
    return None


def runs(folder: Path, *, as_json: bool) -> None:
    from lab.runs import listing

    found = listing(folder)
    if as_json:
        return _json(found)
    table = _table("run", "scenario", "started", "cells done", "ended", numbers=["cells done"])
    for r in found:
        table.add_row(*map(escape, (r.name, r.scenario, r.started_at, f"{r.done} of {r.cells}", r.ended)))
    _out().print(table)
    sys.stdout.write("" if found else f"no runs in {folder}; `lab run quick` makes one\n")
    return None


def said(lines: Sequence[str], value: object, *, as_json: bool) -> None:
    """Plain lines for people, the value that they tell of for machines."""
    if as_json:
        return _json(value)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return None
