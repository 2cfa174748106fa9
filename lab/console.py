"""Prints results: a table for people, JSON for machines; no colour when the output is not a terminal."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import msgspec
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lab import registry
from lab.contracts import Endpoint
from lab.model import Cell, Plan, Topology, Usage
from lab.power import GATE_DEPLOYMENTS, tellable, too_few
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
            table.add_row(*map(escape, (k, name, entry["about"], entry["file"])))
    _out().print(table)
    return None


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
    from lab.report import load
    from lab.report.method import BUDGET

    if as_json:
        return _json(found)
    out = _out()
    table = _table("cell", "architecture", "workload", "load", "about", numbers=["about"])
    for cell in found.cells if not found.refs else _first(found):
        cold = f", {cell.load.cold_requests} cold" if cell.load.cold_requests else ""
        role = "" if cell.role == "subject" else f"({cell.role.replace('_', ' ')})"
        what = " ".join(filter(None, (cell.architecture, cell.variant, cell.code_ref and f"@{cell.code_ref}", role)))
        planned = f"{load.planned(cell.load)}{cold}"
        table.add_row(cell.id, what, f"{cell.workload} {cell.model_size}", planned, f"{cell.expected_s:.0f} s")
    out.print(table)
    if found.refs:
        out.print(f"... and so on: {len(found.cells)} cells at most, in blocks of base, head, head, base")
    out.print(f"\nbudget      {found.budget.cpus:g} CPU and {found.budget.memory_mib} MiB for each architecture, its activator included")
    out.print(f"            {BUDGET[found.enforcement]}")
    out.print(f"isolation   {found.isolation} (enforcement: {found.enforcement})")
    scaled = any(cell.topology and cell.topology.autoscaled for cell in found.cells)
    if scaled:
        out.print(f"scaler      {found.scaler}, of services with scaling on CPU")
    for fault in dict.fromkeys(fault for cell in found.cells for fault in cell.faults):
        out.print(f"fault       {fault}; the plan's own, so it makes no cell INVALID by itself")
    out.print(f"minutes     about {clock(found.expected_s)} at most")
    at = f" at {found.primary_rate_per_s:g} requests/s" if found.primary_rate_per_s else " in the closed loop"
    out.print(f"primary     {found.primary_metric}{at}")
    if found.detectable_ratio is None:
        out.print("can tell    nothing: one deployment has no spread")
    else:
        least = tellable(found.detectable_ratio)
        what = (
            f"differences of {least * 100:.0f} % and more"
            if least is not None
            else f"no difference: {found.deployments} deployments are too few"
        )
        source = f"spread of {found.spread:.1%} between deployments, {found.spread_source}"
        out.print(f"can tell    {what} (80 % power; {source})")
    kind = "verdicts" if found.verdicts else "exploratory: intervals, no verdicts (7 deployments give verdicts)"
    out.print(f"result      {kind}")
    if found.service is not None:
        out.print(f"service     {escape(found.service.start)} (ready: GET {escape(found.service.ready)})")
        out.print(f"            build: {escape(found.service.build) or 'none'}")
    if found.refs and found.service is None:
        out.print(f"placed      {_placed(found)}; workload and services are each side's own code")
        out.print(
            f"            build: {escape(found.environment.build) if found.environment else 'a venv where pyproject.toml is a project'}"
        )
    for line in _gate(found):
        out.print(escape(line))
    return None


def _placed(found: Plan) -> str:
    """Which subjects base and head stand up differently."""
    seen: dict[str, list[Topology | None]] = {}
    for cell in _first(found):
        if cell.code_ref:
            seen.setdefault(" ".join(filter(None, (cell.architecture, cell.variant, cell.model_size))), []).append(cell.topology)
    differ = [name for name, topologies in seen.items() if any(each != topologies[0] for each in topologies)]
    return f"differently on base and head: {', '.join(differ)}" if differ else "the same on base and head"


def _first(found: Plan) -> Sequence[Cell]:
    """The floors and the first two blocks; the others are like them."""
    return [c for c in found.cells if c.role != "subject" or c.block < 2]


def _gate(found: Plan) -> Iterator[str]:
    if not found.refs or found.gate is None:
        return
    for ref in found.refs:
        yield f"{ref.name}        {ref.commit}{', a snapshot with changes that no commit has' if ref.dirty else ''}"
    gate = found.gate
    for number, threshold in enumerate(gate.thresholds):
        yield f"{'' if number else 'thresholds':<12}{threshold.text}"
    looks = ", ".join(map(str, gate.looks))
    yield f"stops       at {gate.looks[0]} deployments of each side at the earliest, at {gate.most} at the latest; looks at {looks}"
    yield "            at a look it stops when the gate passes or fails; what is open at the last one is INCONCLUSIVE, never a pass"
    if gate.least < GATE_DEPLOYMENTS:
        yield f"WARNING     {too_few(gate.least)}"


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
