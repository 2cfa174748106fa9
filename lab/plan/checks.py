"""What a scenario may not ask of a workload or a provider: each check raises InputError with all that it finds."""

from __future__ import annotations

from collections.abc import Sequence

from lab import registry
from lab.contracts import Capabilities
from lab.errors import InputError
from lab.model import Cell
from lab.scenario import Serve


def sizes(body: Serve) -> None:
    sizes = registry.workload(body.workload).model_sizes
    unknown = [s for s in body.model_size if s not in sizes]
    if unknown:
        raise InputError(f"model_size: found {', '.join(unknown)}, wanted {', '.join(sizes)}", f"workload {body.workload} serves no other")


def cells(planned: Sequence[Cell], provider: str, capabilities: Capabilities) -> None:
    """The provider can give every cell what it was planned with."""
    _scaler(planned, provider, capabilities.scaler)
    _faults(planned, provider, capabilities)
    if capabilities.enforcement == "enforced":
        _limits(planned)


def _scaler(cells: Sequence[Cell], provider: str, scaler: str) -> None:
    """A service that should grow with its load, but stays as it is, would be measured as what it is not."""
    scaled = {
        " ".join(filter(None, (c.architecture, c.variant))): ", ".join(s.name for s in c.topology.autoscaled)
        for c in cells
        if c.topology and c.topology.autoscaled
    }
    if scaled and not scaler:
        problems = [f"{subject}: {services} would stay at the fewest instances" for subject, services in scaled.items()]
        what = f"provider {provider} has nothing that scales services with their CPU, which the scenario asks for"
        raise InputError(
            what,
            "provider kind or kubernetes with `--set kubernetes.metrics=install` has (HorizontalPodAutoscaler); or take `autoscale` out",
            problems,
        )


def _faults(cells: Sequence[Cell], provider: str, capabilities: Capabilities) -> None:
    """Every fault can be made, of a service that every subject has, and comes at least once."""
    known = (*capabilities.faults, *(("neighbour",) if capabilities.system_cpus else ()))
    problems: dict[str, None] = {}
    for cell in cells:
        services = [s.name for s in cell.topology.services] if cell.topology else []
        for fault in cell.faults:
            what = f"{fault.fault} {fault.service} at {fault.at_s:g} s".replace("  ", " ")
            if fault.fault not in known:
                problems[f"{what}: provider {provider} can make {', '.join(known) or 'none'}"] = None
            elif fault.service and fault.service not in services:
                problems[f"{what}: {cell.architecture} has {', '.join(services)}"] = None
            elif not fault.moments(cell.windows_s):
                problems[f"{what}: the windows last {cell.windows_s:g} s, and it must end in them"] = None
            elif fault.fault == "pause" and fault.every_s and cell.load.window_s % fault.every_s:
                problems[f"{what}: percentiles are of whole periods, {cell.load.window_s:g} s is not of {fault.every_s:g} s"] = None
    if problems:
        raise InputError("these faults cannot be made", "mend `faults` in the scenario, or take another provider", list(problems))


def _limits(cells: Sequence[Cell]) -> None:
    """Where each instance is held to its own CPUs, they are what an architecture gets: no more than the budget, or it is not equal."""
    beyond = {f"{c.architecture} {c.variant}".strip(): c.topology.beyond_cpus for c in cells if c.topology and c.topology.beyond_cpus}
    if beyond:
        problems = [f"{subject}: {why}" for subject, why in beyond.items()]
        raise InputError("the budget would not be the same for all", "fewer instances, smaller ones, or a larger budget.cpus", problems)
