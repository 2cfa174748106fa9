"""From settings to images that the cluster's nodes can run, and to the Site that the Lab's objects are made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lightkube.resources.core_v1 import Node

from lab.providers.kubernetes import images, names
from lab.providers.kubernetes.access import Access, Report
from lab.providers.kubernetes.cluster import Cluster
from lab.providers.kubernetes.objects import Images, Site, Store
from lab.providers.kubernetes.state import Known
from lab.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Supply:
    """`built`: target -> local tag, `references`: as pods name it."""

    built: Mapping[str, str]
    references: Mapping[str, str]

    def images(self, settings: Settings) -> Images:
        return Images(
            serving=self.references["serving"],
            driver=self.references.get("driver", ""),
            platform=self.references.get("platform", ""),
            store=self.references.get("store", ""),
            postgres=settings.images_postgres,
            gateway=settings.images_gateway,
        )


def store(settings: Settings) -> Store:
    if "://" in settings.object_store:
        return "external"
    return "seaweedfs" if settings.object_store == "seaweedfs" else "minio"


def targets(settings: Settings) -> tuple[str, ...]:
    own = store(settings) == "seaweedfs" or not settings.images_postgres or not settings.images_gateway
    return ("serving", "driver", *(["platform"] if own else []), *(["store"] if store(settings) == "minio" else []))


def supply(settings: Settings, access: Access, report: Report, known: Known | None = None) -> Supply:
    """Built where their inputs have changed, and brought to where the nodes get them; not once more what `known` says is there."""
    built = images.build(settings, targets(settings), report)
    if known is not None and known.built == dict(built.references):
        return Supply(built=known.built, references=known.references)
    if access.load is not None:
        references = access.load(built, report)
    elif settings.kubernetes_registry:
        references = images.push(built, settings.kubernetes_registry, report)
    else:
        references = built.references
    return Supply(built=dict(built.references), references=dict(references))


def site(settings: Settings, access: Access, cluster: Cluster, supplied: Supply) -> Site:
    return Site(
        lab=settings.name,
        images=supplied.images(settings),
        separate=separate(cluster.nodes()),
        storage_class=settings.kubernetes_storage_class,
        node_ports=dict(access.node_ports),
    )


def separate(nodes: list[Node]) -> bool:
    """Whether there are schedulable nodes of both roles."""
    roles = {((n.metadata.labels if n.metadata else None) or {}).get(names.ROLE_LABEL) for n in nodes if able(n)}
    return {names.SYSTEM, names.DRIVER} <= roles


def able(node: Node) -> bool:
    """Whether it takes pods: ready and not cordoned."""
    conditions = (node.status.conditions if node.status else None) or []
    return not (node.spec and node.spec.unschedulable) and any(c.type == "Ready" and c.status == "True" for c in conditions)
