"""A real kind cluster: the same answers as embedded, scaling, faults, pods that cannot start, and what kills and deletions leave."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from lab import ownership, registry, spawn
from lab.contracts import Deployment, Provider
from lab.errors import MachineError
from lab.model import Budget, Shape, Topology
from lab.providers.kind.lifecycle import Cluster
from lab.settings import Settings
from lab.spawn import Command
from tests import clusters
from tests.asking import ask
from tests.clusters import SharedCluster

pytestmark = [pytest.mark.kind, pytest.mark.slow]
DEADLINE_S = 240.0
REQUESTS = 12
UP = """
import os, sys
from tests import clusters
from pathlib import Path
from lab import registry
registry.provider("kind")(clusters.settings(Path(sys.argv[1]), "killed")).up(
    lambda text: print(text, flush=True), owner_pid=os.getpid() if sys.argv[2:] else None
)
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def placed(workload: str, architecture: str, **options: object) -> Topology:
    found, placing = registry.workload(workload), registry.architecture(architecture)
    shape = Shape(name=workload, model_size="S", stages=found.stages, operations=found.operations)
    return placing.place(shape, Budget(), placing.Options(**options))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    lab = registry.provider("embedded")(Settings(home=str(tmp_path_factory.mktemp("home")), name="beside"))
    lab.up()
    try:
        yield lab
    finally:
        lab.destroy()


def answers(lab: Provider, workload: str, architecture: str) -> list[tuple[int, bool, object]]:
    """To the same requests: status, whether it is right, and what a model said (what names the request differs each time)."""
    found = registry.workload(workload)
    deployment = f"e-{workload}-{architecture.replace('_', '-')}"
    made = lab.deploy(placed(workload, architecture), deployment, seed=1)
    try:
        told = []
        for index in range(REQUESTS):
            request = found.payload(7, index, "classify")
            response = ask(made.url, request)
            told.append((response.status, found.check(request, response), said(response.body)))
        return told
    finally:
        lab.retire(deployment)


def said(body: bytes) -> object:
    """The label and its confidence to four digits; all of an answer that is no JSON."""
    if not body.startswith(b"{"):
        return body
    answer = json.loads(body)
    return answer.get("label"), round(float(answer.get("confidence", 0.0)), 4)


@pytest.mark.parametrize("workload", ["noop", "vision"])
@pytest.mark.parametrize("architecture", ["three_tier", "microservices", "serverless"])
def test_it_answers_like_embedded(shared_cluster: SharedCluster, embedded: Provider, workload: str, architecture: str) -> None:
    here = answers(embedded, workload, architecture)
    assert [status for status, _, _ in here] == [200] * REQUESTS
    assert answers(shared_cluster.provider, workload, architecture) == here


def test_driver_and_system_are_on_nodes_and_cpus_of_their_own(shared_cluster: SharedCluster, deployed: Deployment) -> None:
    can = shared_cluster.provider.capabilities()
    if can.isolation != "pinned":
        pytest.skip("this machine has one physical core")
    containers = {str(c.name): c for c in Cluster(shared_cluster.settings).nodes.all()}
    worker, control_plane = (next(c for name, c in containers.items() if part in name) for part in ("worker", "control-plane"))
    allowed = {}
    for name, node in (("system", worker), ("driver", control_plane)):
        printed = node.exec_run(["grep", "Cpus_allowed_list", "/proc/self/status"]).output.decode()
        allowed[name] = printed.split()[1]
    assert allowed == {"system": ",".join(map(str, can.system_cpus)), "driver": ",".join(map(str, can.driver_cpus))}


@pytest.fixture
def deployed(shared_cluster: SharedCluster) -> Iterator[Deployment]:
    yield shared_cluster.provider.deploy(placed("noop", "three_tier"), "e-1", seed=1)
    shared_cluster.provider.retire("e-1")


