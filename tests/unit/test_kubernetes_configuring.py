"""What service processes are told in their pods."""

from __future__ import annotations

import msgspec
import pytest

from lab import registry
from lab.model import Budget, Shape, Topology
from lab.providers.kubernetes import configuring, names
from lab.providers.kubernetes.instances import Handle
from lab.settings import Settings


def topology(architecture: str) -> Topology:
    workload, placing = registry.workload("noop"), registry.architecture(architecture)
    shape = Shape(name="noop", model_size="S", stages=workload.stages, operations=workload.operations)
    return placing.place(shape, Budget(), placing.Options())


def test_functions_are_reached_through_the_activator() -> None:
    placed = topology("serverless")
    found = configuring.addresses(placed, "c-1")
    activator = next(s.name for s in placed.services if s.role == "activator")
    for service in placed.services:
        wanted = (
            names.url("c-1", activator) + f"/functions/{service.name}" if service.scaling == "to_zero" else names.url("c-1", service.name)
        )
        assert found[service.name] == [wanted]


def test_only_the_activator_may_scale_and_only_functions() -> None:
    placed = topology("serverless")
    found = configuring.configs(placed, "c-1", None, Settings(name="mine", start_timeout_s=7.0))
    for service in placed.services:
        handle = found[service.name].replicas_handle
        assert bool(handle) == (service.role == "activator")
        if handle:
            told = msgspec.json.decode(handle, type=Handle)
            assert told.namespace == names.namespace("mine")
            assert told.services == {s.name: names.dns("c-1", s.name) for s in placed.services if s.scaling == "to_zero"}
            assert told.start_timeout_s == 7.0


@pytest.mark.parametrize(
    ("setting", "endpoint", "secure"),
    [("minio", "object-store:9000", False), ("https://s3.example.com", "s3.example.com", True), ("http://10.0.0.1:9", "10.0.0.1:9", False)],
)
def test_the_store_is_the_labs_own_or_somebody_elses(setting: str, endpoint: str, secure: bool) -> None:
    found = configuring.store(Settings(object_store=setting), "d-1")
    assert (found.endpoint, found.secure, found.bucket) == (endpoint, secure, "d-1")
