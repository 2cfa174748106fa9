"""What of provider kubernetes is here: from a kubeconfig context to one line each about its cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab import gpus
from lab.doctor.finding import Finding, limited, missing, ok
from lab.errors import LabError
from lab.providers.kubernetes.names import DRIVER, ROLE_LABEL, SYSTEM
from lab.settings import Settings

ROLES = (SYSTEM, DRIVER)


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """What of a node is looked at. `usable`: ready and not cordoned."""

    name: str
    usable: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    allocatable: Mapping[str, str] = field(default_factory=dict)


def findings(settings: Settings, graphics_here: bool) -> Iterator[Finding]:
    """`graphics_here`: this machine has a GPU, so that one is expected in its clusters too."""
    from lab.providers.kubernetes.cluster import Cluster
    from lab.providers.kubernetes.connection import kubeconfig_path

    if not kubeconfig_path(None).is_file() and not settings.kubernetes_context:
        yield missing(
            "kubernetes", f"no kubeconfig at {kubeconfig_path(None)} (provider kubernetes needs one)", "set KUBECONFIG; kind needs none"
        )
        return
    cluster = Cluster(None, settings.kubernetes_context, "default")
    try:
        views = tuple(map(_view, cluster.nodes()))
        metrics = cluster.has_metrics()
        server = cluster.server
    except LabError as error:
        yield missing("kubernetes", error.what, error.hint)
        return
    yield ok("kubernetes", f"{settings.kubernetes_context or 'the current context'} at {server} answers: {len(views)} nodes")
    yield metrics_api(metrics)
    yield roles(views)
    if graphics_here or any(gpus.RESOURCE in view.allocatable for view in views):
        yield graphics(views)


def _view(node: object) -> NodeView:
    from lightkube.resources.core_v1 import Node

    assert isinstance(node, Node)
    metadata, status, spec = node.metadata, node.status, node.spec
    ready = any(c.type == "Ready" and c.status == "True" for c in (status.conditions if status else None) or [])
    return NodeView(
        name=(metadata.name if metadata else None) or "",
        usable=ready and not (spec and spec.unschedulable),
        labels=(metadata.labels if metadata else None) or {},
        allocatable={k: str(v) for k, v in ((status.allocatable if status else None) or {}).items()},
    )


def metrics_api(there: bool) -> Finding:
    if there:
        return ok("metrics API", "answers")
    step = "set kubernetes.metrics = install, or install metrics-server; only architectures that scale on CPU need it"
    return missing("metrics API", "does not answer: no autoscaling on CPU", step)


def roles(nodes: Sequence[NodeView]) -> Finding:
    usable = [node for node in nodes if node.usable]
    count = Counter(node.labels.get(ROLE_LABEL, "") for node in usable)
    if all(count[role] for role in ROLES):
        return ok("node roles", ", ".join(f"{count[role]} {role}" for role in ROLES))
    if len(usable) < 2:
        step = "add a node to keep them apart"
        return limited("node roles", f"{len(usable)} node can be used: driver and system share it", step)
    step = f"kubectl label node {usable[0].name} {ROLE_LABEL}={DRIVER}; kubectl label node {usable[1].name} {ROLE_LABEL}={SYSTEM}"
    return limited("node roles", f"no nodes labelled {ROLE_LABEL}={SYSTEM} and {DRIVER}: they may share nodes", step)


def graphics(nodes: Sequence[NodeView]) -> Finding:
    count = gpus.allocatable(node.allocatable for node in nodes)
    if count:
        return ok("cluster gpu", f"{count} of {gpus.RESOURCE} can be asked for")
    step = "install NVIDIA's device plugin or GPU operator: https://github.com/NVIDIA/k8s-device-plugin"
    return missing("cluster gpu", f"no node offers {gpus.RESOURCE}", step)
