"""What stands in a cluster: the objects of platform, architectures and Jobs, as committed YAML, and what decides about them.

To write the YAML anew after a wanted change, and read what changed:
    LAB_GOLDEN=write .venv/bin/pytest tests/unit/test_kubernetes_objects.py; git diff tests/golden/kubernetes
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import rundir
from lab.errors import InputError, MachineError
from lab.model import Topology
from lab.providers.kubernetes import names, objects
from lab.providers.kubernetes.objects import Object, Site, policies
from lab.runtime import gateway_routes
from lab.runtime.agent import AgentConfig
from lab.runtime.config import ServiceConfig
from tests import kubernetes_objects as samples

GOLDEN = Path(__file__).parents[1] / "golden" / "kubernetes"
EACH = pytest.mark.parametrize(("architecture", "workload"), samples.SUBJECTS)


def _architecture(architecture: str, workload: str) -> list[Object]:
    return samples.architecture(*samples.placed(architecture, workload))


def _autoscaled() -> list[Object]:
    topology, operations = samples.placed("three_tier", "vision")
    return samples.architecture(samples.autoscaled(topology), operations)


def _mapped() -> list[Object]:
    ports = {"gateway": 30080, "object_store": 30090, "database": 30054}
    return samples.platform(dataclasses.replace(samples.SITE, separate=False, node_ports=ports, storage_class="fast"), "seaweedfs")


def _official() -> list[Object]:
    images = dataclasses.replace(samples.IMAGES, postgres="postgres:18", gateway="traefik:v3.7", pull="Always")
    return samples.platform(dataclasses.replace(samples.SITE, images=images), "external")


RENDERED: dict[str, Callable[[], Sequence[Object]]] = {
    "platform": samples.platform,
    "platform-mapped": _mapped,
    "platform-official": _official,
    "job": lambda: objects.job(samples.SITE, samples.JOB, "driver-1"),
    "three_tier-vision-autoscaled": _autoscaled,
    "three_tier-vision": lambda: _architecture("three_tier", "vision"),
    "three_tier-noop": lambda: _architecture("three_tier", "noop"),
    "microservices-vision": lambda: _architecture("microservices", "vision"),
    "serverless-vision": lambda: _architecture("serverless", "vision"),
}


@pytest.mark.parametrize("name", RENDERED)
def test_objects_are_those_that_were_reviewed(name: str) -> None:
    path, text = GOLDEN / f"{name}.yaml", objects.to_yaml(RENDERED[name]())
    if os.environ.get("LAB_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs: if that is wanted, see the first lines of this file"


def test_no_reviewed_file_is_left_over() -> None:
    assert {p.stem for p in GOLDEN.glob("*.yaml")} == set(RENDERED)


@EACH
def test_the_same_arguments_give_the_same_objects(architecture: str, workload: str) -> None:
    first, again = (objects.to_yaml(_architecture(architecture, workload)) for _ in range(2))
    assert first == again


def test_yaml_reads_back_as_the_objects() -> None:
    made = samples.platform()
    assert list(yaml.safe_load_all(objects.to_yaml(made))) == [o.to_dict() for o in made]


# ---- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["default", "run-20261122-a1", "My_Lab", "my-lab", "x" * 80, "-", "9", "Ä"])
def test_a_namespace_is_a_dns_label_and_a_lab_has_its_own(name: str) -> None:
    found = names.namespace(name)
    assert len(found) <= 63 and found == found.lower() and found.startswith("lab") and found.replace("-", "").isalnum() and found[-1] != "-"
    assert len({names.namespace(n) for n in ("My_Lab", "my-lab", "my_lab", "MY-LAB", "x" * 80, "x" * 81)}) == 6


def test_plain_names_are_kept() -> None:
    assert names.namespace("run-1") == "lab-run-1"
    assert names.dns("c1", "model") == "c1-model"
    assert names.value("run-20261122_a.1") == "run-20261122_a.1"


def test_no_two_services_share_a_name() -> None:
    pairs = [("a-b", "c"), ("a", "b-c"), ("a", "b_c"), ("a", "b.c"), ("A", "b"), ("a", "b"), ("object", "store"), ("gateway", "routes")]
    pairs += [("c" * 40, "s" * 40), ("c" * 40, "s" * 41), ("1", "s"), ("d1", "s")]
    found = {names.dns(*pair) for pair in pairs} | {names.addresses("a")} | set(names.PLATFORM) | {names.ROUTES}
    assert len(found) == len(pairs) + 1 + len(names.PLATFORM) + 1
    assert all(len(n) <= 63 and n[0].isalpha() for n in found)


@pytest.mark.parametrize("text", ["", "ends-", "_begins", "with space", "x" * 64, "Zürich"])
def test_what_cannot_be_a_label_becomes_one(text: str) -> None:
    found = names.value(text)
    assert 0 < len(found) <= 63 and found.isascii() and found[0].isalnum() and found[-1].isalnum() and found != text


def test_a_selector_reads_as_the_api_wants_it() -> None:
    assert names.selector({"b": "2", "a/x": "1"}) == "a/x=1,b=2"


# ---- decisions ---------------------------------------------------------------------------------------------------------


def _of(made: Sequence[Object], kind: str, name: str) -> dict[str, Any]:
    return next(d for o in made if (d := o.to_dict())["kind"] == kind and d["metadata"]["name"] == name)


def _topologies(architecture: str, workload: str) -> list[tuple[Topology, Any]]:
    topology, operations = samples.placed(architecture, workload)
    return [(topology, operations), (samples.autoscaled(topology), operations)]


@EACH
def test_the_gateway_may_connect_to_just_what_its_routes_name(architecture: str, workload: str) -> None:
    for topology, operations in _topologies(architecture, workload):
        content: Any = gateway_routes.routes("c1", topology, operations, samples.addresses(topology))
        used = {router["service"] for router in content["http"]["routers"].values()}
        hosts = {
            server["url"].removeprefix("http://").partition(":")[0]
            for name in used
            for server in content["http"]["services"][name]["loadBalancer"]["servers"]
        }
        assert hosts == {names.dns("c1", name) for name in policies.entries(topology, operations)}


@EACH
def test_every_edge_is_allowed_and_no_other(architecture: str, workload: str) -> None:
    """By the address that a caller really uses: that of a function is its activator's."""
    for topology, _ in _topologies(architecture, workload):
        known = samples.addresses(topology)
        wanted = {(e.source, known[e.target][0].split("/")[2]) for e in topology.edges if e.source != e.target}
        activators = [s.name for s in topology.services if s.role == "activator"]
        wanted |= {(a, f"{names.dns('c1', s.name)}:8080") for a in activators for s in topology.services if s.scaling == "to_zero"}
        allowed = {
            (source, f"{names.dns('c1', target.name)}:8080")
            for target in topology.services
            for source in policies.callers_of(topology, target)
        }
        assert allowed == wanted


