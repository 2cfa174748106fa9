"""One Lab in a cluster: it stands whole or not at all, is found by its labels, sleeps with its data, and goes without a trace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.core_v1 import Namespace

from lab.contracts import Endpoint
from lab.errors import LabError, MachineError
from lab.lock import locked
from lab.providers.kubernetes import configuring, keeping, metrics, names, objects, supply
from lab.providers.kubernetes.access import Access, Report
from lab.providers.kubernetes.cluster import Cluster
from lab.providers.kubernetes.state import Known, State
from lab.settings import Settings

KEY = "lab/key"  # annotation of the namespace
GONE_S = 90.0
LOCK_S = 300.0  # another command may be building images
PLATFORM = names.selector({names.COMPONENT_LABEL: "platform"})
KINDS: Mapping[str, str] = {"object_store": "minio", "database": "postgresql", "gateway": "traefik"}


@dataclass(frozen=True)
class Lab:
    settings: Settings
    access: Access
    state: State

    @cached_property
    def cluster(self) -> Cluster:
        return Cluster(self.access.kubeconfig, self.access.context or self.settings.kubernetes_context, names.namespace(self.settings.name))

    # ---- what stands ---------------------------------------------------------------------------------------------------

    def find(self) -> Known | None:
        """What stands, all of its platform; raises MachineError when the cluster does not answer."""
        known = self.state.known()
        if known is None or not known.endpoints or known.stopped:
            return None
        if not self._ours():
            return None
        standing = self._workloads()
        return known if standing and all(replicas > 0 for _, _, replicas in standing) else None

    def wanted(self) -> Known:
        found = self.find()
        if found is None:
            raise MachineError(f"no Lab called {self.settings.name} stands in the cluster", "`lab up` makes one")
        return found

    def _ours(self) -> bool:
        """Whether there is our namespace. Raises MachineError for one of the same name that is somebody else's."""
        space = self.cluster.space()
        if space is None or (space.status is not None and space.status.phase == "Terminating"):
            return False
        annotations = (space.metadata.annotations if space.metadata else None) or {}
        if annotations.get(KEY) != self.state.key:
            where = f"namespace {self.cluster.namespace} of {self.cluster.server}"
            hint = "choose another `name`; if it is yours, from another machine or folder: `kubectl delete namespace`"
            raise MachineError(f"{where} belongs to another Lab", hint)
        return True

    def _workloads(self) -> list[tuple[type[Deployment] | type[StatefulSet], str, int]]:
        """(kind, name, wanted replicas) of the platform."""
        found: list[tuple[type[Deployment] | type[StatefulSet], str, int]] = []
        workloads: list[Deployment | StatefulSet] = [*self.cluster.find(Deployment, PLATFORM), *self.cluster.find(StatefulSet, PLATFORM)]
        for each in workloads:
            if each.metadata and each.spec:
                replicas = each.spec.replicas
                found.append((type(each), str(each.metadata.name), 1 if replicas is None else replicas))
        return found

    # ---- up ------------------------------------------------------------------------------------------------------------

    def up(self, report: Report, owner_pid: int | None) -> tuple[Endpoint, ...]:
        self.state.make(self.settings.provider)
        with locked(self.state.lock, LOCK_S, report):
            found = self.find()
            if found is not None:
                self._check_same(found)
                report("it stands already")
                return found.endpoints
            before = self.state.known()
            try:
                return self._stand(report, owner_pid)
            except BaseException:
                report("it failed: removing what was made")
                if before is not None and before.endpoints:  # it has data
                    self._stop()
                else:
                    self._remove()
                raise

    def _check_same(self, found: Known) -> None:
        store = found.endpoints[0]
        wanted = self.settings.object_store or "minio"
        if wanted not in (store.kind, store.url):
            raise MachineError(f"the Lab stands with the object store {store.kind}, wanted {wanted}", "`lab down` first, or another `name`")

    def _stand(self, report: Report, owner_pid: int | None) -> tuple[Endpoint, ...]:
        began = time.monotonic()
        known = self.state.known() or Known(namespace=self.cluster.namespace, server=self.cluster.server)
        self._clear_before(report)
        supplied = supply.supply(self.settings, self.access, report, known)
        known = replace(known, built=supplied.built, references=supplied.references)
        self.state.remember(known)
        if owner_pid is not None:
            keeping.start(self.settings, self.state, owner_pid)
        report("applying the platform's objects")
        site = supply.site(self.settings, self.access, self.cluster, supplied)
        store = supply.store(self.settings)
        external = configuring.store(self.settings, "") if store == "external" else None
        made = objects.platform(site, store=store, secrets=self.state.secrets(self.settings), external=external)
        for each in made:
            if isinstance(each, Namespace) and each.metadata:
                each.metadata.annotations = {**(each.metadata.annotations or {}), KEY: self.state.key}
        self.cluster.apply(made)
        known = replace(known, metrics=metrics.ensure(self.settings, self.cluster, report) or known.metrics)
        self.state.remember(known)
        report("waiting for object store, database, gateway and agent")
        wanted = {_service(o): 1 for o in made if isinstance(o, Deployment | StatefulSet)}
        ready = self.cluster.await_ready(PLATFORM, wanted, time.monotonic() + self.settings.start_timeout_s)
        before_s = time.monotonic() - began - max(ready.values())
        standing = replace(known, endpoints=self._endpoints(ready), stopped=False)
        self.state.remember(standing)
        report(f"ready; images and objects took {before_s:.1f} s of it")
        return standing.endpoints

    def await_metrics(self) -> None:
        """What autoscaling needs. Raises MachineError where there is none and none may be installed."""
        known = self.wanted()
        if metrics.ensure(self.settings, self.cluster, lambda _: None):
            self.state.remember(replace(known, metrics=True))
        metrics.await_answer(self.settings, self.cluster)

    def _clear_before(self, report: Report) -> None:
        """What is just ending, and what a Lab left whose folder was deleted: nobody has its credentials any more."""
        space = self.cluster.space()
        if space is not None and space.status is not None and space.status.phase == "Terminating":
            self.cluster.await_no_space(GONE_S)
        elif self._ours() and self.state.known() is None:
            report(f"removing namespace {self.cluster.namespace}, whose folder was deleted")
            self.cluster.remove_space(GONE_S)

    def _endpoints(self, ready_s: Mapping[str, float]) -> tuple[Endpoint, ...]:
        store = supply.store(self.settings)
        space = self.cluster.namespace
        inside = {
            "object_store": f"http://{names.STORE}.{space}.svc:{names.STORE_PORT}",
            "database": f"postgresql://{names.DATABASE}.{space}.svc:{names.DATABASE_PORT}/{objects.database_address().name}",
            "gateway": f"http://{names.GATEWAY}.{space}.svc:{names.PORT}",
        }
        here = {
            "object_store": "http://127.0.0.1:{}",
            "database": f"postgresql://127.0.0.1:{{}}/{objects.database_address().name}",
            "gateway": "http://127.0.0.1:{}",
        }
        urls = {s: here[s].format(self.access.local_ports[s]) if s in self.access.local_ports else inside[s] for s in inside}
        kinds = {**KINDS, "object_store": "s3" if store == "external" else store}
        if store == "external":
            urls["object_store"] = self.settings.object_store
        files = {"object_store": str(self.state.credentials_file("store")), "database": str(self.state.credentials_file("database"))}
        return tuple(
            Endpoint(service=s, kind=kinds[s], url=urls[s], ready_s=round(ready_s.get(s, 0.0), 3), credentials=files.get(s, ""))
            for s in inside
        )

    # ---- down and away -------------------------------------------------------------------------------------------------

    def down(self) -> None:
        """Architectures go, the platform sleeps; volumes and secrets stay."""
        if not self.state.exists():
            return
        with locked(self.state.lock, LOCK_S):
            keeping.end(self.state)
            if self.state.known() is not None and self._ours():
                self._stop()

    def _stop(self) -> None:
        for component in ("architecture", "job"):
            self.cluster.remove(names.selector({names.COMPONENT_LABEL: component}), GONE_S)
        for kind, name, _ in self._workloads():
            self.cluster.patch(kind, name, {"spec": {"replicas": 0}})
        self.cluster.await_gone(PLATFORM, GONE_S)
        known = self.state.known()
        if known is not None:
            self.state.remember(replace(known, stopped=True))

    def destroy(self) -> tuple[str, ...]:
        """A folder that is no Lab is left alone; without a folder, what a deleted Lab left in the cluster is removed."""
        if not self.state.exists():
            return () if self.state.folder.exists() else self._remove_left()
        with locked(self.state.lock, LOCK_S):
            try:
                removed = self._remove()
            except MachineError as error:
                raise MachineError(error.what, f"{error.hint}; if that cluster is gone for good: rm -r {self.state.folder}") from error
            return (*removed, *self.state.erase())

    def _remove_left(self) -> tuple[str, ...]:
        with suppress(LabError):  # there may be no cluster at all, and nothing of ours in it
            if self._ours() and self.cluster.remove_space(GONE_S):
                return (f"namespace {self.cluster.namespace}",)
        return ()

    def _remove(self) -> tuple[str, ...]:
        ended = keeping.end(self.state)
        known = self.state.known()
        removed: list[str] = [*ended]
        if known is not None:
            removed += metrics.remove(self.settings, self.cluster) if known.metrics else ()
            if self._ours() and self.cluster.remove_space(GONE_S):
                removed.append(f"namespace {self.cluster.namespace}")
        return tuple(removed)


def _service(workload: Deployment | StatefulSet) -> str:
    return str(((workload.metadata.labels if workload.metadata else None) or {})[names.SERVICE_LABEL])
