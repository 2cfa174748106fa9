"""What a run measures of the user's own repository: base and head as they stand for it, and at a look whether more is needed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, runtime_checkable

from lab import builds, checkouts, ownership, refs, registry, spawn
from lab.builds import Build
from lab.contracts import Code, Provider, RunsCode
from lab.errors import InputError
from lab.model import Cell, Plan, ServicePlan
from lab.power import GATE_DEPLOYMENTS, too_few
from lab.progress import Progress
from lab.rundir import CellStatus, RunDir
from lab.settings import Settings

STOP_S = 5.0
OWN_TREE = ""  # the side of a run without --base


@runtime_checkable
class Serves(Protocol):
    """What provider checkout offers beside Provider."""

    def serve(self, service: ServicePlan, folders: Mapping[str, Path], cpus: float) -> None: ...


@contextmanager
def standing(
    plan: Plan, made: RunDir, provider: Provider, settings: Settings, shown: Progress, codes: Mapping[str, Code] | None
) -> Iterator[None]:
    """Everything that is to be measured is checked out and built before anything is measured; no worktree is left. `codes`: the sides of
    architectures, where they stand already."""
    if not plan.refs and plan.service is None:
        yield
        return
    if plan.refs and plan.gate and plan.gate.least < GATE_DEPLOYMENTS:
        shown.phase(f"WARNING: {too_few(plan.gate.least)}")
    with _own(plan, plan.service, made, provider, settings, shown) if plan.service else _placed(plan, provider, settings, shown, codes):
        yield


@contextmanager
def _own(plan: Plan, service: ServicePlan, made: RunDir, provider: Provider, settings: Settings, shown: Progress) -> Iterator[None]:
    spawn.end(spawn.of_lab(settings.state), STOP_S)  # what a killed run left, which this one resumes
    try:
        folders = _folders(plan, settings, shown)
        if service.build:
            wanted = {
                side: Build(
                    text=service.build, folder=folder, timeout_s=service.build_timeout_s, bound="service.build_timeout_s", env=service.env
                )
                for side, folder in folders.items()
            }
            builds.run(wanted, made.root / "build", _tag(settings), shown)
        if not isinstance(provider, Serves):
            raise InputError(f"provider {provider.name} starts no service of your own", "take `provider` out: `service:` implies checkout")
        provider.serve(service, folders, plan.budget.cpus)
        yield
    finally:
        refs.of_lab(settings.state).remove()


@contextmanager
def _placed(plan: Plan, provider: Provider, settings: Settings, shown: Progress, codes: Mapping[str, Code] | None) -> Iterator[None]:
    if not isinstance(provider, RunsCode):
        raise InputError(f"provider {provider.name} runs the code of one tree only", "take provider embedded")
    sizes = tuple(dict.fromkeys(c.model_size for c in plan.cells if c.role == "subject"))
    with (
        checkouts.standing(plan.refs, plan.workload, sizes, plan.environment, settings, shown)
        if codes is None
        else nullcontext(codes) as found
    ):
        provider.run_code(found)
        yield


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