def test_functions_begin_at_zero_and_only_they_are_scaled_by_the_activator() -> None:
    topology, operations = samples.placed("serverless", "vision")
    made = samples.architecture(topology, operations)
    functions = [s.name for s in topology.services if s.scaling == "to_zero"]
    assert [_of(made, "Deployment", names.dns("c1", f))["spec"]["replicas"] for f in functions] == [0] * len(functions)
    assert _of(made, "Deployment", "c1-activator")["spec"]["replicas"] == 1
    rules = _of(made, "Role", "c1-activator")["rules"]
    assert [r["resourceNames"] for r in rules if "deployments/scale" in r["resources"]] == [[names.dns("c1", f) for f in functions]]


def test_what_scales_on_cpu_stays_between_its_numbers_of_instances() -> None:
    topology, operations = samples.placed("three_tier", "vision")
    services = [dataclasses.replace(s, scaling="on_cpu", instances=2, max_instances=5, target_cpu=0.35) for s in topology.services]
    made = samples.architecture(dataclasses.replace(topology, services=tuple(services)), operations)
    spec = _of(made, "HorizontalPodAutoscaler", "c1-app")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 35}
    assert _of(made, "Deployment", "c1-app")["spec"]["replicas"] == 2


def test_what_cannot_grow_has_no_autoscaler() -> None:
    topology, operations = samples.placed("three_tier", "noop")
    services = [dataclasses.replace(s, scaling="on_cpu", instances=2, max_instances=2) for s in topology.services]
    made = samples.architecture(dataclasses.replace(topology, services=tuple(services)), operations)
    assert {d["kind"] for o in made if (d := o.to_dict())} == {"ConfigMap", "Service", "NetworkPolicy", "Deployment", "PodDisruptionBudget"}


@EACH
def test_a_service_gets_exactly_its_part_of_the_budget(architecture: str, workload: str) -> None:
    topology, operations = samples.placed(architecture, workload)
    made = samples.architecture(topology, operations)
    for service in topology.services:
        [container] = _of(made, "Deployment", names.dns("c1", service.name))["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert int(container["resources"]["limits"]["cpu"].removesuffix("m")) == pytest.approx(service.cpus * 1000, abs=0.5)
        assert container["resources"]["limits"]["memory"] == f"{service.memory_mib}Mi"


def test_only_separate_nodes_are_asked_for() -> None:
    def roles(site: Site) -> set[str]:
        topology, operations = samples.placed("three_tier", "noop")
        text = objects.to_yaml([*samples.platform(site), *samples.architecture(topology, operations, site)])
        return {role for role in ("system", "driver") if f"- {role}\n" in text}

    assert roles(samples.SITE) == {"system", "driver"}
    assert roles(dataclasses.replace(samples.SITE, separate=False)) == set()


@pytest.mark.parametrize(("image", "uid"), [("", 10001), ("postgres:18", 999), ("registry.example:5000/postgres:18-alpine", 70)])
def test_the_database_runs_as_the_user_that_its_image_knows(image: str, uid: int) -> None:
    images = dataclasses.replace(samples.IMAGES, postgres=image)
    spec = _of(samples.platform(dataclasses.replace(samples.SITE, images=images)), "StatefulSet", "database")["spec"]["template"]["spec"]
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]) == (uid, uid)
    assert ("command" in spec["containers"][0]) == (image == "")


