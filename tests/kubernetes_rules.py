"""Rules that a linter of Kubernetes objects would check: each takes all objects of a cloud, as plain data, and gives what is wrong."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]
Objects = Sequence[Data]
Rule = Callable[[Objects], Iterator[str]]

RULES: dict[str, Rule] = {}
VOLUMES = {
    "configMap",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}  # that restricted pods may use
DNS = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
PART_OF, NAME = "app.kubernetes.io/part-of", "app.kubernetes.io/name"
MANAGED, COMPONENT = "app.kubernetes.io/managed-by", "app.kubernetes.io/component"


def rule(check: Rule) -> Rule:
    RULES[check.__name__] = check
    return check


def of(objects: Objects, *kinds: str) -> list[Data]:
    return [o for o in objects if o["kind"] in kinds]


def where(o: Data) -> str:
    return f"{o['kind']}/{o['metadata']['name']}"


def pods(objects: Objects) -> Iterator[tuple[str, Data, Data]]:
    """Name of the workload, labels and spec of its pods."""
    for o in of(objects, "Deployment", "StatefulSet", "Job"):
        template = o["spec"]["template"]
        yield where(o), template["metadata"]["labels"], template["spec"]


def containers(objects: Objects) -> Iterator[tuple[str, Data, Data]]:
    """Name, the container, and the spec of its pod."""
    for name, _, spec in pods(objects):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            yield f"{name}/{container['name']}", container, spec


def selected(objects: Objects, labels: Data) -> list[Data]:
    """Specs of the pods with these labels."""
    return [spec for _, found, spec in pods(objects) if labels.items() <= found.items()]


def ports(specs: Sequence[Data]) -> set[int]:
    return {p["containerPort"] for spec in specs for c in spec["containers"] for p in c.get("ports", [])}


# ---- what pods may do --------------------------------------------------------------------------------------------------


@rule
def not_root(objects: Objects) -> Iterator[str]:
    for name, container, spec in containers(objects):
        both = spec.get("securityContext", {}) | container.get("securityContext", {})
        if both.get("runAsNonRoot") is not True or not both.get("runAsUser"):
            yield f"{name} may run as root"


@rule
def read_only_root(objects: Objects) -> Iterator[str]:
    for name, container, _ in containers(objects):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield f"{name} may write to its image"
        if "/tmp" not in {m["mountPath"] for m in container.get("volumeMounts", [])}:
            yield f"{name} has no /tmp"


@rule
def no_capabilities(objects: Objects) -> Iterator[str]:
    for name, container, _ in containers(objects):
        found = container.get("securityContext", {}).get("capabilities", {})
        if found.get("drop") != ["ALL"] or found.get("add"):
            yield f"{name} keeps capabilities"


@rule
def seccomp(objects: Objects) -> Iterator[str]:
    for name, container, spec in containers(objects):
        both = spec.get("securityContext", {}) | container.get("securityContext", {})
        if both.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name} may use any system call"


@rule
def no_escalation(objects: Objects) -> Iterator[str]:
    for name, container, _ in containers(objects):
        found = container.get("securityContext", {})
        if found.get("allowPrivilegeEscalation") is not False or found.get("privileged"):
            yield f"{name} may get more privileges"


@rule
def restricted(objects: Objects) -> Iterator[str]:
    """The rest of the restricted Pod Security standard, which the namespace enforces."""
    for space in of(objects, "Namespace"):
        if space["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{where(space)} does not enforce it"
    for name, _, spec in pods(objects):
        yield from (f"{name} has {field}" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
        if spec.get("securityContext", {}).get("sysctls"):
            yield f"{name} sets kernel parameters"
        for volume in spec.get("volumes", []):
            if kinds := volume.keys() - VOLUMES - {"name"}:
                yield f"{name} mounts a {', '.join(kinds)}"
    for name, container, _ in containers(objects):
        if any(p.get("hostPort") for p in container.get("ports", [])) or container.get("securityContext", {}).get("procMount"):
            yield f"{name} takes a port or the processes of its node"


@rule
def scratch_is_limited(objects: Objects) -> Iterator[str]:
    for name, _, spec in pods(objects):
        for volume in spec.get("volumes", []):
            if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit"):
                yield f"{name} may fill its node's disk through {volume['name']}"


@rule
def tokens_only_for_activators(objects: Objects) -> Iterator[str]:
    for name, labels, spec in pods(objects):
        scales = any("lab.runtime.activator" in c.get("command", []) for c in spec["containers"])
        if spec.get("automountServiceAccountToken") is not scales:
            yield f"{name}: token of a ServiceAccount: {spec.get('automountServiceAccountToken')}, wanted {scales}"
        if bool(spec.get("serviceAccountName")) is not scales:
            yield f"{name} ({labels[NAME]}) has the ServiceAccount {spec.get('serviceAccountName')}"
    for account in of(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{where(account)} gives its token to every pod that names it"


@rule
def roles_are_minimal(objects: Objects) -> Iterator[str]:
    yield from (f"{where(o)} reaches beyond the namespace" for o in of(objects, "ClusterRole", "ClusterRoleBinding"))
    allowed = {"pods": {"get", "list", "watch", "patch"}, "deployments/scale": {"get", "patch", "update"}}
    functions = {o["metadata"]["name"] for o in of(objects, "Deployment") if o["spec"]["replicas"] == 0}
    for role in of(objects, "Role"):
        for found in role["rules"]:
            for resource in found["resources"]:
                if extra := set(found["verbs"]) - allowed.get(resource, set()):
                    yield f"{where(role)} may {', '.join(sorted(extra))} {resource}"
                if resource == "deployments/scale" and set(found.get("resourceNames", [])) != functions:
                    yield f"{where(role)} may scale {found.get('resourceNames')}, wanted {sorted(functions)}"
    known = {(o["kind"], o["metadata"]["name"]) for o in objects}
    for binding in of(objects, "RoleBinding"):
        ends = [binding["roleRef"], *binding["subjects"]]
        yield from (f"{where(binding)} names no {e['kind']}" for e in ends if (e["kind"], e["name"]) not in known)


@rule
def secrets_stay_secret(objects: Objects) -> Iterator[str]:
    """No value of a Secret stands, plain or encoded, in another object."""
    encoded = {v for o in of(objects, "Secret") for v in o["data"].values()}
    values = encoded | {base64.b64decode(v).decode() for v in encoded}
    for o in objects:
        if o["kind"] != "Secret":
            yield from (f"{where(o)} tells a secret" for text in _texts(o) if any(v in text for v in values))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


# ---- what pods get -----------------------------------------------------------------------------------------------------


@rule
def requests_and_limits(objects: Objects) -> Iterator[str]:
    for name, container, _ in containers(objects):
        found = container.get("resources", {})
        for resource in ("cpu", "memory"):
            request, limit = (_amount(found.get(part, {}).get(resource)) for part in ("requests", "limits"))
            if not request or not limit or request > limit:
                yield f"{name} requests {request} and is limited to {limit} of {resource}"


@rule
def architectures_get_what_they_pay(objects: Objects) -> Iterator[str]:
    """Never more than their part of the budget, and never less."""
    for name, labels, spec in pods(objects):
        if labels[COMPONENT] == "architecture" and any(c["resources"]["requests"] != c["resources"]["limits"] for c in spec["containers"]):
            yield f"{name} may get more than it requests"


def _amount(text: str | None) -> float:
    """In CPUs or MiB."""
    match = re.fullmatch(r"([0-9.]+)(m|Mi|)", text or "")
    return float(match[1]) * {"m": 1e-3, "Mi": 1.0, "": 1.0}[match[2]] if match else 0.0


@rule
def probes(objects: Objects) -> Iterator[str]:
    """A Job is left to its end, and a sidecar must not take its pod out of its Service."""
    for name, container, spec in containers(objects):
        wanted = {"startupProbe", "readinessProbe", "livenessProbe"}
        wanted -= {"livenessProbe"} if spec.get("restartPolicy") == "Never" else set()
        wanted -= {"readinessProbe"} if name.endswith("/meter") else set()
        found = {probe for probe in ("startupProbe", "readinessProbe", "livenessProbe") if probe in container}
        if found != wanted:
            yield f"{name} has {', '.join(sorted(found)) or 'no probes'}, wanted {', '.join(sorted(wanted))}"
        for probe in found:
            action = container[probe].get("httpGet") or container[probe].get("tcpSocket") or {}
            if action.get("port") not in {p["containerPort"] for p in container.get("ports", [])}:
                yield f"{name}: {probe} asks {action.get('port')}, which is no port of it"


@rule
def images_have_tags(objects: Objects) -> Iterator[str]:
    for name, container, _ in containers(objects):
        image = container.get("image", "")
        tag = image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in image and tag in ("", "latest"):
            yield f"{name} runs whatever {image or 'no image'} is today"


@rule
def mounts_are_there(objects: Objects) -> Iterator[str]:
    """Each mount has a volume and each volume a mount; what volumes and variables are made of is there, with the keys that they want."""
    known = {(o["kind"], o["metadata"]["name"]): {**o.get("data", {}), **o.get("binaryData", {})} for o in objects}
    claims = {where(o): {c["metadata"]["name"] for c in o["spec"].get("volumeClaimTemplates", [])} for o in objects if "spec" in o}
    for name, _, spec in pods(objects):
        volumes = {v["name"] for v in spec.get("volumes", [])} | claims[name]
        mounted = {m["name"] for c in spec["containers"] for m in c.get("volumeMounts", [])}
        yield from (f"{name}: {odd} is not both volume and mount" for odd in sorted(volumes ^ mounted))
        for kind, source, keys in _references(spec):
            if (kind, source) not in known:
                yield f"{name} wants {kind}/{source}, which is not there"
            elif missing := keys - known[kind, source].keys():
                yield f"{name} wants {', '.join(sorted(missing))} of {kind}/{source}"


def _references(spec: Data) -> Iterator[tuple[str, str, set[str]]]:
    for volume in spec.get("volumes", []):
        for source in volume.get("projected", {}).get("sources", []):
            for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
                if field in source:
                    yield kind, source[field]["name"], {item["key"] for item in source[field].get("items", [])}
    for container in spec["containers"]:
        for variable in container.get("env", []):
            if wanted := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield "Secret", wanted["name"], {wanted["key"]}


@rule
def nodes_of_their_own(objects: Objects) -> Iterator[str]:
    """All pods or none are bound to a role; the architecture's is not that of the rest."""
    found = {name: (labels[COMPONENT] == "architecture", _role(spec)) for name, labels, spec in pods(objects)}
    for name, (is_system, role) in found.items():
        if any(r for _, r in found.values()) and role != ["system" if is_system else "driver"]:
            yield f"{name} runs on nodes {role}"


