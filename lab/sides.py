"""A scenario's `gate:` and `service:` as the plan needs them: refused where they do not fit together, else a GatePlan."""

from __future__ import annotations

from collections.abc import Sequence

from lab import registry, thresholds
from lab.errors import InputError
from lab.model import CodeRef, GatePlan
from lab.scenario import Serve

GATE_EXAMPLE = "add for example `gate: {thresholds: ['p50_ms vs base < +10 %']}` to the scenario"


def check(name: str, body: Serve, refs: Sequence[CodeRef]) -> None:
    """Raises InputError for a workload that nothing of the scenario can serve, and for --base where nothing can be judged."""
    if not registry.workload(body.workload).stages and body.architectures:
        what = f"workload {body.workload} has no stages, and {name} places them in architectures"
        raise InputError(what, "give `service:` instead of `architectures:`, or a workload with stages and handlers")
    if refs and body.service is None:
        what = f"{name} measures architectures; --base compares two commits of a service of your own"
        raise InputError(what, "give `service:` (start, ready, build) instead of `architectures:`; see README.md")
    if refs and body.gate is None:
        raise InputError(f"{name} has no `gate:`, so nothing says when head is worse than base", GATE_EXAMPLE)


def gate(body: Serve) -> GatePlan | None:
    """Looks that are not given: at `least`, in the middle and at `most`."""
    if body.gate is None:
        return None
    least, most = body.gate.least, body.gate.most
    looks = body.gate.looks or sorted({least, (least + most) // 2, most})
    return GatePlan(thresholds=tuple(map(thresholds.parse, body.gate.thresholds)), least=least, most=most, looks=tuple(looks))