def _mounted(spec: dict[str, Any]) -> dict[str, set[str]]:
    """Paths of files by container."""
    volumes = {v["name"]: v for v in spec["volumes"]}
    found: dict[str, set[str]] = {}
    for container in spec["containers"]:
        paths = found.setdefault(container["name"], set())
        for mount in container["volumeMounts"]:
            for source in volumes.get(mount["name"], {}).get("projected", {}).get("sources", []):
                [projection] = source.values()
                paths |= {f"{mount['mountPath']}/{item['path']}" for item in projection["items"]}
    return found


@EACH
def test_a_configuration_arrives_and_every_path_in_it_is_mounted(architecture: str, workload: str) -> None:
    topology, operations = samples.placed(architecture, workload)
    made = samples.architecture(topology, operations)
    for service in topology.services:
        name = names.dns("c1", service.name)
        read = rundir.decode(_of(made, "ConfigMap", name)["data"]["config.json"].encode(), ServiceConfig, name)
        assert read == samples.config(topology, service.name)
        wanted = {names.CONFIG_PATH, read.addresses_path, *(a.credentials_path for a in (read.store, read.database) if a)}
        spec = _of(made, "Deployment", name)["spec"]["template"]["spec"]
        assert _mounted(spec)["service"] == wanted
        assert spec["containers"][0]["command"][-1] == names.CONFIG_PATH
    known = json.loads(_of(made, "ConfigMap", names.addresses("c1"))["data"]["addresses.json"])
    assert known == samples.addresses(topology)


@pytest.mark.parametrize("store", ["minio", "seaweedfs", "external"])
def test_the_agent_reaches_the_stores_with_what_is_mounted(store: objects.Store) -> None:
    made = samples.platform(store=store)
    read = rundir.decode(_of(made, "ConfigMap", "agent")["data"]["config.json"].encode(), AgentConfig, "agent")
    assert read.store and read.database
    wanted = {names.CONFIG_PATH, read.token_path, read.store.credentials_path, read.database.credentials_path}
    assert _mounted(_of(made, "Deployment", "agent")["spec"]["template"]["spec"])["agent"] == wanted
    if store == "external":
        assert (read.store.endpoint, read.store.secure) == ("s3.example.com", True)
    else:
        port = _of(made, "Service", read.store.endpoint.partition(":")[0])["spec"]["ports"][0]["port"]
        assert read.store.endpoint == f"{names.STORE}:{port}"


def test_every_file_that_a_variable_names_is_mounted() -> None:
    for o in [*samples.platform(), *objects.job(samples.SITE, samples.JOB, "driver-1")]:
        found = o.to_dict()
        spec = found.get("spec", {}).get("template", {}).get("spec")
        for container in spec["containers"] if spec else ():
            named = {e["value"] for e in container.get("env", []) if e["name"].endswith("_FILE")}
            assert named <= _mounted(spec)[container["name"]], f"{found['metadata']['name']}/{container['name']}"


def test_a_store_elsewhere_needs_an_address() -> None:
    with pytest.raises(ValueError, match="store external at None"):
        objects.platform(samples.SITE, store="external", secrets=samples.SECRETS)


def test_secrets_hold_what_stores_read() -> None:
    made = samples.platform()
    for name, fields in samples.SECRETS.items():
        data = _of(made, "Secret", name)["data"]
        assert json.loads(base64.b64decode(data["credentials.json"])) == fields
        assert {key: base64.b64decode(data[key]).decode() for key in fields} == fields


def test_a_lab_without_a_password_is_refused() -> None:
    with pytest.raises(MachineError, match="database lack password"):
        objects.platform(samples.SITE, store="minio", secrets=samples.SECRETS | {"database": {"user": "lab"}})


def test_files_of_a_job_arrive_as_they_are() -> None:
    content = {"job.json": b"{}", "photo.bin": bytes(range(256))}
    made = objects.job(samples.SITE, dataclasses.replace(samples.JOB, files=content), "driver-1")
    assert {k: base64.b64decode(v) for k, v in _of(made, "ConfigMap", "driver-1")["binaryData"].items()} == content
    with pytest.raises(InputError, match="take 1000002 bytes"):
        objects.job(samples.SITE, dataclasses.replace(samples.JOB, files={"a": b"x" * 1_000_002}), "driver-1")


@pytest.mark.parametrize("module", ["lab.cli", "lab.runtime.activator", "lab.runtime.host", "lab.providers.kubernetes.names"])
def test_the_clients_of_clusters_are_imported_only_where_they_are_used(module: str) -> None:
    code = f"import {module}, sys; sys.exit(any(m.partition('.')[0] in ('lightkube', 'docker') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
