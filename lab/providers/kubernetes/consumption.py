"""Usage of all services of a Lab: its pods listed, their readings fetched by the agent in one call, and added up over time."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from lab.errors import MachineError
from lab.model import Usage
from lab.model.measure import MONOTONIC
from lab.providers.kubernetes import diagnosis, names
from lab.providers.kubernetes.accounts import Accounts, Key
from lab.providers.kubernetes.cluster import Cluster
from lab.providers.kubernetes.hands import Hands
from lab.runtime import clock
from lab.runtime.config import USAGE_PATH
from lab.runtime.consumption import Reading
from lab.runtime.meter import PATH as METER_PATH

OURS = f"{names.MANAGED_LABEL}={names.MANAGER}"
ARCHITECTURE = f"{names.COMPONENT_LABEL}=architecture"
UNREAD = ("agent", "metrics-server")  # no service of the platform as a user sees it


class Consumed:
    """Counters begin with the first reading of a pod, and go on over its end."""

    def __init__(self, cluster: Cluster, hands: Hands) -> None:
        self._cluster, self._hands = cluster, hands
        self._accounts = Accounts()
        self._one_at_a_time = threading.Lock()
        self._here = clock.boot_id()
        self._platform: set[Key] = set()  # those that had a pod

    def forget(self, deployment: str) -> None:
        with self._one_at_a_time:
            self._accounts.forget(deployment)

    def usage(self) -> tuple[Usage, ...]:
        """Raises MachineError when a service of the platform has died."""
        with self._one_at_a_time:
            services = self._services()
            pods = [p for p in self._cluster.pods(OURS) if diagnosis.address(p) and _component(p) in ("platform", "architecture")]
            targets = {diagnosis.name(p): _target(p) for p in pods if _key(p)[1] not in UNREAD}
            sent_s = time.monotonic()
            readings = self._hands.usage(targets)
            middle_s = (sent_s + time.monotonic()) / 2  # of clocks that are not ours, by half a round trip at the most
            by_service: defaultdict[Key, list[Pod]] = defaultdict(list, {key: [] for key in (*services, *sorted(self._platform))})
            for pod in pods:
                if _key(pod)[1] not in UNREAD:
                    by_service[_key(pod)].append(pod)
            self._platform |= {key for key in by_service if not key[0]}
            return tuple(self._usages(by_service, readings, middle_s))

    def clocks(self) -> Mapping[str, Callable[[], tuple[float, str]]]:
        """By the name that events of that node's pods give it: every reading of a pod says what its clock was."""
        found: dict[str, Callable[[], tuple[float, str]]] = {}
        foreign = {node: name for node, name in node_clocks(self._cluster).items() if name != MONOTONIC}
        for pod in self._cluster.pods(OURS) if foreign else ():
            node = (pod.spec.nodeName if pod.spec else None) or ""
            if node in foreign and diagnosis.ready(pod) and _component(pod) in ("platform", "architecture") and _key(pod)[1] not in UNREAD:
                found.setdefault(foreign[node], partial(self._read_clock, _target(pod)))
        return found

    def _read_clock(self, target: str) -> tuple[float, str]:
        reading = self._hands.usage({"clock": target})["clock"]
        if reading is None:
            raise MachineError(f"no clock can be read at {target}", "does that pod still run? `lab logs`")
        return reading.at_s, reading.boot_id

    def _services(self) -> list[Key]:
        """Of architectures; those without a pod too."""
        return [_key(d) for d in self._cluster.find(Deployment, ARCHITECTURE)]

    def _usages(self, by_service: Mapping[Key, Sequence[Pod]], readings: Mapping[str, Reading | None], middle_s: float) -> Iterator[Usage]:
        for key, pods in by_service.items():
            found = {diagnosis.name(p): readings.get(diagnosis.name(p)) for p in pods}
            told = [r for r in found.values() if r is not None]
            if not key[0]:
                self._check(key[1], pods, bool(told))
            total = self._accounts.update(key, found)
            yield Usage(
                at_s=max((r.at_s for r in told if r.boot_id and r.boot_id == self._here), default=middle_s),
                service=key[1],
                tier="architecture" if key[0] else "platform",
                instances=sum(not diagnosis.leaving(p) and (found[diagnosis.name(p)] is not None or diagnosis.ready(p)) for p in pods),
                cpu_s=total.cpu_s,
                memory_mib=total.memory_mib,
                bytes_read=total.bytes_read,
                bytes_written=total.bytes_written,
            )

    def _check(self, service: str, pods: Sequence[Pod], alive: bool) -> None:
        for pod in pods:
            found = diagnosis.trouble(pod)
            if found is not None and found.final and not alive:
                raise self._cluster.failure(pod, found)
        if not pods:
            raise MachineError(f"{service} has no pod any more", "`lab down`, then `lab up` starts it again with its data")


def node_clocks(cluster: Cluster) -> Mapping[str, str]:
    """node -> the clock of its pods: ours where it is the same kernel."""
    here = clock.boot_id()
    found = {}
    for node in cluster.nodes():
        name = str(node.metadata.name) if node.metadata else ""
        boot = node.status.nodeInfo.bootID if node.status and node.status.nodeInfo else ""
        found[name] = MONOTONIC if here and boot == here else f"{MONOTONIC}@{name}"
    return found


def _labels(object_: Pod | Deployment) -> Mapping[str, str]:
    return (object_.metadata.labels if object_.metadata else None) or {}


def _component(pod: Pod) -> str:
    return _labels(pod).get(names.COMPONENT_LABEL, "")


def _key(object_: Pod | Deployment) -> Key:
    labels = _labels(object_)
    return labels.get(names.DEPLOYMENT_LABEL, ""), labels.get(names.SERVICE_LABEL, "")


def _target(pod: Pod) -> str:
    ip = diagnosis.address(pod)
    host = f"[{ip}]" if ":" in ip else ip
    if _component(pod) == "architecture":
        return f"http://{host}:{names.PORT}{USAGE_PATH}"
    return f"http://{host}:{names.METER_PORT}{METER_PATH}"
