"""From a service with scaling `on_cpu` to its HorizontalPodAutoscaler, and from one with several instances to its PodDisruptionBudget."""

from __future__ import annotations

from collections.abc import Mapping

from lightkube.models.autoscaling_v2 import (
    CrossVersionObjectReference,
    HorizontalPodAutoscalerSpec,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from lightkube.models.policy_v1 import PodDisruptionBudgetSpec
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.policy_v1 import PodDisruptionBudget

from lab.model import Service
from lab.providers.kubernetes.objects.services import pods_of
from lab.providers.kubernetes.objects.site import Object, Site


def scaling(site: Site, name: str, labels: Mapping[str, str], service: Service) -> list[Object]:
    """What belongs to the Deployment `name`, if anything."""
    found: list[Object] = []
    grows = service.scaling == "on_cpu" and service.max_instances > service.instances
    if grows:
        found.append(_autoscaler(site, name, labels, service))
    if service.instances > 1 or grows:
        spec = PodDisruptionBudgetSpec(maxUnavailable=1, selector=pods_of(labels))
        found.append(PodDisruptionBudget(metadata=site.metadata(name, labels), spec=spec))
    return found


def _autoscaler(site: Site, name: str, labels: Mapping[str, str], service: Service) -> HorizontalPodAutoscaler:
    """Its pace is the cluster's own: what is measured is what a user would get."""
    target = MetricTarget(type="Utilization", averageUtilization=round(100 * service.target_cpu))
    return HorizontalPodAutoscaler(
        metadata=site.metadata(name, labels),
        spec=HorizontalPodAutoscalerSpec(
            scaleTargetRef=CrossVersionObjectReference(apiVersion="apps/v1", kind="Deployment", name=name),
            minReplicas=max(1, service.instances),
            maxReplicas=service.max_instances,
            metrics=[MetricSpec(type="Resource", resource=ResourceMetricSource(name="cpu", target=target))],
        ),
    )
