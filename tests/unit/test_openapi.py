"""The published contract: valid OpenAPI 3.1, complete, and the same whatever the architecture."""

from __future__ import annotations

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from lab import registry
from lab.model import Budget, Shape
from lab.runtime.host import app
from lab.runtime.openapi import document
from tests.unit.serving import ask, config, serving, tools


@pytest.mark.parametrize("name", registry.names("workloads"))
def test_the_document_is_valid_and_names_every_operation(name: str) -> None:
    workload = registry.workload(name)
    described = document(workload)
    OpenAPIV31SpecValidator(described).validate()
    found = {operation["operationId"] for path in described["paths"].values() for operation in path.values()}
    assert found == {operation.name for operation in workload.operations}


@pytest.mark.parametrize("name", registry.names("workloads"))
def test_every_parameter_of_a_path_and_query_is_described(name: str) -> None:
    workload = registry.workload(name)
    for operation in workload.operations:
        described = document(workload)["paths"][operation.path][operation.method.lower()].get("parameters", [])
        in_path = {p["name"] for p in described if p["in"] == "path"}
        assert operation.path.format(**dict.fromkeys(in_path, "x")).count("{") == 0
        assert {p["name"] for p in described if p["in"] == "query"} == set(operation.parameters)


def test_every_architecture_serves_the_same_document() -> None:
    workload, served = registry.workload("noop"), set()
    shape = Shape(name="noop", model_size="S", stages=workload.stages, operations=workload.operations)
    for name in registry.names("architectures"):
        architecture = registry.architecture(name)
        placed = architecture.place(shape, Budget(), architecture.Options())
        with serving(app(config(placed, placed.routes["classify"]), tools())) as url:
            served.add(ask(url, "GET", "/openapi.json").body)
    assert [json.loads(body) for body in served] == [document(workload)]
