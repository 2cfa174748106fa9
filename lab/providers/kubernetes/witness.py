"""Watches one deployment while it stands: follows its pods' logs into files, and notes what happens to them as events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx2
import msgspec
from lightkube.core.resource import NamespacedResource
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from lab.errors import MachineError
from lab.model import Event, Topology
from lab.model.measure import MONOTONIC
from lab.model.workload import Scalar
from lab.providers.kubernetes import diagnosis, names
from lab.providers.kubernetes.cluster import Cluster
from lab.providers.kubernetes.consumption import node_clocks
from lab.providers.kubernetes.telling import Source
from lab.rundir import append
from lab.runtime.config import READY_PATH

T = TypeVar("T", bound=NamespacedResource)

WATCH_S = 60
PHASES_S = 3.0
SETTLE_S = 5.0
POLL_S = 0.02
AGAIN_S = 0.5
CONTAINER = "service"


@dataclass
class Follower:
    """One pod's log. `last`: time stamp of the last line that is in the file."""

    pod: str
    file: Path
    last: str = ""
    containers: set[str] = field(default_factory=set)


class Witness:
    """`folder`: where telling.py reads. Its threads end by themselves when the deployment is gone."""

    def __init__(self, cluster: Cluster, folder: Path, topology: Topology, deployment: str) -> None:
        self._cluster, self._folder, self.topology = cluster, folder, topology
        self._selector = names.selector({names.DEPLOYMENT_LABEL: names.value(deployment), names.COMPONENT_LABEL: "architecture"})
        self._lock = threading.Lock()
        self.closed = threading.Event()
        self._followers: dict[str, Follower] = {}
        self._told_ready: set[str] = set()
        self._restarts: dict[str, int] = {}
        self._replicas: dict[str, int] = {}
        self._clocks = node_clocks(cluster)

    def start(self) -> None:
        self._thread(self._watch_pods)
        if self.topology.autoscaled:
            self._thread(self._watch_scale)

    def close(self) -> None:
        self.closed.set()

    def _thread(self, work: object, *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, name="witness", daemon=True).start()  # type: ignore[arg-type]

    # ---- pods ----------------------------------------------------------------------------------------------------------

    def _watch_pods(self) -> None:
        leaving: set[str] = set()
        for change, pod in self._changes(Pod):
            name = diagnosis.name(pod)
            going = change == "DELETED" or diagnosis.leaving(pod)
            if going and name not in leaving and diagnosis.cut_off(pod):
                self._tell("crash", diagnosis.service(pod), {"instance": name, "exit": None})
            if going:
                leaving.add(name)
            else:
                self.see(pod)

    def see(self, pod: Pod) -> None:
        """Whatever is new about it; any number of times."""
        self._follow(pod)
        name = diagnosis.name(pod)
        with self._lock:
            crashed = diagnosis.restarts(pod) > self._restarts.get(name, 0)
            self._restarts[name] = diagnosis.restarts(pod)
            is_new = diagnosis.ready(pod) and name not in self._told_ready
            if is_new:
                self._told_ready.add(name)
        if crashed:
            self._tell("crash", diagnosis.service(pod), {"instance": name, "exit": diagnosis.last_exit(pod)})
        if is_new:
            at_s = time.monotonic()
            self._tell("ready", diagnosis.service(pod), {"instance": name, **self._phases(name)}, at_s)

    def _phases(self, pod: str) -> Mapping[str, float]:
        """What the process tells of its start; nothing where the network lets no such question through."""
        try:
            told = self._cluster.call(f"pods/{pod}:{names.PORT}", "GET", READY_PATH, timeout_s=PHASES_S)
            return msgspec.json.decode(told, type=_Ready).phases_ms
        except (MachineError, msgspec.DecodeError):
            return {}

    def _follow(self, pod: Pod) -> None:
        name = diagnosis.name(pod)
        for container in diagnosis.running(pod):
            with self._lock:
                follower = self._followers.get(name)
                if follower is None:
                    follower = self._followers[name] = self._new_follower(pod)
                if container in follower.containers:
                    continue
                follower.containers.add(container)
            self._thread(self._read, follower)

    def _new_follower(self, pod: Pod) -> Follower:
        name = diagnosis.name(pod)
        stem = f"{diagnosis.service(pod)}-{name.rpartition('-')[2]}"
        node = (pod.spec.nodeName if pod.spec else None) or ""
        source = Source(file=f"{stem}.log", pod=name, clock=self._clock(node))
        append(self._folder / "pods.jsonl", msgspec.json.encode(source) + b"\n")
        return Follower(pod=name, file=self._folder / "logs" / source.file)

    def _read(self, follower: Follower) -> None:
        """Until the container has ended; goes on after the last line where the connection breaks."""
        while not self.closed.is_set():
            try:
                for line in self._lines(follower):
                    if self.closed.is_set():
                        return
                    stamp, _, text = line.partition(" ")
                    if stamp > follower.last:
                        append(follower.file, text.encode() + b"\n")
                        follower.last = stamp
                return
            except httpx2.HTTPError:
                self.closed.wait(AGAIN_S)

    def _lines(self, follower: Follower) -> Iterator[str]:
        params = {"container": CONTAINER, "follow": "true", "timestamps": "true", **({"sinceTime": follower.last} if follower.last else {})}
        path = f"/api/v1/namespaces/{self._cluster.namespace}/pods/{follower.pod}/log"
        with self._cluster.http.stream("GET", path, params=params, timeout=httpx2.Timeout(5.0, read=None)) as answer:
            if answer.status_code == 200:
                yield from answer.iter_lines()

    def settle(self) -> None:
        """Until every line that a living pod had written when this was called is in its file."""
        deadline = time.monotonic() + SETTLE_S
        with self._lock:
            followers = list(self._followers.values())
        for follower in followers:
            wanted = self._last_stamp(follower.pod)
            while follower.last < wanted and time.monotonic() < deadline:
                time.sleep(POLL_S)

    def _last_stamp(self, pod: str) -> str:
        params = {"container": CONTAINER, "tailLines": "1", "timestamps": "true"}
        try:
            answer = self._cluster.http.get(f"/api/v1/namespaces/{self._cluster.namespace}/pods/{pod}/log", params=params)
        except httpx2.HTTPError:
            return ""
        return answer.text.partition(" ")[0] if answer.status_code == 200 else ""

    # ---- scale ---------------------------------------------------------------------------------------------------------

    def _watch_scale(self) -> None:
        scaled = {s.name for s in self.topology.autoscaled}
        for _, found in self._changes(Deployment):
            service = ((found.metadata.labels if found.metadata else None) or {}).get(names.SERVICE_LABEL, "")
            wanted = found.spec.replicas if found.spec else None
            if service not in scaled or wanted is None:
                continue
            before = self._replicas.setdefault(service, wanted)
            if before != wanted:
                self._replicas[service] = wanted
                self._tell("scale", service, {"from": before, "to": wanted, "scaler": "hpa"})

    # ---- both ----------------------------------------------------------------------------------------------------------

    def _changes(self, kind: type[T]) -> Iterator[tuple[str, T]]:
        """Begins with those that are there, also again after the connection was lost."""
        while not self.closed.is_set():
            try:
                for change, found in self._cluster.watch(kind, self._selector, WATCH_S):
                    if self.closed.is_set():
                        return
                    yield change, found
            except MachineError:
                self.closed.wait(AGAIN_S)

    def _tell(self, kind: str, service: str, values: Mapping[str, Scalar], at_s: float | None = None, clock: str = MONOTONIC) -> None:
        event = Event(at_s=time.monotonic() if at_s is None else at_s, clock=clock, kind=kind, service=service, values=values)
        if not self.closed.is_set():
            append(self._folder / "events.jsonl", msgspec.json.encode(event) + b"\n")

    def fault(self, service: str, values: Mapping[str, Scalar], at_s: float | None, node: str) -> None:
        """`at_s` on the clock of `node`; None: now."""
        self._tell("fault", service, values, at_s, MONOTONIC if at_s is None else self._clock(node))

    def _clock(self, node: str) -> str:
        return self._clocks.get(node, f"{MONOTONIC}@{node}")


class _Ready(msgspec.Struct):
    phases_ms: dict[str, float] = {}
