"""Every object that is rendered is one that Kubernetes knows, in each of its versions that the lab says it runs on; offline."""

from __future__ import annotations

import functools
import json
from typing import Any

import kubernetes_validate
import pytest
from kubernetes_validate import utils

from lab.providers.kubernetes import objects
from tests import kubernetes_objects as samples

VERSIONS = ("1.28", "1.31", "1.34", "1.37")
SYSTEMS = dict(samples.systems())


@pytest.fixture(autouse=True, scope="module")
def _each_schema_is_read_once() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
        yield


@functools.cache
def _refusal(text: str, version: str) -> str:
    """Why that version does not take the object; empty if it does. Fields that it does not know count."""
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return ""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_object_is_valid(system: str, version: str) -> None:
    found = [made.to_dict() for made in SYSTEMS[system]]
    refused = {f"{d['kind']} {d['metadata']['name']}": why for d in found if (why := _refusal(json.dumps(d), version))}
    assert refused == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_an_object_is_refused(version: str) -> None:
    [*_, job] = objects.job(samples.SITE, samples.JOB, "driver-1")
    good = job.to_dict()
    assert _refusal(json.dumps(good), version) == ""
    assert "'ten' is not" in _refusal(json.dumps(good | {"spec": good["spec"] | {"backoffLimit": "ten"}}), version)
    assert "'backofLimit' was unexpected" in _refusal(json.dumps(good | {"spec": good["spec"] | {"backofLimit": 1}}), version)
    assert "'template' is a required" in _refusal(json.dumps(good | {"spec": {}}), version)
