"""From a topology and its services' configurations to one Deployment and Service each, with all that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from lightkube.models.core_v1 import VolumeProjection
from lightkube.resources.core_v1 import ConfigMap

from lab.model import Operation, Service, Topology
from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects import identity, pods, policies, probes, volumes
from lab.providers.kubernetes.objects.autoscaling import scaling
from lab.providers.kubernetes.objects.services import service as service_object
from lab.providers.kubernetes.objects.site import Object, Site
from lab.providers.kubernetes.objects.workloads import deployment as workload
from lab.rundir import encode
from lab.runtime.config import ServiceConfig

ADDRESSES = "addresses"
FINISH_S = 10  # after draining, for requests that are under way


def architecture(
    site: Site,
    topology: Topology,
    deployment: str,
    operations: Sequence[Operation],
    configs: Mapping[str, ServiceConfig],
    addresses: Mapping[str, Sequence[str]],
) -> list[Object]:
    """`configs` by service; `addresses`: base URLs by service, those of functions below the activator's. Configurations come first, so
    that pods find them, and Deployments last."""
    known = ConfigMap(
        metadata=site.metadata(names.addresses(deployment), site.labels(ADDRESSES, "architecture", deployment)),
        data={names.ADDRESSES_FILE: encode(dict(addresses)).decode()},
    )
    found: list[Object] = [known]
    deployments: list[Object] = []
    for service in topology.services:
        beside, standing = _service(site, topology, deployment, operations, service, configs[service.name])
        found += beside
        deployments += standing
    return [*found, *deployments]


def _service(
    site: Site, topology: Topology, deployment: str, operations: Sequence[Operation], service: Service, config: ServiceConfig
) -> tuple[list[Object], list[Object]]:
    name, labels = names.dns(deployment, service.name), site.labels(service.name, "architecture", deployment)
    node_port = site.node_ports.get("activator") if service.role == "activator" else None
    beside: list[Object] = [
        ConfigMap(metadata=site.metadata(name, labels), data={names.CONFIG_FILE: encode(config).decode()}),
        service_object(site, name, labels, names.PORT, node_port=node_port),
        policies.service(site, topology, deployment, operations, service),
    ]
    account = ""
    if service.role == "activator":
        account = name
        functions = [names.dns(deployment, s.name) for s in topology.services if s.scaling == "to_zero"]
        beside += identity.scaler(site, name, labels, functions)
    mounted = volumes.files("lab", *_sources(name, deployment, config))
    made = pods.container(
        "service",
        site.images.serving,
        pods.exactly(service.cpus, service.memory_mib),
        probes.http(names.PORT),
        ports={"main": names.PORT},
        mounts=[mounted],
        command=["python", "-m", f"lab.runtime.{service.role}", names.CONFIG_PATH],
        pull=site.images.pull,
    )
    grace_s = ceil(config.drain_s) + FINISH_S
    template = pods.pod(site, names.SYSTEM, labels, [made], [mounted], grace_s=grace_s, account=account, faults=True)
    replicas = 0 if service.scaling == "to_zero" else service.instances
    return beside, [workload(site, name, labels, template, replicas), *scaling(site, name, labels, service)]


def _sources(name: str, deployment: str, config: ServiceConfig) -> list[VolumeProjection]:
    """Credentials only where the service was given the address that they are for."""
    found = [
        volumes.config(name, {names.CONFIG_FILE: names.CONFIG_FILE}),
        volumes.config(names.addresses(deployment), {names.ADDRESSES_FILE: names.ADDRESSES_FILE}),
    ]
    if config.store is not None:
        found.append(volumes.secret("store", volumes.CREDENTIALS))
    if config.database is not None:
        found.append(volumes.secret("database", volumes.CREDENTIALS))
    return found
