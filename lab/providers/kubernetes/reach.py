"""Proof that the pods of a deployment reach each other: a Service of ready pods is not yet one that every node knows of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from lab.errors import MachineError
from lab.model import Topology
from lab.providers.kubernetes import diagnosis, names
from lab.providers.kubernetes.cluster import Cluster

# Connects to each HOST once, however often that takes; says which one it could not.
CONNECT = """
import socket, sys, time
end = time.monotonic() + float(sys.argv[1])
for host in sys.argv[3:]:
    while True:
        try:
            socket.create_connection((host, int(sys.argv[2])), 1).close()
            break
        except OSError as error:
            if time.monotonic() > end: sys.exit(f"{host}: {error}")
            time.sleep(0.05)
print("reached")
"""
SERVICE = "service"  # the container of an architecture's pod
MARGIN_S = 10.0


def prove(cluster: Cluster, topology: Topology, deployment: str, patience_s: float) -> None:
    """Every edge, and the gateway's way to every entry, tried from where it begins. Raises MachineError for one that stays closed."""
    pods = [p for p in cluster.pods(names.selector({names.DEPLOYMENT_LABEL: names.value(deployment)})) if diagnosis.ready(p)]
    gateway = cluster.pods(names.selector({names.SERVICE_LABEL: "gateway", names.COMPONENT_LABEL: "platform"}))
    tries = []
    for source, targets in _ways(topology):
        begins = [p for p in pods if diagnosis.service(p) == names.value(source)] if source else gateway
        hosts = [names.dns(deployment, target) for target in targets]
        tries += [(diagnosis.name(pod), SERVICE if source else names.METER, hosts) for pod in begins]
    with ThreadPoolExecutor(max(1, len(tries))) as pool:
        list(pool.map(lambda way: _try(cluster, way[0], way[1], way[2], patience_s), tries))


def _ways(topology: Topology) -> Iterator[tuple[str, Sequence[str]]]:
    """(source, "" for the gateway; targets that run all the time). Functions are reached through their activator."""
    activator = next((s.name for s in topology.services if s.role == "activator"), "")
    functions = {s.name for s in topology.services if s.scaling == "to_zero"}

    def standing(wanted: set[str]) -> list[str]:
        return sorted({activator if name in functions else name for name in wanted})

    yield "", standing(set(topology.routes.values()))
    callers: Mapping[str, set[str]] = {s.name: {e.target for e in topology.edges if e.source == s.name} for s in topology.services}
    yield from ((source, standing(targets)) for source, targets in callers.items() if targets and source not in functions)


def _try(cluster: Cluster, pod: str, container: str, hosts: Sequence[str], patience_s: float) -> None:
    command = ["python", "-S", "-E", "-c", CONNECT, f"{patience_s:.1f}", str(names.PORT), *hosts]
    with cluster.errors(f"run a command in {pod}"):
        done = cluster.client.exec(pod, container=container, command=command, stdout=True, stderr=True, timeout=patience_s + MARGIN_S)
    if done.exit_code != 0:
        said = str(done.stderr or done.stdout or "").strip()
        raise MachineError(
            f"{pod} does not reach {said}", "do the cluster's network policies and its DNS work? `kubectl describe networkpolicy`"
        )