def _role(spec: Data) -> Any:
    terms = (
        spec.get("affinity", {})
        .get("nodeAffinity", {})
        .get("requiredDuringSchedulingIgnoredDuringExecution", {})
        .get("nodeSelectorTerms", [])
    )
    return next((e["values"] for t in terms for e in t["matchExpressions"] if e["key"] == "lab/role"), None)


# ---- what finds what ---------------------------------------------------------------------------------------------------


@rule
def names_and_labels(objects: Objects) -> Iterator[str]:
    """Every object and pod says whose it is; what belongs to a deployment says to which."""
    labs = {o["metadata"]["labels"].get(PART_OF) for o in objects}
    if len(labs) != 1 or None in labs:
        yield f"objects belong to {labs}"
    templates = [(name, labels) for name, labels, _ in pods(objects)]
    for name, labels in [*((where(o), o["metadata"].get("labels", {})) for o in objects), *templates]:
        missing = {MANAGED, PART_OF, NAME, COMPONENT} - labels.keys()
        missing |= {"lab/deployment"} - labels.keys() if labels.get(COMPONENT) == "architecture" else set()
        yield from (f"{name} has no label {label}" for label in sorted(missing))
        yield from (f"{name}: {k}={v} is no label" for k, v in labels.items() if len(v) > 63 or not LABEL.fullmatch(v))
    for o in objects:
        if len(o["metadata"]["name"]) > 63 or not DNS.fullmatch(o["metadata"]["name"]):
            yield f"{where(o)} is no DNS label"
    yield from (f"{n} objects are called {name}" for name, n in Counter(map(where, objects)).items() if n > 1)
    spaces = {o["metadata"].get("namespace") for o in objects if o["kind"] != "Namespace"}
    if spaces != {o["metadata"]["name"] for o in of(objects, "Namespace")}:
        yield f"objects stand in the namespaces {spaces}"


