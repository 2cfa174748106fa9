"""The metrics API that autoscaling needs: installs metrics-server where a cluster lacks it and the settings say so, and removes its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightkube import ApiError, codecs
from lightkube.core.resource import NamespacedResource, Resource

from lab.errors import MachineError
from lab.providers.kubernetes import names
from lab.providers.kubernetes.access import Report
from lab.providers.kubernetes.cluster import Cluster
from lab.settings import Settings

MANIFEST = Path(__file__).with_name("metrics_server.yaml")
ANSWERS_S = 120.0  # it takes two rounds of readings
POLL_S = 0.5
HINT = "set kubernetes.metrics to install, or install metrics-server yourself"


def ensure(settings: Settings, cluster: Cluster, report: Report) -> bool:
    """Whether it was installed now: it is missing, and may be. It needs another half minute until it answers."""
    if settings.kubernetes_metrics != "install" or cluster.has_metrics():
        return False
    report("installing metrics-server")
    cluster.apply(list(_objects(settings.name)))
    return True


def await_answer(settings: Settings, cluster: Cluster) -> None:
    """Raises MachineError where nothing will ever answer, or has not in time."""
    if cluster.has_metrics():
        return
    if settings.kubernetes_metrics != "install":
        raise MachineError("the cluster has no metrics API, which scaling on CPU needs", HINT)
    deadline = time.monotonic() + ANSWERS_S
    while not cluster.has_metrics():
        if time.monotonic() > deadline:
            raise MachineError(
                f"metrics-server did not answer within {ANSWERS_S:.0f} s", "`kubectl -n kube-system logs deploy/metrics-server`"
            )
        time.sleep(POLL_S)


def remove(settings: Settings, cluster: Cluster) -> tuple[str, ...]:
    """What this Lab installed; nothing of another's."""
    removed = []
    for wanted in _objects(settings.name):
        metadata: Any = getattr(wanted, "metadata")  # noqa: B009
        kind: Any = type(wanted)
        place = {"namespace": metadata.namespace} if isinstance(wanted, NamespacedResource) else {}
        with cluster.errors(f"remove {metadata.name}"):
            try:
                found = cluster.client.get(kind, metadata.name, **place)
                if (found.metadata.labels or {}).get(names.LAB_LABEL) == names.value(settings.name):
                    cluster.client.delete(kind, metadata.name, **place)
                    removed.append(f"{kind.__name__} {metadata.name}")
            except ApiError as error:
                if error.status.code != 404:
                    raise
    return tuple(removed)


def _objects(lab: str) -> Iterator[Resource]:
    for each in codecs.load_all_yaml(MANIFEST.read_text()):
        metadata: Any = getattr(each, "metadata")  # noqa: B009
        metadata.labels = {**(metadata.labels or {}), **names.labels(lab, service="metrics-server", component="platform")}
        yield each
