"""Who may connect to which pods: from a Site's platform, a topology's edges and a Job to NetworkPolicies; nobody else may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightkube.models.meta_v1 import LabelSelector
from lightkube.models.networking_v1 import NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec
from lightkube.resources.networking_v1 import NetworkPolicy

from lab.model import Operation, Service, Topology
from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects.services import pods_of
from lab.providers.kubernetes.objects.site import Object, Site


def platform(site: Site, standing: Sequence[str]) -> list[Object]:
    """`standing`: the services that run in the cluster. Ports that the API server's proxy reaches are open to all, since its address
    cannot be told; behind them a token is asked for. So are those that are mapped out of the cluster."""
    everybody = site.labels("everything", "platform")
    within = {names.COMPONENT_LABEL: "architecture", names.LAB_LABEL: everybody[names.LAB_LABEL]}
    clients = [_peer(LabelSelector(matchLabels=within)), _peer(pods_of(site.labels("agent", "platform")))]
    denied = NetworkPolicySpec(podSelector=LabelSelector(), policyTypes=["Ingress"])
    found: list[Object] = [NetworkPolicy(metadata=site.metadata("deny-by-default", everybody), spec=denied)]
    for name in standing:
        labels = site.labels(name, "platform")
        if name in ("gateway", "agent"):
            rules = [_rule(names.PORT)]
        else:
            port = {"object_store": names.STORE_PORT, "database": names.DATABASE_PORT}[name]
            rules = [_rule(port) if name in site.node_ports else _rule(port, clients)]
        if name != "agent":
            rules.append(_rule(names.METER_PORT))
        found.append(policy(site, names.host(name), labels, rules))
    return found


def policy(site: Site, name: str, labels: Mapping[str, str], rules: Sequence[NetworkPolicyIngressRule]) -> NetworkPolicy:
    """For the pods of the service that `labels` name."""
    spec = NetworkPolicySpec(podSelector=pods_of(labels), policyTypes=["Ingress"], ingress=list(rules))
    return NetworkPolicy(metadata=site.metadata(name, labels), spec=spec)


def service(site: Site, topology: Topology, deployment: str, operations: Sequence[Operation], target: Service) -> NetworkPolicy:
    """From its callers, the gateway where it routes there, and the agent, which reads its usage. An activator's pools are filled and
    drained through the API server's proxy."""
    labels = site.labels(target.name, "architecture", deployment)
    callers = [pods_of(site.labels(name, "architecture", deployment)) for name in sorted(callers_of(topology, target))]
    if target.name in entries(topology, operations):
        callers.append(pods_of(site.labels("gateway", "platform")))
    peers = [_peer(selector) for selector in (*callers, pods_of(site.labels("agent", "platform")))]
    rule = _rule(names.PORT) if target.role == "activator" else _rule(names.PORT, peers)
    return policy(site, names.dns(deployment, target.name), labels, [rule])


def callers_of(topology: Topology, target: Service) -> set[str]:
    """Functions are called through the activator, also by each other."""
    activators = {s.name for s in topology.services if s.role == "activator"}
    functions = {s.name for s in topology.services if s.scaling == "to_zero"}
    if target.name in functions:
        return activators
    reached = functions | {target.name} if target.role == "activator" else {target.name}
    return {e.source for e in topology.edges if e.target in reached and e.source != target.name}


def entries(topology: Topology, operations: Sequence[Operation]) -> set[str]:
    """The services that the gateway connects to: of the operations (a function's activator), of the page, and of contract and readiness."""
    standing = [s for s in topology.services if s.scaling != "to_zero"]
    activators = {s.name for s in standing if s.role == "activator"}
    found = {s.name for s in standing if s.page}
    described = [s.name for s in standing if s.role == "host"] or [s.name for s in standing]
    found |= {described[0], standing[0].name}
    for operation in operations:
        routed = topology.service(topology.routes[operation.name])
        found |= activators if routed.scaling == "to_zero" else {routed.name}
    return found


def job(site: Site, name: str, labels: Mapping[str, str], port: int) -> NetworkPolicy:
    return policy(site, name, labels, [_rule(port)])


def _peer(selector: LabelSelector) -> NetworkPolicyPeer:
    return NetworkPolicyPeer(podSelector=selector)


def _rule(port: int, peers: Sequence[NetworkPolicyPeer] = ()) -> NetworkPolicyIngressRule:
    """Without peers: from anywhere."""
    return NetworkPolicyIngressRule(from_=list(peers) or None, ports=[NetworkPolicyPort(port=port, protocol="TCP")])
