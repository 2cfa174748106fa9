"""Shapes of workloads, ordinary and odd, that every architecture must be able to place."""

from __future__ import annotations

from lab.model import Operation, Shape, Stage


def _operation(name: str, *stages: str, kind: str = "write", weight: float = 1.0) -> Operation:
    method = "POST" if kind == "write" else "GET"
    return Operation(name=name, kind=kind, method=method, path=f"/v1/{name}", stages=stages, weight=weight)  # type: ignore[arg-type]


VISION_LIKE = Shape(
    name="vision_like",
    model_size="M",
    stages=(
        Stage(name="ingest"),
        Stage(name="preprocess", after=("ingest",)),
        Stage(name="infer", after=("preprocess",), uses_model=True, batchable=True),
        Stage(name="record", after=("infer",), owns="results"),
        Stage(name="review", owns="results"),
    ),
    operations=(
        _operation("classify", "ingest", "preprocess", "infer", "record", weight=0.7),
        _operation("result", "review", kind="read", weight=0.3),
    ),
)
ONE_STAGE = Shape(name="one_stage", model_size="S", stages=(Stage(name="echo"),), operations=(_operation("echo", "echo"),))
ONLY_A_MODEL = Shape(
    name="only_a_model", model_size="L", stages=(Stage(name="infer", uses_model=True),), operations=(_operation("infer", "infer"),)
)
TWO_MODELS = Shape(
    name="two_models",
    model_size="M",
    stages=(
        Stage(name="read"),
        Stage(name="detect", after=("read",), uses_model=True),
        Stage(name="crop", after=("detect",)),
        Stage(name="recognise", after=("crop",), uses_model=True),
        Stage(name="answer", after=("recognise",)),
    ),
    operations=(_operation("recognise", "read", "detect", "crop", "recognise", "answer"),),
)
DEFERRED = Shape(
    name="deferred",
    model_size="M",
    stages=(
        Stage(name="score", uses_model=True, batchable=True),
        Stage(name="answer", after=("score",)),
        Stage(name="audit", after=("score",), mode="deferrable", owns="audits"),
        Stage(name="inspect", owns="audits"),
    ),
    operations=(_operation("score", "score", "answer", "audit", weight=0.9), _operation("inspect", "inspect", kind="read", weight=0.1)),
)
ALL = (VISION_LIKE, ONE_STAGE, ONLY_A_MODEL, TWO_MODELS, DEFERRED)
