"""Which pod comes and which goes for the activator, against a Deployment that chooses as the cluster's controller does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from lab.errors import InputError, MachineError
from lab.providers.kubernetes.instances import DeploymentReplicas, Handle
from lab.providers.kubernetes.pod_api import Condition, ContainerState, Metadata, PodView, Spec, State, Status, Terminated

HANDLE = Handle(namespace="lab-x", deployment="c-1", services={"intake": "c-1-intake"}, start_timeout_s=5.0)
READY = (Condition(type="Ready", status="True"),)


@dataclass
class Simulated:
    """One Deployment. `lag_s`: until the cluster tells that a new pod is ready; `broken`: new pods end at once."""

    lag_s: float = 0.0
    broken: bool = False
    replicas: int = 0
    made: int = 0
    standing: dict[str, PodView] = field(default_factory=dict)
    ready_at: dict[str, float] = field(default_factory=dict)
    cost: dict[str, int] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def pods(self, selector: str) -> tuple[PodView, ...]:
        assert "lab/deployment=c-1" in selector and "app.kubernetes.io/name=intake" in selector
        with self.lock:
            return tuple(self._view(name) for name in self.standing)

    def watch(self, selector: str, timeout_s: float) -> Iterator[tuple[str, PodView]]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            yield from (("MODIFIED", pod) for pod in self.pods(selector))
            time.sleep(0.005)

    def mark_for_deletion(self, pod: str, cost: int) -> None:
        with self.lock:
            self.cost[pod] = cost

    def scale(self, deployment: str) -> int:
        assert deployment == "c-1-intake"
        return self.replicas

    def set_scale(self, deployment: str, replicas: int) -> None:
        with self.lock:
            self.replicas = replicas
            self.reconcile()

    def reconcile(self) -> None:
        """Those that are not ready go first, then the lowest cost, then the youngest."""
        while len(self.standing) < self.replicas:
            self.made += 1
            name = f"pod-{self.made}"
            states = (ContainerState(state=State(terminated=Terminated(exitCode=3, reason="Error"))),) if self.broken else ()
            status = Status(phase="Running", podIP=f"10.0.0.{self.made}", containerStatuses=states)
            self.standing[name] = PodView(metadata=Metadata(name=name), spec=Spec(nodeName="n"), status=status)
            self.ready_at[name] = time.monotonic() + self.lag_s
        while len(self.standing) > self.replicas:
            going = min(self.standing, key=lambda n: (self._view(n).ready, self.cost.get(n, 0), -int(n.partition("-")[2])))
            del self.standing[going]

    def kill(self, name: str) -> None:
        with self.lock:
            del self.standing[name]
            self.reconcile()

    def _view(self, name: str) -> PodView:
        found = self.standing[name]
        if time.monotonic() < self.ready_at[name] or self.broken:
            return found
        return PodView(metadata=found.metadata, spec=found.spec, status=Status(phase="Running", podIP=found.status.podIP, conditions=READY))


def answers(_address: str) -> Mapping[str, float]:
    return {"import_ms": 0.001}


def replicas(cluster: Simulated) -> DeploymentReplicas:
    return DeploymentReplicas(HANDLE, cluster, answers)


def test_each_of_several_at_once_gets_a_pod_of_its_own() -> None:
    cluster = Simulated()
    wanted = replicas(cluster)
    with ThreadPoolExecutor(4) as pool:
        urls = [url for url, _ in pool.map(lambda _: wanted.add("intake"), range(4))]
    assert len(set(urls)) == 4
    assert cluster.replicas == 4
    assert set(wanted.get("intake")) == set(urls)


def test_phases_add_up() -> None:
    _, phases = replicas(Simulated()).add("intake")
    assert phases["import_ms"] == 0.001
    assert sum(v for k, v in phases.items() if k != "total_ms") == pytest.approx(phases["total_ms"])


def test_an_instance_that_answers_is_used_before_the_cluster_says_so() -> None:
    cluster = Simulated(lag_s=60.0)
    began = time.monotonic()
    replicas(cluster).add("intake")
    assert time.monotonic() - began < 30.0


def test_the_one_that_is_named_goes() -> None:
    cluster = Simulated()
    wanted = replicas(cluster)
    urls = [wanted.add("intake")[0] for _ in range(3)]
    wanted.remove("intake", urls[0])
    assert set(wanted.get("intake")) == set(urls[1:])
    assert cluster.replicas == 2


def test_one_that_has_just_started_is_not_taken_instead() -> None:
    """The controller would take it first, ready or not by its process's own word."""
    cluster = Simulated()
    wanted = replicas(cluster)
    old, _ = wanted.add("intake")
    cluster.lag_s = 0.4
    new, _ = wanted.add("intake")
    wanted.remove("intake", old)
    assert wanted.get("intake") == (new,)


def test_removing_twice_or_what_was_never_there_changes_nothing() -> None:
    cluster = Simulated()
    wanted = replicas(cluster)
    url, _ = wanted.add("intake")
    wanted.remove("intake", "http://10.9.9.9:8080")
    assert cluster.replicas == 1
    wanted.remove("intake", url)
    wanted.remove("intake", url)
    assert cluster.replicas == 0


def test_the_replacement_of_a_killed_one_goes_too() -> None:
    cluster = Simulated()
    wanted = replicas(cluster)
    kept, _ = wanted.add("intake")
    lost, _ = wanted.add("intake")
    cluster.kill("pod-2")
    wanted.remove("intake", lost)
    assert cluster.replicas == 1
    assert wanted.get("intake") == (kept,)


def test_one_that_cannot_start_leaves_nothing() -> None:
    cluster = Simulated(broken=True)
    with pytest.raises(MachineError, match="exit code 3"):
        replicas(cluster).add("intake")
    assert cluster.replicas == 0


def test_a_new_activator_adopts_what_it_finds() -> None:
    cluster = Simulated()
    url, _ = replicas(cluster).add("intake")
    later = replicas(cluster)
    assert later.get("intake") == (url,)
    later.remove("intake", url)
    assert cluster.replicas == 0


def test_as_many_as_wanted() -> None:
    cluster = Simulated()
    wanted = replicas(cluster)
    for count in (3, 1, 2, 0):
        wanted.set("intake", count)
        assert len(wanted.get("intake")) == cluster.replicas == count


def test_only_functions_scale() -> None:
    with pytest.raises(InputError, match="database"):
        replicas(Simulated()).get("database")
