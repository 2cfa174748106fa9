"""Instances of functions in a cluster, for the activator in its pod: more or fewer through the scale subresource of their Deployment."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import msgspec

from lab.contracts import Replicas
from lab.errors import InputError, MachineError
from lab.providers.kubernetes import names
from lab.providers.kubernetes.pod_api import PodApi, PodView
from lab.runtime.config import READY_PATH

KNOCK_S = 0.01  # between two tries to reach an instance that starts
LOOK_S = 1.0  # between two looks at its pod meanwhile
SETTLE_S = 30.0
GONE_S = 30.0
FIRST_TO_GO = -(2**31) + 1  # of pod-deletion-cost


class Api(Protocol):
    """What of PodApi is used here."""

    def pods(self, selector: str) -> tuple[PodView, ...]: ...
    def watch(self, selector: str, timeout_s: float) -> Iterator[tuple[str, PodView]]: ...
    def mark_for_deletion(self, pod: str, cost: int) -> None: ...
    def scale(self, deployment: str) -> int: ...
    def set_scale(self, deployment: str, replicas: int) -> None: ...


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """`services`: name -> Deployment in the cluster."""

    namespace: str
    deployment: str
    services: dict[str, str]
    start_timeout_s: float = 60.0


class DeploymentReplicas:
    """An instance is a pod; its URL is the pod's own address, so that no Service chooses another. Only one of these at a time may shrink
    and grow a Deployment."""

    def __init__(self, handle: Handle, api: Api, ask: Callable[[str], Mapping[str, float] | None]) -> None:
        """`ask`: an address -> the start phases of the process there in ms, None while it does not answer."""
        self._handle, self._api, self._ask = handle, api, ask
        self._lock = threading.Lock()  # of the scale, and of what follows
        self._pods: dict[str, str] = {}  # URL -> pod, of every instance that was given out
        self._claimed: set[str] = set()  # pods that are given out or will be
        self._starting: Counter[str] = Counter()

    def get(self, service: str) -> tuple[str, ...]:
        with self._lock:
            found = {_url(p): p.name for p in self._api.pods(self._selector(service)) if p.ready}
            self._pods |= found
            self._claimed |= set(found.values())
        return tuple(found)

    def set(self, service: str, count: int) -> None:
        standing = self.get(service)
        for _ in range(len(standing), count):
            self.add(service)
        for url in standing[count:]:
            self.remove(service, url)

    def add(self, service: str) -> tuple[str, Mapping[str, float]]:
        """phases, which add up to total_ms: scheduled_ms (until a node was chosen), started_ms (sandbox and container made, and the cluster
        telling so), import_ms ... (what the process told of itself)."""
        began = time.monotonic()
        deadline = began + self._handle.start_timeout_s
        with self._lock:
            self._starting[service] += 1
            self._resize(service, 1)
        mine: list[str] = []
        try:
            pod, scheduled_ms = self._await_address(service, mine, began, deadline)
            told = self._await_answer(service, pod, deadline)
        except BaseException:
            self._give_up(service, mine)
            raise
        finally:
            with self._lock:
                self._starting[service] -= 1
        url = _url(pod)
        with self._lock:
            self._pods[url] = pod.name
        total_ms = (time.monotonic() - began) * 1e3
        started_ms = max(0.0, total_ms - scheduled_ms - sum(told.values()))
        return url, {"scheduled_ms": scheduled_ms, "started_ms": started_ms, **told, "total_ms": total_ms}

    def remove(self, service: str, url: str) -> None:
        """Fine if it is gone already. A pod that was killed has been replaced by its Deployment: then the replacement goes."""
        with self._lock:
            name = self._pods.pop(url, None)
        if name is None:
            return
        try:
            self._shrink(service, name)
            self._await_gone(service, name)
        finally:
            with self._lock:
                self._claimed.discard(name)

    # ---- growing -------------------------------------------------------------------------------------------------------

    def _await_address(self, service: str, mine: list[str], began: float, deadline: float) -> tuple[PodView, float]:
        """The pod, whose name is then in `mine`, and the ms until it had a node."""
        scheduled_ms = 0.0
        while (left_s := deadline - time.monotonic()) > 0:
            for change, pod in self._api.watch(self._selector(service), left_s):
                if not mine and change != "DELETED" and not pod.leaving and self._claim(pod.name):
                    mine.append(pod.name)
                if pod.name not in mine:
                    continue
                if change == "DELETED" or pod.leaving or pod.failure:
                    raise self._failed(service, pod.failure or "its pod was deleted")
                if pod.spec.nodeName:
                    scheduled_ms = scheduled_ms or (time.monotonic() - began) * 1e3
                if pod.status.podIP:
                    return pod, scheduled_ms
        pods = self._api.pods(self._selector(service))
        waits = next((p.delay for p in pods if p.name in mine and p.delay), "it has no address yet" if mine else "no pod was made")
        raise self._failed(service, f"not within {self._handle.start_timeout_s:.0f} s: {waits}")

    def _give_up(self, service: str, mine: list[str]) -> None:
        """So that this one goes, and none that another waits for."""
        with self._lock:
            for name in mine:
                with contextlib.suppress(MachineError):  # it is gone already
                    self._api.mark_for_deletion(name, FIRST_TO_GO)
            self._resize(service, -1)

    def _claim(self, name: str) -> bool:
        with self._lock:
            if name in self._claimed:
                return False
            self._claimed.add(name)
            return True

    def _await_answer(self, service: str, pod: PodView, deadline: float) -> Mapping[str, float]:
        """What the process tells of its start. The kubelet's probe would know up to a second later."""
        look_s = time.monotonic() + LOOK_S
        while time.monotonic() < deadline:
            told = self._ask(str(pod.status.podIP))
            if told is not None:
                return told
            if time.monotonic() > look_s:
                look_s = time.monotonic() + LOOK_S
                now = next((p for p in self._api.pods(self._selector(service)) if p.name == pod.name), None)
                if now is None or now.leaving or now.failure:
                    raise self._failed(service, now.failure if now and now.failure else "its pod was deleted")
            time.sleep(KNOCK_S)
        raise self._failed(service, f"it did not answer within {self._handle.start_timeout_s:.0f} s")

    def _failed(self, service: str, why: str) -> MachineError:
        return MachineError(f"no instance of {service} could be started: {why}", "its log says more: `lab logs`")

    # ---- shrinking -----------------------------------------------------------------------------------------------------

    def _shrink(self, service: str, name: str) -> None:
        """The deletion cost decides only between pods that are ready: an instance that starts would go first. So it waits for those."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            with self._lock:
                pods = {p.name: p for p in self._api.pods(self._selector(service)) if not p.leaving}
                settled = not self._starting[service] and all(p.ready for p in pods.values() if p.name in self._claimed - {name})
                if settled or time.monotonic() > deadline:
                    going = name if name in pods else next((other for other in pods if other not in self._claimed), "")
                    if going:
                        self._api.mark_for_deletion(going, FIRST_TO_GO)
                    self._resize(service, -1)
                    return
            time.sleep(LOOK_S / 10)

    def _await_gone(self, service: str, name: str) -> None:
        deadline = time.monotonic() + GONE_S
        while time.monotonic() < deadline and any(p.name == name for p in self._api.pods(self._selector(service))):
            time.sleep(LOOK_S / 10)

    def _resize(self, service: str, by: int) -> None:
        """The caller holds the lock."""
        deployment = self._handle.services[service]
        self._api.set_scale(deployment, max(0, self._api.scale(deployment) + by))

    def _selector(self, service: str) -> str:
        if service not in self._handle.services:
            raise InputError(f"no service {service!r} scales here", f"there are {', '.join(self._handle.services)}")
        labels = {names.DEPLOYMENT_LABEL: names.value(self._handle.deployment), names.SERVICE_LABEL: names.value(service)}
        return names.selector(labels)


def replicas(handle: str) -> Replicas:
    found = msgspec.json.decode(handle, type=Handle)
    return DeploymentReplicas(found, PodApi(found.namespace), ask)


def _url(pod: PodView) -> str:
    ip = str(pod.status.podIP)
    return f"http://[{ip}]:{names.PORT}" if ":" in ip else f"http://{ip}:{names.PORT}"


def ask(ip: str) -> Mapping[str, float] | None:
    """Its phases in ms, if it can answer."""
    connection = http.client.HTTPConnection(ip, names.PORT, timeout=2.0)
    try:
        connection.request("GET", READY_PATH)
        answer = connection.getresponse()
        data = answer.read()
        return dict(json.loads(data).get("phases_ms", {})) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
