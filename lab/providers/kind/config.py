"""What `kind create cluster` is told: from settings, free ports and what the engine can do to its YAML; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from lab import gpus
from lab.ports import LOOPBACK
from lab.providers.kubernetes import names
from lab.settings import Settings
from lab.spawn import lab_key

# Of every kind cluster of ours; each is mapped to a port of LOOPBACK that the kernel chose.
NODE_PORTS: Mapping[str, int] = {"gateway": 30080, "object_store": 30900, "database": 30432, "activator": 30081}
NAME_LENGTH = 28  # with key and suffix it is also the host name of a node, which has at most 63 characters


def cluster_name(settings: Settings) -> str:
    """The same for the same Lab, another for every other one on this machine; known without any record."""
    readable = re.sub(r"[^a-z0-9]+", "-", settings.name.lower()).strip("-")[:NAME_LENGTH].rstrip("-")
    return f"lab-{readable}-{lab_key(settings.state)[:8]}"


def context(name: str) -> str:
    """What kind calls the cluster in its kubeconfig."""
    return f"kind-{name}"


def separate(settings: Settings) -> bool:
    """Whether the architecture gets nodes of its own."""
    return settings.kind_workers > 0


def render(settings: Settings, local_ports: Mapping[str, int], *, with_gpus: bool = False) -> str:
    """`local_ports`: of the names in NODE_PORTS. `with_gpus`: the nodes ask for all of them."""
    ports = [
        {"containerPort": NODE_PORTS[name], "hostPort": local, "listenAddress": LOOPBACK, "protocol": "TCP"}
        for name, local in local_ports.items()
    ]
    driver = _node("control-plane", names.DRIVER if separate(settings) else "", settings, with_gpus) | {"extraPortMappings": ports}
    system = [_node("worker", names.SYSTEM, settings, with_gpus) for _ in range(settings.kind_workers)]
    cluster = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": cluster_name(settings),
        "networking": {"apiServerAddress": LOOPBACK},
        "nodes": [driver, *system],
    }
    return str(yaml.safe_dump(cluster, sort_keys=False))


def _node(kind_role: str, role: str, settings: Settings, with_gpus: bool) -> dict[str, object]:
    node: dict[str, object] = {"role": kind_role}
    if settings.kind_image:
        node["image"] = settings.kind_image
    if role:
        node["labels"] = {names.ROLE_LABEL: role}
    if with_gpus:
        node["extraMounts"] = [{"hostPath": "/dev/null", "containerPath": gpus.ALL_DEVICES}]
    return node


def kubeconfig(state: Path) -> Path:
    """Ours alone; ~/.kube/config is never touched."""
    return state / "kubeconfig"
