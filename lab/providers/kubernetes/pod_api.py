"""The cluster's API as a pod of ours uses it, with its own service account and nothing but the standard library: light to import."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from lab.errors import MachineError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ANSWER_S = 20.0
MERGE_PATCH = "application/merge-patch+json"


class Metadata(msgspec.Struct, frozen=True):
    name: str
    deletionTimestamp: str | None = None


class Spec(msgspec.Struct, frozen=True):
    nodeName: str | None = None


class Condition(msgspec.Struct, frozen=True):
    type: str
    status: str
    message: str = ""


class Terminated(msgspec.Struct, frozen=True):
    exitCode: int
    reason: str = ""


class Waiting(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class State(msgspec.Struct, frozen=True):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerState(msgspec.Struct, frozen=True):
    state: State = State()
    lastState: State = State()


class Status(msgspec.Struct, frozen=True):
    phase: str = ""
    podIP: str | None = None
    conditions: tuple[Condition, ...] = ()
    containerStatuses: tuple[ContainerState, ...] = ()


class PodView(msgspec.Struct, frozen=True):
    """What of a pod decides about instances."""

    metadata: Metadata
    spec: Spec = Spec()
    status: Status = Status()

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def leaving(self) -> bool:
        return self.metadata.deletionTimestamp is not None or self.status.phase in ("Succeeded", "Failed")

    @property
    def ready(self) -> bool:
        return not self.leaving and any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)

    @property
    def failure(self) -> str:
        """Why it will not start; empty while it may."""
        for container in self.status.containerStatuses:
            ended = container.state.terminated or container.lastState.terminated
            if ended is not None and ended.exitCode != 0:
                return f"it ended with exit code {ended.exitCode} {ended.reason}".rstrip()
            waiting = container.state.waiting
            if waiting is not None and waiting.reason.startswith(
                ("ErrImage", "ImagePull", "InvalidImage", "CreateContainer", "RunContainer")
            ):
                return f"{waiting.reason}: {waiting.message}"
        return ""

    @property
    def delay(self) -> str:
        """What it waits for, in the scheduler's words."""
        return next((c.message for c in self.status.conditions if c.type == "PodScheduled" and c.status == "False"), "")


class Pods(msgspec.Struct, frozen=True):
    items: tuple[PodView, ...] = ()


class _Replicas(msgspec.Struct, frozen=True):
    replicas: int = 0


class Scale(msgspec.Struct, frozen=True):
    spec: _Replicas = _Replicas()


class _Change(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class PodApi:
    """One namespace. A connection per call: calls are rare, and threads share nothing. Raises MachineError."""

    def __init__(self, namespace: str, account: Path = ACCOUNT) -> None:
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (account / "token").is_file():
            raise MachineError("this process is not in a pod with a service account", "the provider kubernetes starts it in one")
        self._server, self._token = (host, int(port)), account / "token"
        self._tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
        self._space = f"namespaces/{namespace}"

    def pods(self, selector: str) -> tuple[PodView, ...]:
        return msgspec.json.decode(
            self._call("GET", f"/api/v1/{self._space}/pods?{urlencode({'labelSelector': selector})}"), type=Pods
        ).items

    def watch(self, selector: str, timeout_s: float) -> Iterator[tuple[str, PodView]]:
        """(ADDED | MODIFIED | DELETED, pod), beginning with those that are there; ends after `timeout_s`."""
        query = urlencode({"labelSelector": selector, "watch": "true", "timeoutSeconds": max(1, round(timeout_s))})
        with self._answer("GET", f"/api/v1/{self._space}/pods?{query}", timeout_s=timeout_s + 5) as answer:
            while line := answer.readline():
                change = msgspec.json.decode(line, type=_Change)
                if change.type in ("ADDED", "MODIFIED", "DELETED"):
                    yield change.type, msgspec.json.decode(change.object, type=PodView)

    def mark_for_deletion(self, pod: str, cost: int) -> None:
        """The lowest cost goes first when a Deployment shrinks."""
        change = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": str(cost)}}}
        self._call("PATCH", f"/api/v1/{self._space}/pods/{pod}", change)

    def scale(self, deployment: str) -> int:
        return msgspec.json.decode(self._call("GET", self._scale(deployment)), type=Scale).spec.replicas

    def set_scale(self, deployment: str, replicas: int) -> None:
        self._call("PATCH", self._scale(deployment), {"spec": {"replicas": replicas}})

    def _scale(self, deployment: str) -> str:
        return f"/apis/apps/v1/{self._space}/deployments/{deployment}/scale"

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> bytes:
        with self._answer(method, path, body) as answer:
            return answer.read()

    @contextmanager
    def _answer(
        self, method: str, path: str, body: Mapping[str, object] | None = None, timeout_s: float = ANSWER_S
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(*self._server, context=self._tls, timeout=timeout_s)
        try:
            headers = {"Authorization": f"Bearer {self._token.read_text()}", "Content-Type": MERGE_PATCH, "Accept": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            if answer.status >= 300:
                said = answer.read(2000).decode(errors="replace")
                raise MachineError(f"the cluster answered {answer.status} to {method} {path}: {said}", "is its Role there? `lab logs`")
            yield answer
        except (OSError, http.client.HTTPException) as error:
            raise MachineError(f"the cluster's API cannot be reached from this pod: {error}", "`kubectl get nodes`") from error
        finally:
            connection.close()
