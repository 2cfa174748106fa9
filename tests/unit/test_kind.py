"""Provider kind without a cluster: what kind is told, what its failures mean, what the engine's figures are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from lab import gpus, registry
from lab.errors import MachineError
from lab.providers.kind import cgroups, config, diagnosis, nodes
from lab.providers.kind.cgroups import Consumed
from lab.providers.kubernetes import names
from lab.settings import Settings

PORTS = {name: 40000 + i for i, name in enumerate(config.NODE_PORTS)}


def rendered(settings: Settings, **options: bool) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = yaml.safe_load(config.render(settings, PORTS, **options))
    return found


def test_the_whole_configuration() -> None:
    settings = Settings(name="My_Lab", home="/h", kind_image="kindest/node:v1.34.4")
    assert config.render(settings, {"gateway": 41234}) == (
        "kind: Cluster\n"
        "apiVersion: kind.x-k8s.io/v1alpha4\n"
        f"name: {config.cluster_name(settings)}\n"
        "networking:\n  apiServerAddress: 127.0.0.1\n"
        "nodes:\n"
        "- role: control-plane\n"
        "  image: kindest/node:v1.34.4\n"
        "  labels:\n    lab/role: driver\n"
        "  extraPortMappings:\n"
        "  - containerPort: 30080\n    hostPort: 41234\n    listenAddress: 127.0.0.1\n    protocol: TCP\n"
        "- role: worker\n"
        "  image: kindest/node:v1.34.4\n"
        "  labels:\n    lab/role: system\n"
    )


def test_every_service_of_the_platform_is_mapped_on_loopback_only() -> None:
    mapped = rendered(Settings())["nodes"][0]["extraPortMappings"]
    assert isinstance(mapped, list)
    assert {m["containerPort"]: m["hostPort"] for m in mapped} == {config.NODE_PORTS[name]: port for name, port in PORTS.items()}
    assert {m["listenAddress"] for m in mapped} == {"127.0.0.1"}
    assert all(30000 <= port <= 32767 for port in config.NODE_PORTS.values()), "Kubernetes takes no others"


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_hold_the_architecture_and_the_control_plane_the_rest(workers: int) -> None:
    first, *others = rendered(Settings(kind_workers=workers))["nodes"]
    assert first["labels"] == {names.ROLE_LABEL: "driver"}
    assert [n["labels"] for n in others] == [{names.ROLE_LABEL: "system"}] * workers
    assert all("image" not in n for n in (first, *others)), "kind takes its own"


def test_one_node_has_no_role() -> None:
    [only] = rendered(Settings(kind_workers=0))["nodes"]
    assert "labels" not in only


def test_nodes_ask_for_gpus_only_where_the_runtime_is() -> None:
    wanted = [{"hostPath": "/dev/null", "containerPath": gpus.ALL_DEVICES}]
    assert all(n["extraMounts"] == wanted for n in rendered(Settings(), with_gpus=True)["nodes"])
    assert all("extraMounts" not in n for n in rendered(Settings())["nodes"])


def test_cluster_names_are_unique_and_fit_the_host_names_of_nodes() -> None:
    labs = [Settings(name=name, home=home) for name in ("a", "A", "a_" * 40, "a-" * 40) for home in ("/h", "/i")]
    found = [config.cluster_name(settings) for settings in labs]
    assert len(set(found)) == len(labs)
    assert all(len(f"{name}-control-plane") <= 63 and name == name.lower() and "_" not in name for name in found)
    assert config.cluster_name(labs[0]) == config.cluster_name(labs[0])


# ---- kind's words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("kind v0.30.0 go1.26.8 linux/amd64", None),
        ("kind v0.27.0 go1.23.6 linux/amd64\n", None),
        ("kind v1.0.0-alpha+0abc go1.30 darwin/arm64", None),
        ("kind v0.26.0 go1.23.4 linux/amd64", "found version 0.26, wanted 0.27 or newer"),
        ("kind (@v0.9.0) go1.15", "found version 0.9, wanted"),
        ("command not found", "wanted a version"),
    ],
)
def test_versions(printed: str, found: str | None) -> None:
    problem = diagnosis.version_problem(printed)
    assert (problem is None) if found is None else (problem is not None and found in problem[0] and "install" in problem[1])


PORT = """Creating cluster "x" ...
 • Preparing nodes 📦 📦   ...
 ✗ Preparing nodes 📦 📦
Deleted nodes: ["x-control-plane"]
ERROR: failed to create cluster: command "docker run --name x-control-plane" failed with error: exit status 125
Command Output: 0123abc
docker: Error response from daemon: driver failed programming connectivity: Bind for 127.0.0.1:40000 failed: port is already allocated.
"""
IMAGE = """Creating cluster "x" ...
 ✗ Ensuring node image (kindest/node:v9) 🖼
