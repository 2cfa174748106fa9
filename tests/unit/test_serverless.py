from __future__ import annotations

import pytest

from lab import registry
from lab.model import Budget, Shape, Topology
from tests import shapes

ARCHITECTURE = registry.architecture("serverless")
BUDGET = Budget()


def place(shape: Shape, **options: float) -> Topology:
    return ARCHITECTURE.place(shape, BUDGET, ARCHITECTURE.Options(**options))


def functions(topology: Topology) -> dict[str, tuple[str, ...]]:
    return {s.name: s.stages for s in topology.services if s.scaling == "to_zero"}


@pytest.mark.parametrize("shape", shapes.ALL, ids=lambda s: s.name)
def test_every_shape_fits_the_budget_even_at_full_scale_and_breaks_no_rule(shape: Shape) -> None:
    topology = place(shape)
    assert topology.problems(shape.stages, shape.operations) == []
    assert sum(s.cpus * s.max_instances for s in topology.services) <= BUDGET.cpus


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        (shapes.VISION_LIKE, {"intake": ("ingest", "preprocess"), "classify": ("infer",), "results": ("record", "review")}),
        (shapes.ONE_STAGE, {"intake": ("echo",)}),
        (shapes.ONLY_A_MODEL, {"classify": ("infer",)}),
        (shapes.TWO_MODELS, {"intake": ("read",), "classify": ("detect", "crop", "recognise"), "results": ("answer",)}),
        (shapes.DEFERRED, {"classify": ("score",), "results": ("answer", "audit", "inspect")}),
    ],
    ids=lambda v: v.name if isinstance(v, Shape) else "",
)
def test_stages_are_grouped_around_the_model(shape: Shape, wanted: dict[str, tuple[str, ...]]) -> None:
    assert functions(place(shape)) == wanted


def test_functions_start_at_zero_take_one_request_at_a_time_and_reads_never_enter_the_models_function() -> None:
    topology = place(shapes.VISION_LIKE, max_instances=3, max_concurrent_starts=2, idle_timeout_s=5.0, queue_deadline_s=1.0)
    for name in functions(topology):
        s = topology.service(name)
        assert (s.instances, s.concurrency, s.billing) == (0, 1, "function")
        assert (s.max_instances, s.max_concurrent_starts, s.idle_timeout_s, s.queue_deadline_s) == (3, 2, 5.0, 1.0)
    assert topology.routes["result"] == "results"
    assert all(e.timeout_s > 1.0 for e in topology.edges), "a call must outlast the queue's deadline, or its answer 429 is never seen"


def test_one_managed_activator() -> None:
    activators = [s for s in place(shapes.VISION_LIKE).services if s.role == "activator"]
    assert [(s.billing, s.stages) for s in activators] == [("managed", ())]


def test_memory_buys_vcpu() -> None:
    assert place(shapes.VISION_LIKE, model_memory_mib=1769).service("classify").cpus == pytest.approx(1.0)
