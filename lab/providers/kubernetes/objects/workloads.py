"""From a pod template to what keeps its pods running: a Deployment, or a StatefulSet with a volume of its own."""

from __future__ import annotations

from collections.abc import Mapping

from lightkube.models.apps_v1 import DeploymentSpec, DeploymentStrategy, StatefulSetSpec
from lightkube.models.core_v1 import PodTemplateSpec
from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.core_v1 import PersistentVolumeClaim

from lab.providers.kubernetes.objects.services import pods_of
from lab.providers.kubernetes.objects.site import Site


def deployment(site: Site, name: str, labels: Mapping[str, str], template: PodTemplateSpec, replicas: int = 1) -> Deployment:
    """Nothing is rolled over: a deployment of the lab never changes, and a second set of pods would not fit the budget."""
    return Deployment(
        metadata=site.metadata(name, labels),
        spec=DeploymentSpec(
            replicas=replicas,
            revisionHistoryLimit=0,
            strategy=DeploymentStrategy(type="Recreate"),
            selector=pods_of(labels),
            template=template,
        ),
    )


def stateful(site: Site, name: str, labels: Mapping[str, str], template: PodTemplateSpec, claim: PersistentVolumeClaim) -> StatefulSet:
    """One pod, whose volume outlives it."""
    return StatefulSet(
        metadata=site.metadata(name, labels),
        spec=StatefulSetSpec(
            replicas=1,
            serviceName=name,
            revisionHistoryLimit=0,
            selector=pods_of(labels),
            template=template,
            volumeClaimTemplates=[claim],
        ),
    )
