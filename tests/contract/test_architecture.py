"""What every architecture must do: place any workload of any size within the budget, purely, with documented options."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import registry
from lab.contracts import Architecture
from lab.model import Budget, Shape, Topology

BUDGETS = (Budget(), Budget(cpus=2.0, memory_mib=4096), Budget(cpus=4.0, memory_mib=8192))
PURE = {"__future__", "collections", "dataclasses", "enum", "functools", "itertools", "lab", "math", "typing"}


def shapes() -> Iterator[Shape]:
    for name in registry.names("workloads"):
        workload = registry.workload(name)
        for size in workload.model_sizes:
            yield Shape(name=name, model_size=size, stages=workload.stages, operations=workload.operations)


SHAPES = {f"{s.name}-{s.model_size}": s for s in shapes()}
each_architecture = pytest.mark.parametrize("name", registry.names("architectures"))
each_shape = pytest.mark.parametrize("shape", SHAPES)
each_budget = pytest.mark.parametrize("budget", BUDGETS, ids=lambda b: f"{b.cpus:g}cpu")


def place(name: str, shape: Shape, budget: Budget) -> Topology:
    architecture = registry.architecture(name)
    return architecture.place(shape, budget, architecture.Options())


@each_architecture
@each_shape
@each_budget
def test_it_places_every_workload_within_the_budget(name: str, shape: str, budget: Budget) -> None:
    topology = place(name, SHAPES[shape], budget)
    assert topology.problems(SHAPES[shape].stages, SHAPES[shape].operations) == []
    assert (topology.architecture, topology.workload, topology.model_size) == (name, SHAPES[shape].name, SHAPES[shape].model_size)
    fixed = [s for s in topology.services if s.scaling == "fixed"]
    assert sum(s.cpus * s.instances for s in fixed) <= budget.cpus * (1 + 1e-9)
    assert all(s.cpus > 0 and s.memory_mib > 0 for s in topology.services)


@each_architecture
@each_budget
def test_every_architecture_gets_the_same_budget(name: str, budget: Budget) -> None:
    for shape in SHAPES.values():
        topology = place(name, shape, budget)
        assert (topology.cpus, topology.memory_mib) == (budget.cpus, budget.memory_mib)


@each_architecture
@each_shape
def test_the_same_arguments_give_the_same_topology(name: str, shape: str) -> None:
    first, again = (place(name, SHAPES[shape], Budget()) for _ in range(2))
    assert first == again


@each_architecture
def test_it_imports_nothing_that_could_make_it_impure(name: str) -> None:
    tree = ast.parse(Path(inspect.getfile(_module(name))).read_text())
    imported = {a.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= PURE


@each_architecture
def test_it_says_what_it_is_and_what_each_option_does(name: str) -> None:
    """An option is explained by the comment above it, as in lab/settings.py."""
    architecture = _module(name)
    options = architecture.Options
    assert architecture.__doc__
    assert dataclasses.is_dataclass(options) and options.__dataclass_params__.frozen  # type: ignore[attr-defined]
    options()  # every option has a default
    lines = [line.strip() for line in inspect.getsource(options).splitlines()]
    for option in dataclasses.fields(options):
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{option.name}:"))
        assert lines[at - 1].startswith("#"), f"{name}.Options.{option.name} is not explained"


def _module(name: str) -> Architecture:
    return registry.architecture(name)
