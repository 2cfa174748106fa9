"""The nodes of a kind cluster as containers of the Docker engine: found by kind's own label, started, stopped, pinned and metered."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import requests
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from lab.errors import MachineError
from lab.providers.kind import cgroups
from lab.providers.kind.cgroups import Consumed
from lab.providers.kind.diagnosis import PortTaken
from lab.providers.kubernetes.images.engine import connect

CLUSTER_LABEL, ROLE_LABEL = "io.x-k8s.kind.cluster", "io.x-k8s.kind.role"
CONTROL_PLANE = "control-plane"
STOP_S = 3  # a node's systemd hardly ever ends in time; etcd and PostgreSQL have their write-ahead logs
PIN_S = 10.0
POLL_S = 0.05
# cgroup v1 refuses a set of CPUs smaller than that of a group below: so those first, from the root to widen, from the leaves to narrow.
NARROW = """
cd /sys/fs/cgroup/cpuset
for d in $(find . -mindepth 1 -type d); do echo {all} > $d/cpuset.cpus || :; done
for d in $(find . -mindepth 1 -depth -type d); do echo {wanted} > $d/cpuset.cpus || :; done
"""


@contextlib.contextmanager
def engine_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (DockerException, requests.RequestException) as error:
        said = str(getattr(error, "explanation", "") or error)
        if "port is already allocated" in said or "address already in use" in said:
            raise PortTaken(f"a port that the cluster had is taken: {said}", "free that port, or `lab clean` and `lab up`") from error
        raise MachineError(f"the Docker engine cannot {what}: {said}", "does it run, and is its disk not full? `docker info`") from error


def info() -> Mapping[str, Any]:
    with engine_errors("be asked"), contextlib.closing(connect()) as engine:
        return dict(engine.info())


class Nodes:
    """Those of the cluster with that name; none if there is no such cluster."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._client = connect()

    def all(self) -> list[Container]:
        with engine_errors("list containers"):
            return self._client.containers.list(all=True, filters={"label": f"{CLUSTER_LABEL}={self._cluster}"}, ignore_removed=True)

    def wanted(self) -> list[Container]:
        """Raises MachineError where there are none: somebody deleted them under the Lab."""
        found = self.all()
        if not found:
            what = f"the cluster {self._cluster} is gone: it has no nodes in the Docker engine"
            raise MachineError(what, "`lab clean` removes what is left, then `lab up`")
        return found

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(str(c.name) for c in self.all()))

    def running(self) -> bool:
        """All of them, and there are some."""
        found = self.all()
        return bool(found) and all(c.status == "running" for c in found)

    def by_address(self) -> tuple[str, ...]:
        """Their names in the order of their addresses. An engine gives the lowest free address first, so started in this order they get
        those that they had; a node image that cannot follow a changed address then works too."""
        found = []
        for container in self.all():
            networks = container.attrs["NetworkSettings"]["Networks"]
            address = next((n["IPAddress"] for n in networks.values() if n.get("IPAddress")), "0.0.0.0")
            found.append((ipaddress.ip_address(address), str(container.name)))
        return tuple(name for _, name in sorted(found))

    def start(self, order: Sequence[str]) -> None:
        """In that order, on all CPUs."""
        known, everything = list(order), self._everything()
        for container in sorted(self.all(), key=lambda c: (known.index(str(c.name)) if c.name in known else len(known), str(c.name))):
            with engine_errors(f"start node {container.name}"):
                if container.attrs["HostConfig"]["CpusetCpus"]:
                    container.update(cpuset_cpus=everything)  # in cgroup v1 a kubelet that may not use all CPUs does not start
                container.start()

    def system(self) -> tuple[str, ...]:
        """The workers."""
        return tuple(str(c.name) for c in self.all() if c.labels.get(ROLE_LABEL) != CONTROL_PLANE)

    def stop(self) -> None:
        """All at once; what they hold stays."""
        found = self.all()
        with ThreadPoolExecutor(max(1, len(found))) as pool, engine_errors("stop the nodes"):
            list(pool.map(lambda c: c.stop(timeout=STOP_S), found))

    def remove(self) -> tuple[str, ...]:
        """With their volumes, which is what `kind delete cluster` does; names them."""
        found = self.all()
        with ThreadPoolExecutor(max(1, len(found))) as pool, engine_errors("remove the nodes"):
            list(pool.map(_remove, found))
        return tuple(f"node {container.name}" for container in found)

    # ---- CPUs ----------------------------------------------------------------------------------------------------------

    def pin(self, system: Sequence[int], rest: Sequence[int]) -> None:
        """The workers to `system`, the control plane to `rest`, with whatever runs in them; all CPUs where empty."""
        everything, below_first = self._everything(), self._version_1()
        for container in self.wanted():
            cpus = rest if container.labels.get(ROLE_LABEL) == CONTROL_PLANE else system
            wanted = ",".join(map(str, cpus)) or everything
            if (container.attrs["HostConfig"]["CpusetCpus"] or everything) != wanted:
                with engine_errors(f"pin node {container.name}"):
                    self._pin(container, wanted, everything if below_first else "")

    @cached_property
    def _info(self) -> Mapping[str, Any]:
        with engine_errors("be asked"):
            return dict(self._client.info())

    def _everything(self) -> str:
        """All CPUs of the engine."""
        return f"0-{int(self._info['NCPU']) - 1}"

    def _version_1(self) -> bool:
        return str(self._info.get("CgroupVersion")) == "1"

    def _pin(self, container: Container, wanted: str, everything: str) -> None:
        """`everything`: all CPUs where groups below must be moved first. A pod that starts meanwhile has all of them: then once more."""
        deadline = time.monotonic() + PIN_S
        while True:
            if everything:
                container.update(cpuset_cpus=everything)
                container.exec_run(["sh", "-c", NARROW.format(all=everything, wanted=wanted)])
            try:
                container.update(cpuset_cpus=wanted)
            except APIError as error:
                if "device or resource busy" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
            else:
                return

    # ---- consumption ---------------------------------------------------------------------------------------------------

    def consumed(self) -> Consumed:
        found = self.wanted()
        with ThreadPoolExecutor(max(1, len(found))) as pool, engine_errors("tell what the nodes consume"):
            each = list(pool.map(self._consumed, found))
        return Consumed(cpu_s=sum(c.cpu_s for c in each), memory_mib=sum(c.memory_mib for c in each))

    def of_pods(self, uids: Collection[str]) -> Mapping[str, Consumed]:
        """Of those that run in a node; none where the engine is not on this machine."""
        nodes = [(str(c.id), int(c.attrs["State"]["Pid"])) for c in self.wanted()] if uids else []
        tried = ((uid, cgroups.of_pod(uid, *node)) for uid in uids for node in nodes)
        return {uid: found for uid, found in tried if found is not None}

    def _consumed(self, container: Container) -> Consumed:
        found = cgroups.consumed(str(container.id), int(container.attrs["State"]["Pid"]))
        if found is not None:
            return found
        stats: Any = self._client.api.stats(str(container.id), stream=False, one_shot=True)
        return of_stats(stats)


def _remove(container: Container) -> None:
    with contextlib.suppress(NotFound):
        container.remove(force=True, v=True)


def of_stats(stats: Mapping[str, Any]) -> Consumed:
    """Of the engine's answer."""
    memory = stats.get("memory_stats", {})
    details = memory.get("stats", {})
    cached = details.get("total_inactive_file", details.get("inactive_file", 0))
    return Consumed(
        cpu_s=stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        memory_mib=max(0, memory.get("usage", 0) - cached) / 2**20,
    )
