"""Every reason why `up` cannot work with a cluster, each with its next step; nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from lightkube.resources.storage_v1 import StorageClass

from lab.errors import LabError
from lab.providers.kubernetes import images, supply
from lab.providers.kubernetes.cluster import Cluster
from lab.settings import Settings

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
# (verb, resource, group, in the namespace)
NEEDED = (
    ("create", "namespaces", "", False),
    ("delete", "namespaces", "", False),
    ("list", "nodes", "", False),
    ("create", "deployments", "apps", True),
    ("create", "statefulsets", "apps", True),
    ("create", "services", "", True),
    ("create", "configmaps", "", True),
    ("create", "secrets", "", True),
    ("create", "serviceaccounts", "", True),
    ("create", "roles", "rbac.authorization.k8s.io", True),
    ("create", "rolebindings", "rbac.authorization.k8s.io", True),
    ("create", "networkpolicies", "networking.k8s.io", True),
    ("create", "poddisruptionbudgets", "policy", True),
    ("create", "horizontalpodautoscalers", "autoscaling", True),
    ("create", "jobs", "batch", True),
    ("list", "pods", "", True),
    ("delete", "pods", "", True),
    ("get", "pods/log", "", True),
    ("create", "pods/exec", "", True),
    ("create", "pods/proxy", "", True),
    ("create", "services/proxy", "", True),
    ("patch", "pods/ephemeralcontainers", "", True),
)


def problems(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """(what, next step)"""
    yield from images.problems(settings)
    if "://" in settings.object_store and not {"S3_ACCESS_KEY", "S3_SECRET_KEY"} <= os.environ.keys():
        yield f"no credentials for the object store {settings.object_store}", "set S3_ACCESS_KEY and S3_SECRET_KEY"
    try:
        yield from _of_cluster(settings, cluster)
    except LabError as error:
        yield error.what, error.hint


def _of_cluster(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, str]]:
    refused = [
        f"{verb} {resource}"
        for verb, resource, group, namespaced in NEEDED
        if not cluster.may(verb, resource, group, namespaced=namespaced)
    ]
    if refused:
        yield (
            f"you may not {', '.join(refused)} in {cluster.server}",
            "ask for these permissions, or set kubernetes.context to another context",
        )
    with cluster.errors("list storage classes"):
        classes = list(cluster.client.list(StorageClass))
    known = ", ".join(str(c.metadata.name) for c in classes if c.metadata) or "none"
    wanted = settings.kubernetes_storage_class
    if wanted and wanted not in known.split(", "):
        yield f"the cluster has no storage class {wanted!r}; it has {known}", "set kubernetes.storage_class to one of them"
    if not wanted and not any(c.metadata and (c.metadata.annotations or {}).get(DEFAULT_CLASS) == "true" for c in classes):
        yield f"the cluster has no default storage class; it has {known}", "set kubernetes.storage_class"
    if not any(supply.able(node) for node in cluster.nodes()):
        yield "the cluster has no node that takes pods", "`kubectl get nodes`; `kubectl uncordon NODE`"
