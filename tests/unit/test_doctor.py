"""What doctor says of clusters and GPUs, from what their tools print."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lab import gpus
from lab.doctor import clusters, containers
from lab.doctor.clusters import NodeView
from lab.gpus import Gpu
from lab.providers.kubernetes.names import ROLE_LABEL

TWO = "NVIDIA H100 80GB HBM3, 550.54.15, 81559 MiB\nNVIDIA H100 80GB HBM3, 550.54.15, 81559 MiB\n"
BROKEN = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed.\n"
)
PLAIN = {"Runtimes": {"runc": {"path": "runc"}}, "DefaultRuntime": "runc"}
REGISTERED = {"Runtimes": {"nvidia": {"path": "nvidia-container-runtime"}, "runc": {}}, "DefaultRuntime": "runc"}
DEFAULT = {**REGISTERED, "DefaultRuntime": "nvidia"}
ACCEPTS = (
    'disable-require = false\naccept-nvidia-visible-devices-as-volume-mounts = true\n[nvidia-container-cli]\nldconfig = "@/sbin/ldconfig"\n'
)
REFUSES = "#accept-nvidia-visible-devices-as-volume-mounts = true\n"


def test_gpus_are_read_from_what_nvidia_smi_prints() -> None:
    assert gpus.gpus(TWO) == (Gpu(name="NVIDIA H100 80GB HBM3", driver="550.54.15", memory_mib=81559),) * 2
    assert gpus.gpus(BROKEN) == ()
    assert gpus.gpus("No devices were found\n") == ()
    assert gpus.gpus("") == ()


@pytest.mark.parametrize(
    ("printed", "device", "info", "config", "expected"),
    [
        ("", False, PLAIN, "", [("gpu", "missing", "install the driver")]),
        (BROKEN, True, PLAIN, "", [("gpu", "missing", "fits this kernel")]),
        (TWO, True, None, "", [("gpu", "ok", "")]),
        (TWO, True, PLAIN, "", [("gpu", "ok", ""), ("gpu runtime", "missing", "nvidia-container-toolkit")]),
        (TWO, True, REGISTERED, ACCEPTS, [("gpu", "ok", ""), ("gpu runtime", "limited", "--set-as-default")]),
        (TWO, True, DEFAULT, REFUSES, [("gpu", "ok", ""), ("gpu runtime", "limited", "volume-mounts=true")]),
        (TWO, True, DEFAULT, ACCEPTS, [("gpu", "ok", ""), ("gpu runtime", "ok", "")]),
    ],
)
def test_each_missing_thing_of_a_gpu_box_is_one_line_with_its_next_step(
    printed: str, device: bool, info: Mapping[str, object] | None, config: str, expected: list[tuple[str, str, str]]
) -> None:
    found = list(containers.graphics(printed=printed, device=device, info=info, config=config))
    assert [(f.name, f.state) for f in found] == [(name, state) for name, state, _ in expected]
    assert all(step in f.next_step for f, (_, _, step) in zip(found, expected, strict=True))
    assert all(bool(f.next_step) == (f.state != "ok") for f in found)
    assert not any(f.needed for f in found), "the default provider works without"


@pytest.mark.parametrize(
    ("wanted", "there", "state"),
    [("", (), "ok"), ("kindest/node:v1", ("kindest/node:v1",), "ok"), ("kindest/node:v2", ("kindest/node:v1",), "limited")],
)
def test_node_images(wanted: str, there: tuple[str, ...], state: str) -> None:
    found = containers.node_image(wanted, there)
    assert found.state == state
    assert wanted in found.says


def node(name: str, role: str = "", usable: bool = True, **allocatable: str) -> NodeView:
    labels = {ROLE_LABEL: role} if role else {}
    return NodeView(name=name, usable=usable, labels=labels, allocatable={k.replace("_", "/"): v for k, v in allocatable.items()})


def test_roles_of_nodes() -> None:
    assert clusters.roles([node("a", "driver"), node("b", "system"), node("c", "system")]).says == "2 system, 1 driver"
    alone = clusters.roles([node("a")])
    assert (alone.state, alone.next_step) == ("limited", "add a node to keep them apart")
    plain = clusters.roles([node("a"), node("b", "system"), node("c", "driver", usable=False)])
    assert plain.state == "limited"
    assert plain.next_step == "kubectl label node a lab/role=driver; kubectl label node b lab/role=system"


def test_gpus_of_a_cluster() -> None:
    offered = {gpus.RESOURCE: "4"}
    assert gpus.allocatable([offered, {"cpu": "8"}, offered]) == 8
    assert clusters.graphics([node("a")]).state == "missing"
    assert clusters.graphics([NodeView(name="a", usable=True, allocatable=offered)]).says == "4 of nvidia.com/gpu can be asked for"


def test_without_metrics_only_autoscaling_is_missing() -> None:
    assert clusters.metrics_api(True).state == "ok"
    assert "kubernetes.metrics" in clusters.metrics_api(False).next_step