@rule
def selectors_match(objects: Objects) -> Iterator[str]:
    """A workload finds its own pods, and no other workload's."""
    for o in of(objects, "Deployment", "StatefulSet"):
        if selected(objects, o["spec"]["selector"]["matchLabels"]) != [o["spec"]["template"]["spec"]]:
            yield f"{where(o)} does not select just its own pods"


@rule
def services_lead_somewhere(objects: Objects) -> Iterator[str]:
    for service in of(objects, "Service"):
        found = selected(objects, service["spec"]["selector"])
        if len(found) != 1:
            yield f"{where(service)} leads to {len(found)} workloads"
        elif unknown := {p["targetPort"] for p in service["spec"]["ports"]} - ports(found):
            yield f"{where(service)} leads to port {unknown}, which no container has"
    mapped = Counter(p["nodePort"] for s in of(objects, "Service") for p in s["spec"]["ports"] if p.get("nodePort"))
    yield from (f"{n} Services want the node port {port}" for port, n in mapped.items() if n > 1)
    for o in of(objects, "StatefulSet"):
        if o["spec"]["serviceName"] not in {s["metadata"]["name"] for s in of(objects, "Service")}:
            yield f"{where(o)} has no Service"


@rule
def connections_are_allowed_one_by_one(objects: Objects) -> Iterator[str]:
    policies = of(objects, "NetworkPolicy")
    denied = {"podSelector": {}, "policyTypes": ["Ingress"]}
    if denied not in [p["spec"] for p in policies]:
        yield "whatever no policy names is open"
    covered: list[Data] = []
    for policy in policies:
        labels = policy["spec"]["podSelector"].get("matchLabels", {})
        found = selected(objects, labels)
        if not found:
            yield f"{where(policy)} is for no pod"
        covered += found if labels else []
        for ingress in policy["spec"].get("ingress", []):
            if unknown := {p["port"] for p in ingress.get("ports", [])} - ports(found):
                yield f"{where(policy)} opens port {unknown}, which no container has"
            if not ingress.get("ports"):
                yield f"{where(policy)} opens all ports"
            for peer in ingress.get("from", []):
                if not selected(objects, peer["podSelector"]["matchLabels"]):
                    yield f"{where(policy)} lets in {peer['podSelector']['matchLabels']}, which is no pod"
    yield from (f"{name} can be reached by nobody" for name, _, spec in pods(objects) if spec not in covered)


