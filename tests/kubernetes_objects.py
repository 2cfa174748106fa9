"""What tests of Kubernetes objects render: the platform, every architecture with every workload, and a driver's Job."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from lab import contracts, registry
from lab.model import Budget, Operation, Shape, Topology
from lab.providers.kubernetes import names, objects
from lab.providers.kubernetes.objects import Images, Object, Site
from lab.runtime.config import FUNCTIONS_PATH, ModelAddress, ServiceConfig, StoreAddress

IMAGES = Images(serving="lab/serving:1a2b3c", driver="lab/driver:1a2b3c", platform="lab/platform:1a2b3c", store="lab/store:1a2b3c")
SITE = Site(lab="run-20261122-a1", images=IMAGES, separate=True)
SECRETS = {
    "store": {"access_key": "access-5hK2", "secret_key": "s3cret-Zq81x"},
    "database": {"user": "lab-7Yd0", "password": "passw0rd-Lm42"},
    "agent": {"token": "token-9Tt3w"},
}
DEPLOYMENT = "c1"
JOB = contracts.Job(
    name="driver",
    module="lab.load.inside",
    files={"plan.json": b"{}"},
    port=8080,
    deadline_s=90.5,
    image="driver",
    cpus=1.0,
    memory_mib=512,
)
SUBJECTS = tuple((a, w) for a in registry.names("architectures") for w in registry.names("workloads"))


def placed(architecture: str, workload: str, budget: Budget | None = None) -> tuple[Topology, Sequence[Operation]]:
    """With default options, at the middle size where there is one."""
    found, module = registry.workload(workload), registry.architecture(architecture)
    size = "M" if "M" in found.model_sizes else found.model_sizes[0]
    shape = Shape(name=workload, model_size=size, stages=found.stages, operations=found.operations)
    return module.place(shape, budget or Budget(), module.Options()), found.operations


def autoscaled(topology: Topology) -> Topology:
    """All that stands may have three instances, and begins with one."""
    services = (
        dataclasses.replace(s, scaling="on_cpu", max_instances=3) if s.scaling == "fixed" and s.role == "host" else s
        for s in topology.services
    )
    return dataclasses.replace(topology, services=tuple(services))


def config(topology: Topology, service: str, deployment: str = DEPLOYMENT) -> ServiceConfig:
    """Shorter than a real one: the topology itself is left out."""
    needs = set(topology.needs)
    return ServiceConfig(
        provider="kubernetes",
        deployment=deployment,
        service=service,
        instance=1,
        topology=dataclasses.replace(topology, services=(), edges=(), routes={}),
        addresses_path=names.ADDRESSES_PATH,
        schema_prefix=f"d_{deployment}",
        store=objects.store_address(f"d-{deployment}") if needs & {"object_store", "model"} else None,
        database=objects.database_address() if "database" in needs else None,
        model=ModelAddress(key="model.onnx", sha256="0" * 64) if "model" in needs else None,
        host="0.0.0.0",
        port=names.PORT,
    )


def addresses(topology: Topology, deployment: str = DEPLOYMENT) -> dict[str, list[str]]:
    activator = next((s.name for s in topology.services if s.role == "activator"), "")
    return {
        s.name: [
            f"{names.url(deployment, activator)}{FUNCTIONS_PATH}/{s.name}" if s.scaling == "to_zero" else names.url(deployment, s.name)
        ]
        for s in topology.services
    }


def architecture(topology: Topology, operations: Sequence[Operation], site: Site = SITE, deployment: str = DEPLOYMENT) -> list[Object]:
    configs = {s.name: config(topology, s.name, deployment) for s in topology.services}
    return objects.architecture(site, topology, deployment, operations, configs, addresses(topology, deployment))


def platform(site: Site = SITE, store: objects.Store = "minio") -> list[Object]:
    elsewhere = (
        StoreAddress(endpoint="s3.example.com", bucket="", credentials_path=names.STORE_CREDENTIALS, secure=True)
        if store == "external"
        else None
    )
    return objects.platform(site, store=store, secrets=SECRETS, external=elsewhere)


def systems() -> Iterator[tuple[str, list[Object]]]:
    """Whole clouds, by name: a platform, an architecture on it and a driver's Job; every kind of cluster and store is in one of them."""
    ports = {"gateway": 30080, "object_store": 30090, "database": 30054, "activator": 30081}
    official = dataclasses.replace(IMAGES, postgres="postgres:18", gateway="traefik:v3.7", pull="Always")
    crowded = dataclasses.replace(SITE, separate=False, node_ports=ports, storage_class="standard")
    driver = objects.job(SITE, JOB, "driver-1")
    for architecture_name, workload in SUBJECTS:
        topology, operations = placed(architecture_name, workload)
        name = f"{architecture_name}-{workload}"
        yield name, [*platform(), *architecture(topology, operations), *driver]
        yield f"{name}-mapped", [*platform(crowded, "seaweedfs"), *architecture(topology, operations, crowded)]
        external = dataclasses.replace(SITE, images=official)
        yield f"{name}-autoscaled", [*platform(external, "external"), *architecture(autoscaled(topology), operations, external)]