def test_what_kubernetes_itself_consumes_is_platform(shared_cluster: SharedCluster, deployed: Deployment) -> None:
    first, later = ({u.service: u for u in shared_cluster.provider.usage()} for _ in range(2))
    own = first["kubernetes"]
    assert own.tier == "platform"
    assert own.cpu_s is not None and own.cpu_s > 1.0
    assert later["kubernetes"].cpu_s is not None and later["kubernetes"].cpu_s >= own.cpu_s
    assert own.memory_mib is not None and own.memory_mib > 100


def ready(lab: Provider, deployed: Deployment, service: str) -> set[object]:
    """The instances that were ready once."""
    return {e.values["instance"] for e in lab.events(deployed.id) if e.kind == "ready" and e.service == service}


def test_a_killed_pod_is_replaced_by_one_that_serves(shared_cluster: SharedCluster, deployed: Deployment) -> None:
    request = registry.workload("noop").payload(1, 1, "classify")
    shared_cluster.provider.inject(deployed.id, "model", "kill")
    wait_for(lambda: len(ready(shared_cluster.provider, deployed, "model")) == 2, "another pod")
    wait_for(lambda: ask(deployed.url, request).status == 200, "the restarted pod")


def test_scaling_on_cpu_adds_instances(shared_cluster: SharedCluster) -> None:
    """The target is low, so that the autoscaler must act as soon as it has a figure."""
    lab, workload = shared_cluster.provider, registry.workload("noop")
    made = lab.deploy(placed("noop", "three_tier", autoscale=True, target_cpu=0.02), "e-scaled", seed=1)
    try:
        deadline = time.monotonic() + DEADLINE_S
        index, instances = 0, {u.service: u.instances for u in lab.usage()}["model"]
        assert instances == 1
        while instances < 2:
            assert time.monotonic() < deadline, f"the autoscaler did not act: {list(lab.events(made.id))[-3:]}"
            for _ in range(50):
                ask(made.url, workload.payload(1, index, "classify"))
                index += 1
            instances = {u.service: u.instances for u in lab.usage()}["model"]
        assert ask(made.url, workload.payload(1, 1, "classify")).status == 200
    finally:
        lab.retire(made.id)


def rows(lab: Provider, statement: str) -> list[tuple[object, ...]]:
    """Of the platform's database, as a user of its endpoint sees it."""
    [endpoint] = [e for e in lab.endpoints() if e.service == "database"]
    keys = json.loads(Path(endpoint.credentials).read_text())
    with psycopg.connect(endpoint.url, user=keys["user"], password=keys["password"], autocommit=True) as connection:
        found = connection.execute(statement)
        return found.fetchall() if found.description else []


def test_down_keeps_data_and_up_brings_it_back(shared_cluster: SharedCluster) -> None:
    lab = shared_cluster.provider
    rows(lab, "CREATE TABLE kept AS SELECT 7 AS x")
    before = lab.endpoints()
    lab.down()
    assert lab.find() is None
    assert {c.status for c in Cluster(shared_cluster.settings).nodes.all()} == {"exited"}
    after = lab.up(owner_pid=os.getpid())
    assert [e.url for e in after] == [e.url for e in before]
    assert rows(lab, "SELECT x FROM kept") == [(7,)]
    rows(lab, "DROP TABLE kept")
    assert [status for status, _, _ in answers(lab, "noop", "three_tier")] == [200] * REQUESTS


# ---- what goes wrong ---------------------------------------------------------------------------------------------------------


BROKEN = """
from lab.errors import MachineError
from lab.workloads.noop import Workload as Noop

class Workload(Noop):
    name = "broken"
    def handlers(self, stages, tools):
        raise MachineError("the flux capacitor is missing", "buy one")
"""


