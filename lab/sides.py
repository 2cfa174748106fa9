"""A scenario's `gate:` and `service:` as the plan needs them: refused where they do not fit together, else a GatePlan; and what both
sides' own plans place, refused where they do not answer the same question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab import registry, thresholds
from lab.errors import InputError
from lab.model import CodeRef, GatePlan, Plan, Topology
from lab.scenario import Serve

GATE_EXAMPLE = "add for example `gate: {thresholds: ['p50_ms vs base < +10 %']}` to the scenario"
Placed = Mapping[tuple[str, str, str, str], Topology]  # (side, architecture, variant, model size) -> as that side's own code places it


def check(name: str, body: Serve, refs: Sequence[CodeRef], placed: Placed) -> None:
    """Raises InputError for a workload that nothing of the scenario can serve, and for --base where nothing can be judged."""
    if not registry.workload(body.workload).stages and body.architectures:
        what = f"workload {body.workload} has no stages, and {name} places them in architectures"
        raise InputError(what, "give `service:` instead of `architectures:`, or a workload with stages and handlers")
    if refs and body.gate is None:
        raise InputError(f"{name} has no `gate:`, so nothing says when head is worse than base", GATE_EXAMPLE)
    if refs and body.service is None and not placed:
        what = f"{name} measures architectures, and this provider runs the code of one tree only"
        raise InputError(
            what, "take provider embedded, or give `service:` (start, ready, build) instead of `architectures:`; see README.md"
        )


def gate(body: Serve) -> GatePlan | None:
    """Looks that are not given: at `least`, in the middle and at `most`."""
    if body.gate is None:
        return None
    least, most = body.gate.least, body.gate.most
    looks = body.gate.looks or sorted({least, (least + most) // 2, most})
    return GatePlan(thresholds=tuple(map(thresholds.parse, body.gate.thresholds)), least=least, most=most, looks=tuple(looks))


# ---- what both sides say ---------------------------------------------------------------------------------------------


def placed(plans: Mapping[str, Plan]) -> Placed:
    """From each side's own plan of the scenario. Raises InputError where they differ in more than in how they do it."""
    alike(plans)
    return {
        (side, cell.architecture, cell.variant, cell.model_size): cell.topology
        for side, plan in plans.items()
        for cell in plan.cells
        if cell.role == "subject" and cell.block == 0 and cell.topology
    }


def alike(plans: Mapping[str, Plan]) -> None:
    """Raises InputError with all that is not the same in every plan."""
    asked = {name: _question(plan) for name, plan in plans.items()}
    labels = dict.fromkeys(label for question in asked.values() for label in question)
    problems = []
    for label in labels:
        values = {name: question.get(label, "nothing") for name, question in asked.items()}
        if len(set(values.values())) > 1:
            problems.append(f"{label}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
    if problems:
        what = f"{', '.join(asked)} do not answer the same question"
        raise InputError(what, "give both sides one scenario and one workload to answer; only how they do it may differ", problems)


def _question(plan: Plan) -> dict[str, str]:
    """What is asked of a side, whatever its code does: the same for both, or their ratio would mean nothing."""
    found = {
        "workload": plan.workload,
        "budget": f"{plan.budget.cpus:g} CPU and {plan.budget.memory_mib} MiB",
        "primary metric": f"{plan.primary_metric} at {plan.primary_rate_per_s:g}/s",
    }
    for cell in plan.cells:
        if cell.role == "subject" and cell.block == 0:
            load, name = cell.load, " ".join(filter(None, (cell.architecture, cell.variant, cell.model_size)))
            rates = ", ".join(f"{rate:g}" for rate in load.rates_per_s)
            found[f"load of {name}"] = f"{load.kind} {rates}/s for {load.window_s:g} s, {load.arrival}"
            found[f"operations of {name}"] = ", ".join(sorted(cell.topology.routes if cell.topology else ()))
    return found
