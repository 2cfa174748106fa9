"""What stands in one namespace of a cluster: applies, finds, changes and removes objects, and waits until pods are ready or gone."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lightkube import ApiError
from lightkube.core.resource import NamespacedResource, Resource
from lightkube.models.authorization_v1 import ResourceAttributes, SelfSubjectAccessReviewSpec
from lightkube.models.core_v1 import EphemeralContainer
from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.authorization_v1 import SelfSubjectAccessReview
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.resources.rbac_authorization_v1 import Role, RoleBinding
from lightkube.types import CascadeType, PatchType

from lab.errors import MachineError
from lab.providers.kubernetes import diagnosis
from lab.providers.kubernetes.api import Api
from lab.providers.kubernetes.diagnosis import Trouble

T = TypeVar("T", bound=NamespacedResource)

POLL_S = 0.15
UNSCHEDULABLE_S = 15.0  # pods of before may still be leaving
LAST_LINES = 12
# Everything that the lab makes in a namespace, in the order in which it goes: what makes pods first.
KINDS: tuple[type[NamespacedResource], ...] = (
    HorizontalPodAutoscaler,
    PodDisruptionBudget,
    Deployment,
    StatefulSet,
    Job,
    Service,
    NetworkPolicy,
    ConfigMap,
    Secret,
    RoleBinding,
    Role,
    ServiceAccount,
)


class Cluster(Api):
    """What stands in it: objects, pods, and waits for them. Safe for several threads."""

    # ---- objects -------------------------------------------------------------------------------------------------------

    def apply(self, objects: Sequence[Resource]) -> None:
        """In their order, as ours: fields that another one set are taken over."""
        for each in objects:
            metadata: Any = getattr(each, "metadata")  # noqa: B009
            with self.errors(f"apply {type(each).__name__} {metadata.name}"):
                self.client.apply(each, force=True)  # type: ignore[call-overload]

    def get(self, kind: type[T], name: str) -> T | None:
        with self.errors(f"get {kind.__name__} {name}"):
            try:
                return self.client.get(kind, name)
            except ApiError as error:
                if error.status.code == 404:
                    return None
                raise

    def find(self, kind: type[T], selector: str = "") -> list[T]:
        with self.errors(f"list {kind.__name__}"):
            return list(self.client.list(kind, labels=_labels(selector)))

    def pods(self, selector: str = "") -> list[Pod]:
        return self.find(Pod, selector)

    def patch(self, kind: type[Resource], name: str, change: Mapping[str, object], namespace: str | None = None) -> None:
        """A merge patch; fine if the object is gone."""
        with self.errors(f"patch {kind.__name__} {name}"), _gone_is_fine():
            if issubclass(kind, NamespacedResource):
                self.client.patch(kind, name, change, namespace=namespace)  # type: ignore[call-overload]
            else:
                self.client.patch(kind, name, change)  # type: ignore[call-overload]

    def add_ephemeral(self, pod: str, container: EphemeralContainer) -> None:
        """One more container in a pod that runs; it stays as long as the pod."""
        change = {"spec": {"ephemeralContainers": [container.to_dict()]}}
        with self.errors(f"add a container to {pod}"):
            self.client.patch(Pod.Ephemeralcontainers, pod, change, patch_type=PatchType.STRATEGIC)

    def delete(self, kind: type[NamespacedResource], name: str, grace_s: int | None = None) -> None:
        with self.errors(f"delete {kind.__name__} {name}"), _gone_is_fine():
            self.client.delete(kind, name, grace_period=grace_s, cascade=CascadeType.BACKGROUND)

    def remove(self, selector: str, timeout_s: float, *, volumes: bool = False, grace_s: int | None = None) -> tuple[str, ...]:
        """Everything of ours with these labels; returns its names when its pods are gone too."""
        removed: list[str] = []
        kinds: tuple[type[NamespacedResource], ...] = (*KINDS, PersistentVolumeClaim) if volumes else KINDS
        for kind in kinds:
            for found in self.find(kind, selector):
                metadata: Any = getattr(found, "metadata")  # noqa: B009
                removed.append(f"{kind.__name__} {metadata.name}")
                self.delete(kind, metadata.name)
        if grace_s is not None:
            for pod in self.pods(selector):
                self.delete(Pod, diagnosis.name(pod), grace_s)
        self.await_gone(selector, timeout_s)
        return tuple(removed)

    def await_gone(self, selector: str, timeout_s: float) -> None:
        """Until no pod has these labels."""
        deadline = time.monotonic() + timeout_s
        while left := self.pods(selector):
            if time.monotonic() > deadline:
                names = ", ".join(map(diagnosis.name, left))
                raise MachineError(f"pods do not end within {timeout_s:.0f} s: {names}", "is their node alive? `kubectl get nodes`")
            time.sleep(POLL_S)

    # ---- the namespace -------------------------------------------------------------------------------------------------

    def space(self) -> Namespace | None:
        with self.errors(f"get namespace {self.namespace}"):
            try:
                return self.client.get(Namespace, self.namespace)
            except ApiError as error:
                if error.status.code == 404:
                    return None
                raise

    def remove_space(self, timeout_s: float) -> bool:
        """The namespace and all in it; False if there is none."""
        if self.space() is None:
            return False
        self._empty(timeout_s)  # what takes its time to end would hold up the whole namespace
        with self.errors(f"delete namespace {self.namespace}"), _gone_is_fine():
            self.client.delete(Namespace, self.namespace)
        self.await_no_space(timeout_s)
        return True

    def _empty(self, timeout_s: float) -> None:
        """Of pods, of what makes them, and of their volumes."""
        makers: tuple[type[NamespacedResource], ...] = (Deployment, StatefulSet, Job, PersistentVolumeClaim)
        for kind in makers:
            for found in self.find(kind):
                metadata: Any = getattr(found, "metadata")  # noqa: B009
                self.delete(kind, metadata.name)
        deadline = time.monotonic() + timeout_s
        while (left := self.pods()) and time.monotonic() < deadline:
            for pod in left:
                self.delete(Pod, diagnosis.name(pod), grace_s=0)
            time.sleep(POLL_S)

    def await_no_space(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while (space := self.space()) is not None:
            if time.monotonic() > deadline:
                conditions = (space.status.conditions if space.status else None) or []
                why = "; ".join(c.message or "" for c in conditions if c.status == "True")
                raise MachineError(f"namespace {self.namespace} does not go away within {timeout_s:.0f} s: {why}", "`kubectl get all -A`")
            time.sleep(POLL_S)

    # ---- the cluster ---------------------------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        with self.errors("list nodes"):
            return list(self.client.list(Node))

    def may(self, verb: str, resource: str, group: str = "", namespaced: bool = True) -> bool:
        attributes = ResourceAttributes(verb=verb, resource=resource, group=group, namespace=self.namespace if namespaced else None)
        review = SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(resourceAttributes=attributes))
        with self.errors("ask for permissions"):
            answer = self.client.create(review)
        return answer.status is not None and answer.status.allowed

    def has_metrics(self) -> bool:
        """Whether the metrics API answers now."""
        with self.errors("ask for the metrics API"):
            return bool(self.http.get("/apis/metrics.k8s.io/v1beta1/nodes").status_code == 200)

    # ---- readiness -----------------------------------------------------------------------------------------------------

    def await_ready(self, selector: str, wanted: Mapping[str, int], deadline: float) -> dict[str, float]:
        """Until every service in `wanted` has so many ready pods: seconds by service, from the call on. Raises MachineError with a pod's
        reason and last lines as soon as waiting longer does not help, or at `deadline` (of time.monotonic)."""
        began = time.monotonic()
        seconds: dict[str, float] = {}
        waiting_since: dict[str, float] = {}
        while True:
            pods = self.pods(selector)
            counts = Counter(diagnosis.service(p) for p in pods if diagnosis.ready(p))
            now = time.monotonic()
            for service in wanted:
                if counts[service] >= wanted[service]:
                    seconds.setdefault(service, now - began)
            if len(seconds) == len(wanted):
                return seconds
            self._check(pods, waiting_since, now)
            if now > deadline:
                raise self._late({s: n for s, n in wanted.items() if s not in seconds}, pods)
            time.sleep(POLL_S)

    def _check(self, pods: Sequence[Pod], waiting_since: dict[str, float], now: float) -> None:
        for pod in pods:
            found = diagnosis.trouble(pod)
            if found is None:
                waiting_since.pop(diagnosis.name(pod), None)
            elif found.final or now - waiting_since.setdefault(diagnosis.name(pod), now) > UNSCHEDULABLE_S:
                raise self.failure(pod, found)

    def failure(self, pod: Pod, found: Trouble) -> MachineError:
        lines = self.logs(diagnosis.name(pod), found.container, lines=LAST_LINES, previous=found.previous) if found.container else []
        said = "".join(f"\n  {line}" for line in lines)
        return MachineError(f"{found.what}{'; its last lines:' if said else ''}{said}", found.hint)

    def _late(self, missing: Mapping[str, int], pods: Sequence[Pod]) -> MachineError:
        for pod in pods:
            if diagnosis.service(pod) in missing and not diagnosis.ready(pod):
                found = diagnosis.trouble(pod)
                if found is None:
                    container = pod.spec.containers[0].name if pod.spec else ""
                    what = f"not ready in time: {diagnosis.service(pod)} ({pod.status.phase if pod.status else 'unknown'})"
                    found = Trouble(what=what, hint="`start_timeout_s` bounds the wait", container=container)
                return self.failure(pod, found)
        return MachineError(f"not ready in time: {', '.join(missing)} (no pod was made)", "`kubectl get events` says why")


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.status.code != 404:
            raise


def _labels(selector: str) -> dict[str, Any]:
    return dict(part.split("=", 1) for part in selector.split(",") if part)