@rule
def autoscalers_can_scale(objects: Objects) -> Iterator[str]:
    known = {o["metadata"]["name"]: o for o in of(objects, "Deployment")}
    for scaler in of(objects, "HorizontalPodAutoscaler"):
        spec, target = scaler["spec"], known.get(scaler["spec"]["scaleTargetRef"]["name"])
        if target is None:
            yield f"{where(scaler)} scales nothing"
        elif not spec["minReplicas"] <= target["spec"]["replicas"] <= spec["maxReplicas"]:
            yield f"{where(scaler)}: its target begins with {target['spec']['replicas']}"
        if not 1 <= spec["minReplicas"] < spec["maxReplicas"]:
            yield f"{where(scaler)} scales between {spec['minReplicas']} and {spec['maxReplicas']}"
        wanted = [m["resource"]["target"]["averageUtilization"] for m in spec["metrics"]]
        if not wanted or not all(1 <= w <= 100 for w in wanted):
            yield f"{where(scaler)} aims at {wanted} %"


@rule
def disruptions_are_bounded(objects: Objects) -> Iterator[str]:
    """Services of several instances lose one at a time; a single one must not keep a node from being drained."""
    budgets = of(objects, "PodDisruptionBudget")
    scaled = {s["spec"]["scaleTargetRef"]["name"] for s in of(objects, "HorizontalPodAutoscaler")}
    bounded = [spec for b in budgets for spec in selected(objects, b["spec"]["selector"]["matchLabels"])]
    for budget in budgets:
        if not selected(objects, budget["spec"]["selector"]["matchLabels"]):
            yield f"{where(budget)} is for no pod"
        if budget["spec"].get("maxUnavailable", 0) < 1:
            yield f"{where(budget)} allows no disruption at all"
    for o in of(objects, "Deployment"):
        several = o["spec"]["replicas"] > 1 or o["metadata"]["name"] in scaled
        if several != (o["spec"]["template"]["spec"] in bounded):
            yield f"{where(o)} has {o['spec']['replicas']} instances and {'no' if several else 'a'} PodDisruptionBudget"
