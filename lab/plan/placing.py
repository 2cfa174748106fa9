"""From a subject, a workload and a budget to its topology, with every rule that it breaks reported at once."""

from __future__ import annotations

import dataclasses

from lab import registry
from lab.errors import InputError
from lab.model import Budget, Shape, Topology
from lab.model.workload import ModelSize
from lab.scenario import Subject


def shape(workload: str, model_size: ModelSize) -> Shape:
    loaded = registry.workload(workload)
    return Shape(name=workload, model_size=model_size, stages=loaded.stages, operations=loaded.operations)


def place(subject: Subject, workload: str, model_size: ModelSize, budget: Budget) -> Topology:
    """The topology of one subject. Raises InputError with every rule it breaks."""
    architecture = registry.architecture(subject.architecture)
    form = shape(workload, model_size)
    options = architecture.Options(**subject.options)
    topology = dataclasses.replace(architecture.place(form, budget, options), options=dataclasses.asdict(options))
    problems = topology.problems(form.stages, form.operations)
    if (topology.cpus, topology.memory_mib) != (budget.cpus, budget.memory_mib):
        problems.append(
            f"it has {topology.cpus} CPUs and {topology.memory_mib} MiB; the budget is {budget.cpus} and {budget.memory_mib} for all"
        )
    if problems:
        what = f"architecture {subject.architecture} cannot place workload {workload} at size {model_size}"
        raise InputError(what, "give it other options, or a larger budget", problems)
    return topology
