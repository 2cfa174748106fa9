from __future__ import annotations

import pytest

from lab import registry
from lab.model import Budget, Shape, Topology
from tests import shapes

ARCHITECTURE = registry.architecture("microservices")
BUDGET = Budget()


def place(shape: Shape, budget: Budget = BUDGET, **options: float) -> Topology:
    return ARCHITECTURE.place(shape, budget, ARCHITECTURE.Options(**options))


@pytest.mark.parametrize("shape", shapes.ALL, ids=lambda s: s.name)
def test_every_shape_fits_the_budget_and_breaks_no_rule(shape: Shape) -> None:
    topology = place(shape)
    assert topology.problems(shape.stages, shape.operations) == []
    assert sum(s.cpus * s.max_instances for s in topology.services) == pytest.approx(BUDGET.cpus)


def test_a_service_per_stage_but_one_per_schema() -> None:
    topology = place(shapes.VISION_LIKE)
    assert {s.name: s.stages for s in topology.services} == {
        "ingest": ("ingest",),
        "preprocess": ("preprocess",),
        "infer": ("infer",),
        "results": ("record", "review"),
    }


def test_an_operation_enters_at_its_first_stage_and_calls_are_bounded() -> None:
    topology = place(shapes.VISION_LIKE, timeout_s=2.0, retries=1)
    assert dict(topology.routes) == {"classify": "ingest", "result": "results"}
    assert [(e.source, e.target) for e in topology.edges] == [("ingest", "preprocess"), ("ingest", "infer"), ("ingest", "results")]
    assert {(e.timeout_s, e.retries) for e in topology.edges} == {(2.0, 1)}


def test_each_service_is_scaled_on_its_own_within_the_same_budget() -> None:
    topology = place(shapes.VISION_LIKE, model_instances=2)
    assert {s.name: s.instances for s in topology.services} == {"ingest": 1, "preprocess": 1, "infer": 2, "results": 1}
    assert topology.service("infer").cpus == pytest.approx(BUDGET.cpus * 0.5 / 2)


def test_memory_shrinks_to_what_the_budget_holds() -> None:
    small = Budget(cpus=0.5, memory_mib=1024)
    topology = place(shapes.VISION_LIKE, small)
    assert {s.memory_mib for s in topology.services} == {256}
    assert topology.problems(shapes.VISION_LIKE.stages, shapes.VISION_LIKE.operations) == []


def test_autoscaled_processes_together_get_what_one_has_without() -> None:
    scaled, fixed = place(shapes.VISION_LIKE, autoscale=True, max_instances=3), place(shapes.VISION_LIKE)
    assert {(s.scaling, s.instances, s.max_instances) for s in scaled.services} == {("on_cpu", 1, 3)}
    assert [s.cpus * 3 for s in scaled.services] == pytest.approx([s.cpus for s in fixed.services])
    assert sum(s.memory_mib * s.most for s in scaled.services) <= BUDGET.memory_mib
    assert scaled.problems(shapes.VISION_LIKE.stages, shapes.VISION_LIKE.operations) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_instances": 1, "model_instances": 2}, "service infer: 2 instances of at most 1"),
        ({"max_instances": 0}, "1 instances of at most 0"),
        ({"instances": 0}, "scaling on_cpu with 0 instances"),
        ({"target_cpu": 1.5}, "target_cpu 1.5"),
    ],
)
def test_autoscaling_that_cannot_be_is_a_problem(options: dict[str, float], problem: str) -> None:
    topology = place(shapes.VISION_LIKE, autoscale=True, **options)
    assert problem in "\n".join(topology.problems(shapes.VISION_LIKE.stages, shapes.VISION_LIKE.operations))
