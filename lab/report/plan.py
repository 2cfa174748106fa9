"""What `lab plan` prints: the cells, then what holds for all of them, how long it takes and what it will be able to tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.model import Cell, Plan, Topology
from lab.power import GATE_DEPLOYMENTS, tellable, too_few
from lab.progress import clock
from lab.report import load
from lab.report.method import BUDGET

COLUMNS = ("cell", "architecture", "workload", "load", "about")


def terminal(found: Plan) -> RenderableType:
    """Names and commands are plain text: markup in them is not obeyed."""
    lines = (*_conditions(found), *_promises(found), *_service(found), *_gate(found))
    return Group(_cells(found), *_more(found), Text(), *map(Text, lines))


def _cells(found: Plan) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column == "about" else "left", overflow="fold")
    for cell in found.cells if not found.refs else _first(found):
        cold = f", {cell.load.cold_requests} cold" if cell.load.cold_requests else ""
        role = "" if cell.role == "subject" else f"({cell.role.replace('_', ' ')})"
        what = " ".join(filter(None, (cell.architecture, cell.variant, cell.code_ref and f"@{cell.code_ref}", role)))
        cells = (cell.id, what, f"{cell.workload} {cell.model_size}", f"{load.planned(cell.load)}{cold}", f"{cell.expected_s:.0f} s")
        table.add_row(*map(Text, cells))
    return table


def _first(found: Plan) -> Sequence[Cell]:
    """The floors and the first two blocks; the others are like them."""
    return [c for c in found.cells if c.role != "subject" or c.block < 2]


def _more(found: Plan) -> Iterator[Text]:
    if found.refs:
        yield Text(f"... and so on: {len(found.cells)} cells at most, in blocks of base, head, head, base")


def _conditions(found: Plan) -> Iterator[str]:
    """What every cell gets, and what is done to it."""
    yield f"budget      {found.budget.cpus:g} CPU and {found.budget.memory_mib} MiB for each architecture, its activator included"
    yield f"            {BUDGET[found.enforcement]}"
    yield f"isolation   {found.isolation} (enforcement: {found.enforcement})"
    if any(cell.topology and cell.topology.autoscaled for cell in found.cells):
        yield f"scaler      {found.scaler}, of services with scaling on CPU"
    for fault in dict.fromkeys(fault for cell in found.cells for fault in cell.faults):
        yield f"fault       {fault}; the plan's own, so it makes no cell INVALID by itself"


def _promises(found: Plan) -> Iterator[str]:
    """How long it takes, and what its figures will be able to tell."""
    yield f"minutes     about {clock(found.expected_s)} at most"
    at = f" at {found.primary_rate_per_s:g} requests/s" if found.primary_rate_per_s else " in the closed loop"
    yield f"primary     {found.primary_metric}{at}"
    yield f"can tell    {_tells(found)}"
    kind = "verdicts" if found.verdicts else "exploratory: intervals, no verdicts (7 deployments give verdicts)"
    yield f"result      {kind}"


def _tells(found: Plan) -> str:
    if found.detectable_ratio is None:
        return "nothing: one deployment has no spread"
    least = tellable(found.detectable_ratio)
    few = f"no difference: {found.deployments} deployments are too few"
    what = few if least is None else f"differences of {least * 100:.0f} % and more"
    return f"{what} (80 % power; spread of {found.spread:.1%} between deployments, {found.spread_source})"


def _service(found: Plan) -> Iterator[str]:
    if found.service is not None:
        yield f"service     {found.service.start} (ready: GET {found.service.ready})"
        yield f"            build: {found.service.build or 'none'}"
    elif found.refs:
        yield f"placed      {_placed(found)}; workload and services are each side's own code"
        yield f"            build: {found.environment.build if found.environment else 'a venv where pyproject.toml is a project'}"


def _placed(found: Plan) -> str:
    """Which subjects base and head stand up differently."""
    seen: dict[str, list[Topology | None]] = {}
    for cell in _first(found):
        if cell.code_ref:
            seen.setdefault(" ".join(filter(None, (cell.architecture, cell.variant, cell.model_size))), []).append(cell.topology)
    differ = [name for name, topologies in seen.items() if any(each != topologies[0] for each in topologies)]
    return f"differently on base and head: {', '.join(differ)}" if differ else "the same on base and head"


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