def test_a_pod_that_cannot_start_is_told_with_its_last_lines(
    shared_cluster: SharedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads" / "broken.py").write_text(BROKEN)
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    with pytest.raises(MachineError, match="flux capacitor") as raised:
        shared_cluster.provider.deploy(placed("broken", "three_tier"), "e-broken", seed=1)
    assert raised.value.hint
    assert not [u for u in shared_cluster.provider.usage() if u.tier == "architecture"], "nothing of it is left"


def test_a_node_image_that_there_is_not_is_named(tmp_path: Path) -> None:
    clusters.need_kind()
    lab = registry.provider("kind")(replace(clusters.settings(tmp_path, "imageless"), kind_image="127.0.0.1:9/kindest/node:v0"))
    with pytest.raises(MachineError, match="kindest/node:v0 is neither on this machine nor can it be pulled") as raised:
        lab.up()
    assert "kind.image" in raised.value.hint
    assert lab.destroy() == (f"folder {tmp_path / 'imageless'}",)


def leftovers(settings: Settings) -> list[str]:
    """Of a Lab: nodes, volumes, processes, files."""
    cluster = Cluster(settings)
    processes = [f"process {p.pid}" for p in spawn.of_lab(settings.state)]
    return [*cluster.nodes.names(), *processes, *map(str, [settings.state] if settings.state.exists() else [])]


def volumes() -> set[str]:
    return set(spawn.capture(["docker", "volume", "ls", "-q"], timeout_s=30).output.split())


@pytest.mark.parametrize(("moment", "owned"), [("making the cluster", False), ("loading", True)])
def test_kill_9_of_up_leaves_nothing(tmp_path: Path, moment: str, owned: bool) -> None:
    """After `lab clean`; of a Lab with an owner without it. Nobody else's volumes are looked at: they may come and go."""
    clusters.need_kind()
    settings = clusters.settings(tmp_path, "killed")
    argv = [sys.executable, "-c", UP, str(tmp_path), *(["owned"] if owned else [])]
    running = spawn.start(Command(argv=argv, service="up", log=tmp_path / "up.log"))
    try:
        wait_for(lambda: moment in running.command.log.read_text() or not running.alive, f"`lab up` to be {moment}")
        wait_for(lambda: Cluster(settings).nodes.names() or not running.alive, "a node")
        assert running.alive, running.failure()
        mounts = {m["Name"] for c in Cluster(settings).nodes.all() for m in c.attrs["Mounts"] if m["Type"] == "volume"}
        os.kill(running.pid, signal.SIGKILL)
        running.wait(10)
        if owned:
            wait_for(lambda: not leftovers(settings), "the keeper's work")
        else:
            assert leftovers(settings)
            assert registry.provider("kind")(settings).destroy(), "what is removed is named"
    finally:
        running.stop(grace_s=0)
        registry.provider("kind")(settings).destroy()
    assert leftovers(settings) == []
    assert not mounts & volumes()
    assert registry.provider("kind")(settings).destroy() == ()
    wait_for(lambda: not named(Cluster(settings).name), "the end of what was being loaded into nodes that are gone")


def named(cluster: str) -> list[psutil.Process]:
    """Processes of any command that was told this name."""
    return [p for p in psutil.process_iter(["cmdline"]) if cluster in " ".join(p.info["cmdline"] or [])]


def test_a_cluster_deleted_by_hand_is_nobodys_error(tmp_path: Path) -> None:
    clusters.need_kind()
    settings = clusters.settings(tmp_path, "deleted")
    lab, cluster = registry.provider("kind")(settings), Cluster(settings)
    ownership.mark(settings.state)
    try:
        cluster.stand(lambda _: None)
        cluster.await_nodes()
        assert cluster.running()
        assert settings.state.joinpath("kubeconfig").stat().st_mode & 0o777 == 0o600
        spawn.capture(["kind", "delete", "cluster", "--name", cluster.name, "--kubeconfig", str(cluster.kubeconfig)], timeout_s=120)
        assert lab.find() is None
        for verb in (lab.endpoints, lab.usage, lambda: lab.deploy(placed("noop", "three_tier"), "e-1", seed=1)):
            with pytest.raises(MachineError) as raised:
                verb()
            assert raised.value.hint
        lab.down()
    finally:
        lab.destroy()
    assert leftovers(settings) == []
    assert lab.destroy() == ()
