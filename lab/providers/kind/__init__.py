"""The Lab of provider kubernetes on a cluster of the Lab's own, whose nodes are containers of a Docker engine on this machine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from lab import cores, spawn
from lab.contracts import Capabilities, Deployment, Endpoint
from lab.errors import MachineError
from lab.lock import Deleted, locked
from lab.model import Topology, Usage
from lab.providers import kubernetes
from lab.providers.kind import config, diagnosis
from lab.providers.kind.lifecycle import Cluster
from lab.providers.kubernetes import images, keeping, names, supply
from lab.providers.kubernetes.access import Access, Report
from lab.providers.kubernetes.images import Built
from lab.providers.kubernetes.state import Known, State
from lab.settings import Settings

VERSION_S = 20.0
LOCK_S = 600.0  # another command may be building images and making the cluster
LOCK = "kind.lock"
WORKER_TARGETS = ("serving",)  # images that workers need


class Provider(kubernetes.Provider):
    """A Lab has a cluster of its own: `down` stops its nodes, `destroy` removes them. The architecture runs on the workers, platform and
    driver beside the control plane; nodes of either kind have CPUs of their own where this machine has two physical cores."""

    name = "kind"

    def __init__(self, settings: Settings) -> None:
        self._cores = cores.allowed()  # before a run keeps this process on some of them
        self._local_ports: dict[str, int] = {}  # those of the cluster, as soon as it is known
        access = Access(
            kubeconfig=config.kubeconfig(settings.state),
            context=config.context(config.cluster_name(settings)),
            local_ports=self._local_ports,
            node_ports=config.NODE_PORTS,
            load=self._load,
        )
        super().__init__(settings, access)
        self._own = State(settings.state)
        self._overhead_s = 0.0  # the latest of Kubernetes itself
        self._jobs_s: dict[str, float] = {}  # by pod, of those that have ended too
        self._learn()

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self._settings)

    def _learn(self) -> None:
        """Of the cluster that stands now; what was known of one before is forgotten."""
        for name in ("_lab", "_deployer", "_metered"):
            self.__dict__.pop(name, None)
        self._local_ports.update(self._cluster.intent().ports)

    def capabilities(self, cpus: float = 1.0) -> Capabilities:
        split = cores.share(self._cores, cpus)
        pinned = split.isolation == "pinned" and config.separate(self._settings)
        return replace(
            super().capabilities(cpus),
            isolation="pinned" if pinned else "limits",
            system_cpus=split.system,
            driver_cpus=split.rest,
            up_s=80.0,
        )

    def prepare(self) -> None:
        found = [*_tools(), *images.problems(self._settings)]
        if found:
            raise MachineError("; ".join(what for what, _ in found), "; ".join(dict.fromkeys(hint for _, hint in found)))

    # ---- the Lab -------------------------------------------------------------------------------------------------------

    def up(self, report: Callable[[str], None] = lambda _: None, *, owner_pid: int | None = None) -> tuple[Endpoint, ...]:
        self.prepare()
        self._own.make(self.name)
        with locked(self._own.folder / LOCK, LOCK_S, report):
            try:
                self._stand(report, owner_pid)
                return super().up(report)
            except BaseException:
                known = self._own.known()
                if known is None or not known.endpoints:  # it never stood, so there is nothing to keep
                    report("it failed: removing the cluster")
                    self._cluster.sweep()
                raise

    def _stand(self, report: Report, owner_pid: int | None) -> None:
        """Its nodes run and are ready, or will be once images are loaded into them."""
        if self._cluster.running():
            self._cluster.await_nodes()
            return
        images.build(self._settings, supply.targets(self._settings), report)  # what fails here needs no cluster
        if not self._cluster.complete():
            for left in self._cluster.sweep():
                report(f"removed what a killed Lab left: {left}")
        if owner_pid is not None:
            keeping.start(self._settings, self._own, owner_pid)
        made = self._cluster.stand(report)
        self._learn()
        if made:
            self._own.remember(Known(namespace="", server=""))  # a new cluster has no images
            return
        self._cluster.await_nodes()
        if super().find() is not None:  # the nodes were stopped from outside, for example by a restart of this machine
            super().down()

    def _load(self, built: Built, report: Report) -> Mapping[str, str]:
        """A worker runs nothing but the architecture. All at the same time, while the nodes get ready."""
        nodes = self._cluster.nodes
        workers = nodes.system()
        others = set(nodes.names()) - set(workers)
        serving = replace(built, references={k: v for k, v in built.references.items() if k in WORKER_TARGETS})
        with ThreadPoolExecutor(2) as pool:
            loading = [pool.submit(images.load, what, where, report) for what, where in ((built, others), (serving, workers)) if where]
            self._cluster.await_nodes()
            for each in loading:
                each.result()
        return built.references

    def find(self) -> tuple[Endpoint, ...] | None:
        return super().find() if self._cluster.running() else None

    def down(self) -> None:
        """Architectures go, the platform ends in good order, then the nodes stop; volumes stay in them."""
        if self._own.exists():
            with suppress(Deleted), locked(self._own.folder / LOCK, LOCK_S):
                if self._cluster.running():
                    super().down()
                self._cluster.stop()

    def destroy(self) -> tuple[str, ...]:
        """Also of a Lab whose folder is gone: its cluster is known by the Lab's name. A folder that is no Lab is left alone."""
        if not self._own.exists():
            return () if self._own.folder.exists() else self._cluster.sweep()
        with suppress(Deleted), locked(self._own.folder / LOCK, LOCK_S):
            return (*self._cluster.sweep(), *self._own.erase())
        return ()

    # ---- deployments ---------------------------------------------------------------------------------------------------

    def deploy(self, topology: Topology, deployment: str, seed: int) -> Deployment:
        can = self.capabilities(topology.cpus)
        apart = can.isolation == "pinned"
        self._cluster.nodes.pin(can.system_cpus if apart else (), can.driver_cpus if apart else ())
        return super().deploy(topology, deployment, seed)

    def usage(self) -> tuple[Usage, ...]:
        """With a line for what the nodes consume beside the Lab's pods: Kubernetes itself. Its CPU time grows by that of a deployment when
        that is retired."""
        nodes = self._cluster.nodes
        consumed = nodes.consumed()  # says so where the nodes are gone
        told = super().usage()
        jobs = self._lab.cluster.pods(names.selector({names.COMPONENT_LABEL: "job"}))  # drivers tell of themselves
        living = nodes.of_pods([str(pod.metadata.uid) for pod in jobs if pod.metadata])
        self._jobs_s |= {uid: each.cpu_s for uid, each in living.items()}
        pods_s = sum(u.cpu_s or 0.0 for u in told) + sum(self._jobs_s.values())
        pods_mib = sum(u.memory_mib or 0.0 for u in told) + sum(each.memory_mib for each in living.values())
        self._overhead_s = max(self._overhead_s, consumed.cpu_s - pods_s)
        own = Usage(
            at_s=time.monotonic(),
            service="kubernetes",
            tier="platform",
            instances=len(nodes.names()),
            cpu_s=self._overhead_s,
            memory_mib=max(0.0, consumed.memory_mib - pods_mib),
        )
        return (*told, own)


def _tools() -> Iterator[tuple[str, str]]:
    """(what is wrong, next step)"""
    if shutil.which("docker") is None:
        yield "the command docker is not on PATH, and kind calls it", "install Docker's command line"
    if shutil.which("kind") is None:
        yield "kind is not installed", diagnosis.INSTALL
        return
    problem = diagnosis.version_problem(spawn.capture(["kind", "version"], timeout_s=VERSION_S).output)
    if problem is not None:
        yield problem
