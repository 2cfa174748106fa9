"""Which deployment the gateway in the cluster leads to: routes into its ConfigMap, and proof that they are in force."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from lightkube.resources.core_v1 import ConfigMap, Pod

from lab.errors import MachineError
from lab.providers.kubernetes import diagnosis, names, objects
from lab.providers.kubernetes.cluster import Cluster
from lab.providers.kubernetes.objects import Site
from lab.runtime.gateway_routes import NO_ROUTES, PROOF_HEADER, PROOF_PATH

TARGET = f"services/{names.GATEWAY}:{names.PORT}"
PODS = names.selector({names.SERVICE_LABEL: "gateway", names.COMPONENT_LABEL: "platform"})
DEPLOYMENT = "lab/routed"  # annotation of the ConfigMap: whose routes they are
POLL_S = 0.05


@dataclass(frozen=True)
class Gateway:
    cluster: Cluster

    def route(self, site: Site, deployment: str, content: Mapping[str, object], deadline: float) -> None:
        """Returns when a request through the gateway reaches this deployment. `deadline` is of time.monotonic."""
        made = objects.routes(site, content)
        if made.metadata is not None:
            made.metadata.annotations = {DEPLOYMENT: deployment}
        self.cluster.apply([made])
        self._touch()
        while not self._serves(deployment):
            if time.monotonic() > deadline:
                raise MachineError(f"the gateway does not lead to deployment {deployment} in time", "`lab logs gateway` says why")
            time.sleep(POLL_S)

    def unroute(self, deployment: str) -> None:
        """If it is the one that is routed."""
        found = self.cluster.get(ConfigMap, names.ROUTES)
        annotations = (found.metadata.annotations if found and found.metadata else None) or {}
        if annotations.get(DEPLOYMENT) == deployment:
            change = {"metadata": {"annotations": {DEPLOYMENT: None}}, "data": {names.ROUTES_FILE: json.dumps(NO_ROUTES)}}
            self.cluster.patch(ConfigMap, names.ROUTES, change)
            self._touch()

    def _serves(self, deployment: str) -> bool:
        answer = self.cluster.request(TARGET, "GET", PROOF_PATH)
        return answer.status_code == 200 and answer.headers.get(PROOF_HEADER) == deployment

    def _touch(self) -> None:
        """A changed annotation makes the kubelet look at what the pod mounts at once, and not within a minute."""
        for pod in self.cluster.pods(PODS):
            self.cluster.patch(Pod, diagnosis.name(pod), {"metadata": {"annotations": {"lab/routes": str(time.time_ns())}}})
