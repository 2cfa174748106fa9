"""From labels and ports to Services, plain or with a port of every node, and to the selectors that workloads and policies share."""

from __future__ import annotations

from collections.abc import Mapping

from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.meta_v1 import LabelSelector
from lightkube.resources.core_v1 import Service

from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects.site import Site


def pods_of(labels: Mapping[str, str]) -> LabelSelector:
    return LabelSelector(matchLabels=names.identity(labels))


def service(site: Site, name: str, labels: Mapping[str, str], port: int, *, node_port: int | None = None) -> Service:
    """`node_port`: of every node, for clients outside the cluster."""
    return Service(
        metadata=site.metadata(name, labels),
        spec=ServiceSpec(
            type="NodePort" if node_port else "ClusterIP",
            selector=names.identity(labels),
            ports=[ServicePort(name="main", port=port, targetPort=port, nodePort=node_port)],
        ),
    )
