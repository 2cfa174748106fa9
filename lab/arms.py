"""What a run measures of the user's own repository: worktrees of base and head, their builds, and at a look whether more is needed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from lab import ownership, refs, registry, shell, spawn
from lab.contracts import Provider
from lab.errors import InputError
from lab.model import Cell, Plan, ServicePlan
from lab.power import GATE_DEPLOYMENTS, too_few
from lab.progress import Progress
from lab.rundir import CellStatus, RunDir
from lab.settings import Settings
from lab.spawn import Process

STOP_S = 5.0
SAID_LINES = 8
OWN_TREE = ""  # the side of a run without --base


@runtime_checkable
class Serves(Protocol):
    """What provider checkout offers beside Provider."""

    def serve(self, service: ServicePlan, folders: Mapping[str, Path], cpus: float) -> None: ...


@contextmanager
def standing(plan: Plan, made: RunDir, provider: Provider, settings: Settings, shown: Progress) -> Iterator[None]:
    """Everything that is to be measured is checked out and built before anything is measured; no worktree is left."""
    if not plan.refs and plan.service is None:
        yield
        return
    if plan.refs and plan.gate and plan.gate.least < GATE_DEPLOYMENTS:
        shown.phase(f"WARNING: {too_few(plan.gate.least)}")
    if plan.service is not None:
        spawn.end(spawn.of_lab(settings.state), STOP_S)  # what a killed run left, which this one resumes
    try:
        folders = _folders(plan, settings, shown)
        if plan.service is not None:
            build(plan.service, folders, made.root / "build", _tag(settings), shown)
            if not isinstance(provider, Serves):
                raise InputError(
                    f"provider {provider.name} starts no service of your own", "take `provider` out: `service:` implies checkout"
                )
            provider.serve(plan.service, folders, plan.budget.cpus)
        yield
    finally:
        refs.of_lab(settings.state).remove()


def _folders(plan: Plan, settings: Settings, shown: Progress) -> dict[str, Path]:
    here = registry.project().resolve()
    if not plan.refs:
        return {OWN_TREE: here}
    for ref in plan.refs:
        shown.phase(f"checking out {ref.name}, {ref.commit[:12]}{' with changes' if ref.dirty else ''}")
    worktrees = refs.check_out(here, settings.state, plan.refs)
    return {ref.name: worktrees.of(ref.name) for ref in plan.refs}


def _tag(settings: Settings) -> spawn.Record:
    if not ownership.is_lab(settings.state):
        ownership.mark(settings.state)
    return spawn.Record(path=settings.state / "processes.jsonl", lab_id=spawn.new_lab_id(settings.state))


# ---- builds ----------------------------------------------------------------------------------------------------------


def build(service: ServicePlan, folders: Mapping[str, Path], logs: Path, record: spawn.Record, shown: Progress) -> None:
    """Each side in its own folder, one after the other. Raises InputError that says which failed, with its last lines."""
    if not service.build:
        return
    logs.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    for side, folder in folders.items():
        shown.phase(f"building {side or 'the service'}: {service.build}")
        log = logs / f"{side or 'service'}.log"
        log.unlink(missing_ok=True)
        process = spawn.start(
            shell.command(service.build, service=f"build of {side or 'the service'}", log=log, cwd=folder, env=service.env), record
        )
        try:
            code = process.wait(service.build_timeout_s)
        finally:
            process.stop(STOP_S)
        if code != 0:
            failed[side] = _failure(process, code, service)
    if failed:
        sides = " and ".join(side for side in folders if side in failed)
        only = " only" if len(failed) < len(folders) else ""
        what = f"the build fails on {sides}{only}, so nothing was measured" if sides else "the build fails, so nothing was measured"
        raise InputError(what, f"the whole logs are in {logs}", list(failed.values()))


def _failure(process: Process, code: int | None, service: ServicePlan) -> str:
    if code is None:
        return f"{process.command.service} took more than service.build_timeout_s, {service.build_timeout_s:g} s"
    return process.failure(SAID_LINES)


# ---- looks -----------------------------------------------------------------------------------------------------------


def decided_after(cell: Cell, plan: Plan, made: RunDir, shown: Progress) -> bool:
    """Whether `cell` ends a look of the plan's at which the gate is decided; then the cells that are left are marked as skipped."""
    look = cell.block + 1
    if not plan.refs or plan.gate is None or look not in plan.gate.looks or cell is not _last(plan.cells, cell.block):
        return False
    left = [c for c in plan.cells if c.role == "subject" and c.block >= look]
    if not left or any((status := made.cell(c.id).status()) is not None and status.status == "done" for c in left):
        return False
    from lab.analysis import gate, summarize  # half a second of statistics

    began = time.monotonic()
    found = gate.decided(summarize.summarize(made, look=look), plan, look)
    says = "decided, it stops" if found else "not decided, it goes on"
    shown.phase(f"look at {look} deployments per arm: {says} ({time.monotonic() - began:.1f} s)")
    for each in left if found else ():
        reason = f"the gate was decided at {look} deployments per arm"
        made.cell(each.id).mark(CellStatus(cell=each.id, status="skipped", reason=reason))
    return found


def _last(cells: Sequence[Cell], block: int) -> Cell:
    return [c for c in cells if c.role == "subject" and c.block == block][-1]
