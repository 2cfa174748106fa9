"""Every rule of tests/kubernetes_rules.py holds for every cloud that is rendered, and each of them can fail."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import pytest

from lab.providers.kubernetes.objects import Object
from tests import kubernetes_objects as samples
from tests.kubernetes_rules import RULES

ABSENT = object()
POD = "spec.template.spec"
FIRST = f"{POD}.containers.0"
SECURITY = f"{FIRST}.securityContext"
DATABASE, GATEWAY, JOB = "StatefulSet/database", "Deployment/gateway", "Job/driver-1"
APP, HPA, PDB = "Deployment/c1-app", "HorizontalPodAutoscaler/c1-app", "PodDisruptionBudget/c1-app"
FUNCTION, ACTIVATOR = "Deployment/c1-intake", "Deployment/c1-activator"


def _plain(objects: Sequence[Object]) -> list[dict[str, Any]]:
    return [o.to_dict() for o in objects]


SYSTEMS = {name: _plain(objects) for name, objects in samples.systems()}


@functools.cache
def _everything() -> list[dict[str, Any]]:
    """A cloud with at least one object of every kind: an autoscaled architecture, a serverless one, and a Job."""
    three_tier, operations = samples.placed("three_tier", "vision")
    serverless, _ = samples.placed("serverless", "vision")
    tiers = samples.architecture(samples.autoscaled(three_tier), operations)
    functions = samples.architecture(serverless, operations, deployment="c1")
    seen = {(type(o), o.metadata.name) for o in tiers if o.metadata is not None}
    more = [o for o in functions if o.metadata is not None and (type(o), o.metadata.name) not in seen]
    return _plain([*samples.platform(), *tiers, *more, *samples.objects.job(samples.SITE, samples.JOB, "driver-1")])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_rendered_keeps_every_rule(system: str, rule: str) -> None:
    assert list(RULES[rule](SYSTEMS[system])) == []


# (rule, object, path in it, what stands there instead)
BROKEN: tuple[tuple[str, str, str, Any], ...] = (
    ("not_root", DATABASE, f"{POD}.securityContext.runAsUser", 0),
    ("not_root", DATABASE, f"{SECURITY}.runAsNonRoot", False),
    ("read_only_root", GATEWAY, f"{SECURITY}.readOnlyRootFilesystem", ABSENT),
    ("read_only_root", GATEWAY, f"{FIRST}.volumeMounts", []),
    ("no_capabilities", GATEWAY, f"{SECURITY}.capabilities", {"drop": ["NET_RAW"]}),
    ("no_capabilities", GATEWAY, f"{SECURITY}.capabilities.add", ["NET_BIND_SERVICE"]),
    ("seccomp", JOB, f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}),
    ("no_escalation", APP, f"{SECURITY}.allowPrivilegeEscalation", True),
    ("no_escalation", APP, f"{SECURITY}.privileged", True),
    ("restricted", "Namespace/lab-run-20261122-a1", "metadata.labels", {}),
    ("restricted", APP, f"{POD}.hostPID", True),
    ("restricted", APP, f"{POD}.volumes.0", {"name": "lab", "hostPath": {"path": "/"}}),
    ("restricted", APP, f"{FIRST}.ports.0.hostPort", 8080),
    ("restricted", APP, f"{POD}.securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}]),
    ("scratch_is_limited", APP, f"{POD}.volumes.1.emptyDir", {}),
    ("tokens_only_for_activators", APP, f"{POD}.automountServiceAccountToken", ABSENT),
    ("tokens_only_for_activators", ACTIVATOR, f"{POD}.automountServiceAccountToken", False),
    ("tokens_only_for_activators", APP, f"{POD}.serviceAccountName", "c1-activator"),
    ("tokens_only_for_activators", "ServiceAccount/c1-activator", "automountServiceAccountToken", True),
    ("roles_are_minimal", "Role/c1-activator", "rules.0.verbs", ["get", "delete"]),
    ("roles_are_minimal", "Role/c1-activator", "rules.0.resources", ["secrets"]),
    ("roles_are_minimal", "Role/c1-activator", "rules.1.resourceNames", ["c1-intake", "c1-activator"]),
    ("roles_are_minimal", "Role/c1-activator", "rules.1.resourceNames", ABSENT),
    ("roles_are_minimal", "RoleBinding/c1-activator", "subjects.0.name", "default"),
    ("roles_are_minimal", "RoleBinding/c1-activator", "kind", "ClusterRoleBinding"),
    ("secrets_stay_secret", DATABASE, f"{FIRST}.env.0", {"name": "PGPASSWORD", "value": samples.SECRETS["database"]["password"]}),
    ("secrets_stay_secret", "ConfigMap/agent", "data.token", f"x-{samples.SECRETS['agent']['token']}"),
    ("secrets_stay_secret", GATEWAY, "metadata.annotations", {"key": "YWNjZXNzLTVoSzI="}),
    ("requests_and_limits", GATEWAY, f"{FIRST}.resources.limits", {"cpu": "1000m"}),
    ("requests_and_limits", GATEWAY, f"{FIRST}.resources.requests.memory", "4096Mi"),
    ("requests_and_limits", GATEWAY, f"{FIRST}.resources", ABSENT),
    ("architectures_get_what_they_pay", APP, f"{FIRST}.resources.limits.cpu", "2000m"),
    ("probes", GATEWAY, f"{FIRST}.livenessProbe", ABSENT),
    ("probes", GATEWAY, f"{POD}.containers.1.readinessProbe", {"httpGet": {"port": 9101, "path": "/readyz"}}),
    ("probes", JOB, f"{FIRST}.livenessProbe", {"httpGet": {"port": 8080, "path": "/readyz"}}),
    ("probes", DATABASE, f"{FIRST}.readinessProbe.tcpSocket.port", 5433),
    ("images_have_tags", GATEWAY, f"{FIRST}.image", "traefik:latest"),
    ("images_have_tags", GATEWAY, f"{FIRST}.image", "registry.example:5000/traefik"),
    ("images_have_tags", GATEWAY, f"{FIRST}.image", ABSENT),
    ("mounts_are_there", APP, f"{FIRST}.volumeMounts.0.name", "other"),
    ("mounts_are_there", "ConfigMap/c1-app", "data", {}),
    ("mounts_are_there", "ConfigMap/c1-app", "metadata.name", "c1-ape"),
    ("mounts_are_there", "Secret/database", "data", {"password": "eA=="}),
    ("nodes_of_their_own", APP, f"{POD}.affinity", ABSENT),
    ("nodes_of_their_own", JOB, f"{POD}.affinity", ABSENT),
    ("names_and_labels", APP, "metadata.labels", {"app.kubernetes.io/part-of": "run-20261122-a1"}),
    ("names_and_labels", APP, "spec.template.metadata.labels.app%kubernetes%io/part-of", "a run"),
    ("names_and_labels", "Service/agent", "metadata.labels.app%kubernetes%io/part-of", "another"),
    ("names_and_labels", "Service/agent", "metadata.name", "object_store"),
    ("names_and_labels", "Service/agent", "metadata.name", "gateway"),
    ("names_and_labels", "Service/agent", "metadata.namespace", "default"),
    ("selectors_match", APP, "spec.selector.matchLabels", {"app.kubernetes.io/component": "architecture"}),
    ("services_lead_somewhere", "Service/c1-app", "spec.selector.lab/deployment", "c2"),
    ("services_lead_somewhere", "Service/c1-app", "spec.selector", {"lab/deployment": "c1"}),
    ("services_lead_somewhere", "Service/c1-app", "spec.ports.0.targetPort", 80),
    ("services_lead_somewhere", DATABASE, "spec.serviceName", "postgres"),
    ("connections_are_allowed_one_by_one", "NetworkPolicy/deny-by-default", "spec.ingress", [{}]),
    ("connections_are_allowed_one_by_one", "NetworkPolicy/c1-app", "spec.podSelector.matchLabels.lab/deployment", "c2"),
    ("connections_are_allowed_one_by_one", "NetworkPolicy/c1-app", "spec.ingress.0.ports.0.port", 80),
    ("connections_are_allowed_one_by_one", "NetworkPolicy/c1-app", "spec.ingress.0.ports", ABSENT),
    ("connections_are_allowed_one_by_one", "NetworkPolicy/c1-app", "spec.ingress.0.from.0.podSelector.matchLabels.lab/deployment", "c2"),
    ("autoscalers_can_scale", HPA, "spec.scaleTargetRef.name", "app"),
    ("autoscalers_can_scale", HPA, "spec.minReplicas", 0),
    ("autoscalers_can_scale", HPA, "spec.maxReplicas", 1),
    ("autoscalers_can_scale", APP, "spec.replicas", 7),
    ("autoscalers_can_scale", HPA, "spec.metrics.0.resource.target.averageUtilization", 700),
    ("autoscalers_can_scale", HPA, "spec.metrics", []),
    ("disruptions_are_bounded", PDB, "spec.selector.matchLabels.lab/deployment", "c2"),
    ("disruptions_are_bounded", PDB, "spec.maxUnavailable", 0),
    ("disruptions_are_bounded", ACTIVATOR, "spec.replicas", 2),
)


def _broken(where: str, path: str, value: Any) -> list[dict[str, Any]]:
    """`%` in a path is a dot of a key."""
    found = copy.deepcopy(_everything())
    kind, _, name = where.partition("/")
    at: Any = next(o for o in found if (o["kind"], o["metadata"]["name"]) == (kind, name))
    *way, last = (int(part) if part.isdigit() else part.replace("%", ".") for part in path.split("."))
    for step in way:
        at = at[step]
    if value is ABSENT:
        del at[last]
    else:
        at[last] = value
    return found


@pytest.mark.parametrize(("rule", "where", "path", "value"), BROKEN, ids=lambda v: v if isinstance(v, str) else "")
def test_a_rule_finds_what_breaks_it(rule: str, where: str, path: str, value: Any) -> None:
    assert list(RULES[rule](_everything())) == [], "the example must be whole before it is broken"
    assert list(RULES[rule](_broken(where, path, value)))


def test_every_rule_can_fail() -> None:
    assert {row[0] for row in BROKEN} == set(RULES)


def test_two_services_cannot_have_one_node_port() -> None:
    ports = {"gateway": 30080, "object_store": 30080}
    made = _plain(samples.platform(dataclasses.replace(samples.SITE, node_ports=ports)))
    assert any("node port 30080" in found for found in RULES["services_lead_somewhere"](made))
