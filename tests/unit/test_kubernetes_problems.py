"""What `prepare` says of a cluster that is asked over a real client and answers from a function: everything at once, with next steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from lightkube import Client
from lightkube.config.kubeconfig import PROXY_CONF
from lightkube.config.models import User

from lab.providers.kubernetes import images, problems, supply
from lab.providers.kubernetes.cluster import Cluster
from lab.settings import Settings


def node(name: str, *, role: str = "", ready: bool = True, cordoned: bool = False) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"lab/role": role} if role else {}},
        "spec": {"unschedulable": cordoned},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def storage_class(name: str, *, default: bool) -> dict[str, Any]:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": "x"}


def cluster(*, refused: tuple[str, ...] = (), nodes: list[dict[str, Any]], classes: list[dict[str, Any]]) -> Cluster:
    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path.endswith("/selfsubjectaccessreviews"):
            asked = json.loads(request.content)
            resource = asked["spec"]["resourceAttributes"]["resource"]
            return httpx2.Response(201, json={**asked, "status": {"allowed": resource not in refused}})
        if path.endswith("/nodes"):
            return httpx2.Response(200, json={"metadata": {}, "items": nodes})
        if path.endswith("/storageclasses"):
            return httpx2.Response(200, json={"metadata": {}, "items": classes})
        return httpx2.Response(404, json={"kind": "Status", "message": f"no {path}", "code": 404})

    made = Cluster(None, "", "lab-x")
    made.config = PROXY_CONF._replace(user=User(token="t"))
    made.client = Client(config=made.config, namespace="lab-x", transport=httpx2.MockTransport(answer))
    return made


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(settings: Settings) -> Iterator[tuple[str, str]]:
        return iter(())

    monkeypatch.setattr(images, "problems", none)


def test_a_cluster_that_will_do_has_none() -> None:
    found = problems.problems(Settings(), cluster(nodes=[node("a")], classes=[storage_class("standard", default=True)]))
    assert list(found) == []


def test_all_are_told_at_once_each_with_a_next_step() -> None:
    asked = cluster(refused=("namespaces", "pods/exec"), nodes=[node("a", cordoned=True)], classes=[storage_class("slow", default=False)])
    found = list(problems.problems(Settings(object_store="https://s3.example.com"), asked))
    said = "\n".join(what for what, _ in found)
    for words in (
        "credentials for the object store",
        "create namespaces, delete namespaces, create pods/exec",
        "it has slow",
        "takes pods",
    ):
        assert words in said
    assert len(found) == 4
    assert all(hint for _, hint in found)


def test_a_storage_class_that_is_not_there_is_named_with_those_that_are() -> None:
    asked = cluster(nodes=[node("a")], classes=[storage_class("standard", default=True)])
    ((what, hint),) = problems.problems(Settings(kubernetes_storage_class="fast"), asked)
    assert "'fast'" in what and "standard" in what and "kubernetes.storage_class" in hint


@pytest.mark.parametrize(
    ("nodes", "separate"),
    [
        ([node("a", role="system"), node("b", role="driver")], True),
        ([node("a", role="system"), node("b")], False),
        ([node("a", role="system"), node("b", role="driver", cordoned=True)], False),
        ([node("a", role="system", ready=False), node("b", role="driver")], False),
        ([node("a"), node("b")], False),
    ],
)
def test_nodes_of_both_roles_keep_architecture_and_driver_apart(nodes: list[dict[str, Any]], separate: bool) -> None:
    assert supply.separate(cluster(nodes=nodes, classes=[]).nodes()) is separate
