"""Runs of one scenario on several providers in; beside their rankings, what each provider is, its numbers, and how they differ, out."""

from __future__ import annotations

from collections.abc import Sequence

from lab.analysis import parts, turned
from lab.analysis.said import latency
from lab.analysis.sides import Numbers, Side
from lab.analysis.taken import Taken
from lab.model import Stat

EXPECTED = ("provider",)  # of the machine's identity: it is what is compared


def side(t: Taken) -> Side:
    s = t.summary
    absent = Stat.missing("ms", "the scenario does not measure it")
    return Side(
        name=t.name,
        run=s.run,
        identity=t.about.identity,
        machine_class=s.machine_class,
        isolation=s.isolation,
        enforcement=s.enforcement,
        scaler=t.plan.scaler,
        driver=s.driving.place if s.driving else "outside",
        deployments=s.deployments,
        verdicts=s.verdicts,
        cells=len(s.cells),
        invalid=tuple(c for c in s.cells if not c.valid),
        floor_driver_ms=s.floor_driver_ms.get("p50", absent),
        floor_path_ms=s.floor_path_ms.get("p50", absent),
        answer=t.comparison.answer,
        functions=turned.priced_functions(t),
        started_at=s.started_at,
        command=s.command,
    )


def numbers(t: Taken, name: str) -> Numbers:
    g, p50 = t.groups[name], latency(t, name, "p50")
    return Numbers(
        group=name,
        side=t.name,
        valid_deployments=g.valid_deployments,
        deployments=g.deployments,
        p50=p50,
        cpu_ms_architecture=g.cpu_ms_architecture,
        cpu_ms_platform=g.cpu_ms_platform,
        held_rate_per_s=g.held_rate_per_s,
        cold_ms=g.cold_ms,
        ready_s=g.ready_s,
        month={f"{rate:g}": t.month(name, rate) for rate in t.plan.traffic_per_s} if t.comparison.costs else {},
        parts_ms=parts.latency_ms(g, p50),
    )


def differences(taken: Sequence[Taken]) -> dict[str, tuple[str, ...]]:
    fields = dict.fromkeys(f for t in taken for f in t.about.machine if f not in EXPECTED)
    values = {f: tuple(str(t.about.machine.get(f, "not recorded")) for t in taken) for f in fields}
    return {f: v for f, v in values.items() if len(set(v)) > 1}


def certainty(taken: Sequence[Taken]) -> str:
    fewest = min(t.summary.deployments for t in taken)
    kind = "verdicts" if all(t.summary.verdicts for t in taken) else "exploratory, no verdicts"
    said_it = (
        f"Rankings are compared, not numbers: providers are different machines by identity. {fewest} deployments of each architecture, "
        f"{kind}; a pair is told where 95 % intervals lie apart and the difference is above the floor."
    )
    bad = [f"{len(t.summary.cells) - sum(c.valid for c in t.summary.cells)} of {len(t.summary.cells)} on {t.name}" for t in taken]
    invalid = any(not c.valid for t in taken for c in t.summary.cells)
    return said_it + (f" INVALID cells: {', '.join(bad)}." if invalid else " All cells are valid.")


def notes(taken: Sequence[Taken]) -> list[str]:
    notes = []
    differ = differences(taken)
    if differ:
        fields = "; ".join(f"{f}: {' against '.join(v)}" for f, v in differ.items())
        notes.append(f"Beside the provider the machines differ in {fields}. What turned may be these.")
    commits = list(dict.fromkeys(str(t.about.subject.get("git") or "unknown")[:12] for t in taken))
    if len(commits) > 1:
        notes.append(f"The runs measured different commits of the lab: {', '.join(commits)}.")
    own = {k: tuple(t.plan.settings.get(k) for t in taken) for k in dict.fromkeys(k for t in taken for k in t.plan.settings)}
    chosen = "; ".join(f"{k}: {' against '.join(str(v) or 'default' for v in values)}" for k, values in own.items() if _matters(k, values))
    if chosen:
        notes.append(f"Settings that differ: {chosen}.")
    return notes


def _matters(key: str, values: Sequence[object]) -> bool:
    return key not in ("provider", "name") and len(set(values)) > 1
