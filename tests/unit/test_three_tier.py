from __future__ import annotations

import pytest

from lab import registry
from lab.model import Batching, Budget, Shape, Topology
from tests import shapes

ARCHITECTURE = registry.architecture("three_tier")
BUDGET = Budget()


def place(shape: Shape, **options: float) -> Topology:
    return ARCHITECTURE.place(shape, BUDGET, ARCHITECTURE.Options(**options))


@pytest.mark.parametrize("shape", shapes.ALL, ids=lambda s: s.name)
def test_every_shape_fits_the_budget_and_breaks_no_rule(shape: Shape) -> None:
    topology = place(shape)
    assert topology.problems(shape.stages, shape.operations) == []
    assert sum(s.cpus * s.max_instances for s in topology.services) <= BUDGET.cpus + 1e-9


def test_only_stages_with_the_model_leave_the_application_and_everything_enters_there() -> None:
    topology = place(shapes.VISION_LIKE)
    assert {s.name: s.stages for s in topology.services} == {"app": ("ingest", "preprocess", "record", "review"), "model": ("infer",)}
    assert dict(topology.routes) == {"classify": "app", "result": "app"}
    assert [(e.source, e.target) for e in topology.edges] == [("app", "model")]
    assert topology.needs == ("object_store", "database", "model")
    assert [s.name for s in topology.services if s.page] == ["app"]


def test_without_a_model_there_is_no_model_tier_and_the_application_gets_the_whole_budget() -> None:
    topology = place(shapes.ONE_STAGE)
    assert [(s.name, s.cpus) for s in topology.services] == [("app", BUDGET.cpus)]
    assert (topology.edges, topology.needs) == ((), ("object_store",))


def test_batching_is_off_unless_asked_for_and_only_where_a_stage_can_be_batched() -> None:
    assert place(shapes.VISION_LIKE).service("model").batching is None
    model = place(shapes.VISION_LIKE, batch_max=8, batch_delay_ms=3.0).service("model")
    assert model.batching == Batching(max_size=8, max_delay_ms=3.0)
    assert model.concurrency >= 8, "fewer at once could never fill a batch"
    assert place(shapes.TWO_MODELS, batch_max=8).service("model").batching is None


def test_more_than_the_budget_holds_is_a_problem_by_name() -> None:
    topology = place(shapes.VISION_LIKE, model_instances=4)
    assert "4608 MiB" in "".join(topology.problems(shapes.VISION_LIKE.stages, shapes.VISION_LIKE.operations))


def test_the_model_tier_scales_within_its_part_of_the_budget() -> None:
    topology = place(shapes.VISION_LIKE, autoscale=True, max_instances=2)
    model, app = topology.service("model"), topology.service("app")
    assert (model.scaling, model.instances, model.max_instances, app.scaling) == ("on_cpu", 1, 2, "fixed")
    assert sum(s.cpus * s.most for s in topology.services) == pytest.approx(topology.cpus)
    assert topology.problems(shapes.VISION_LIKE.stages, shapes.VISION_LIKE.operations) == []