ERROR: failed to create cluster: failed to pull image "kindest/node:v9": command "docker pull kindest/node:v9" failed
Command Output: Error response from daemon: manifest for kindest/node:v9 not found: manifest unknown
"""
INIT = (
    'Creating cluster "x" ...\n ✗ Starting control-plane 🕹️\nERROR: failed to create cluster: failed to init node with kubeadm\n'
    + "".join(f"line {i}\n" for i in range(300))
    + "error: could not initialize a Kubernetes cluster\n"
)


@pytest.mark.parametrize(
    ("printed", "kind", "what", "hint"),
    [
        (PORT, diagnosis.PortTaken, "Bind for 127.0.0.1:40000 failed", "ss -ltnp"),
        (IMAGE, MachineError, "the node image kindest/node:v9 is neither on this machine nor can it be pulled", "kind.image"),
        (INIT, MachineError, "could not initialize a Kubernetes cluster", "inotify"),
        ("ERROR: write /x: no space left on device", MachineError, "the disk is full", "prune"),
        ("ERROR: permission denied while trying to connect to the Docker daemon socket", MachineError, "may not use", "group docker"),
        ('ERROR: failed: node(s) already exist for a cluster with the name "x"', MachineError, "still there", "lab clean"),
        ("panic: oh", MachineError, "panic: oh", "log"),
    ],
)
def test_failures_are_told_with_kinds_words_and_a_next_step(printed: str, kind: type[MachineError], what: str, hint: str) -> None:
    found = diagnosis.failure(printed, "kindest/node:v9")
    assert type(found) is kind
    assert what in found.what
    assert hint in found.hint
    assert len(found.what.splitlines()) <= diagnosis.LINES + 1
    assert "•" not in found.what and "✗" not in found.what


# ---- the engine's figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", ["total_inactive_file", "inactive_file"])
def test_consumption_of_a_node_in_both_cgroup_versions(cached: str) -> None:
    stats = {
        "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
        "memory_stats": {"usage": 300 * 2**20, "stats": {cached: 100 * 2**20}},
    }
    assert nodes.of_stats(stats) == Consumed(cpu_s=2.5, memory_mib=200.0)


def test_a_node_that_has_stopped_has_no_memory() -> None:
    assert nodes.of_stats({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}) == Consumed(cpu_s=0.0, memory_mib=0.0)


ID = "4f" * 32
VERSION_1 = f"12:memory:/docker/{ID}\n3:cpuset:/docker/{ID}\n2:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}/init.scope\n0::/\n"
VERSION_2 = f"0::/system.slice/docker-{ID}.scope/init.scope\n"
COUNTERS = {
    f"cpuacct/docker/{ID}/cpuacct.usage": "2500000000\n",
    f"memory/docker/{ID}/memory.usage_in_bytes": f"{300 * 2**20}\n",
    f"memory/docker/{ID}/memory.stat": f"cache 1\ntotal_inactive_file {100 * 2**20}\n",
    f"system.slice/docker-{ID}.scope/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
    f"system.slice/docker-{ID}.scope/memory.current": f"{300 * 2**20}\n",
    f"system.slice/docker-{ID}.scope/memory.stat": f"anon 1\ninactive_file {100 * 2**20}\n",
}


def _below(name: str, path: str) -> str:
    group, _, file = name.rpartition("/")
    return f"{group}{path}/{file}"


@pytest.mark.parametrize("cgroup", [VERSION_1, VERSION_2])
def test_the_kernels_counters_in_both_cgroup_versions(tmp_path: Path, cgroup: str) -> None:
    pods = ("-burstable.slice/kubelet-kubepods-burstable-poda_b.slice", "-podc_d.slice")
    inside = {
        _below(name, f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods{pod}"): COUNTERS[name] for name in COUNTERS for pod in pods
    }
    for name, text in {**COUNTERS, **inside, "7/cgroup": cgroup, "8/cgroup": "0::/user.slice\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroups.consumed(ID, 7, tmp_path, tmp_path) == Consumed(cpu_s=2.5, memory_mib=200.0)
    pod = {"cpu_s": 2.5, "memory_mib": 200.0}
    assert cgroups.of_pod("a-b", ID, 7, tmp_path, tmp_path) == Consumed(**pod), "a burstable one"
    assert cgroups.of_pod("c-d", ID, 7, tmp_path, tmp_path) == Consumed(**pod), "a guaranteed one"
    assert cgroups.of_pod("e-f", ID, 7, tmp_path, tmp_path) is None
    assert cgroups.consumed(ID, 8, tmp_path, tmp_path) is None, "no process of the container: the engine is elsewhere"
    assert cgroups.consumed(ID, 9, tmp_path, tmp_path) is None, "no such process"


def test_its_files_are_in_the_labs_own_folder(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path))
    assert config.kubeconfig(settings.state).is_relative_to(settings.state)


def test_its_split_is_of_the_cpus_that_it_was_made_with(tmp_path: Path) -> None:
    """A run keeps its own process on the driver's, before it deploys."""
    lab = registry.provider("kind")(Settings(provider="kind", home=str(tmp_path)))
    made = lab.capabilities()
    if made.isolation != "pinned":
        pytest.skip("this machine has one physical core, or no affinity")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, made.driver_cpus)
    try:
        assert lab.capabilities() == made
    finally:
        os.sched_setaffinity(0, before)


def test_one_node_cannot_keep_driver_and_system_apart(tmp_path: Path) -> None:
    assert registry.provider("kind")(Settings(provider="kind", home=str(tmp_path), kind_workers=0)).capabilities().isolation == "limits"
