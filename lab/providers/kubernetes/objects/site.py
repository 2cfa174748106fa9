"""What all objects of a Lab have in common: its name, its images, the kind of cluster it stands in, and their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import ConfigMap, Namespace, Secret, Service, ServiceAccount
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.resources.rbac_authorization_v1 import Role, RoleBinding

from lab.providers.kubernetes import names

Object = (
    ConfigMap
    | Deployment
    | HorizontalPodAutoscaler
    | Job
    | Namespace
    | NetworkPolicy
    | PodDisruptionBudget
    | Role
    | RoleBinding
    | Secret
    | Service
    | ServiceAccount
    | StatefulSet
)


@dataclass(frozen=True, kw_only=True)
class Images:
    """Full references. `postgres` and `gateway`: official images, empty for the lab's own (`platform`)."""

    serving: str
    driver: str
    platform: str
    store: str
    postgres: str = ""
    gateway: str = ""
    pull: Literal["IfNotPresent", "Always"] = "IfNotPresent"


@dataclass(frozen=True, kw_only=True)
class Site:
    """`separate`: nodes of both roles exist. `storage_class`: empty for the cluster's default. `node_ports`: which services are reached
    from outside through which port of every node (gateway, object_store, database, activator)."""

    lab: str
    images: Images
    separate: bool
    storage_class: str = ""
    node_ports: Mapping[str, int] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return names.namespace(self.lab)

    def labels(self, service: str, component: names.Component, deployment: str = "") -> dict[str, str]:
        return names.labels(self.lab, service=service, component=component, deployment=deployment)

    def metadata(self, name: str, labels: Mapping[str, str]) -> ObjectMeta:
        return ObjectMeta(name=name, namespace=self.namespace, labels=dict(labels))
