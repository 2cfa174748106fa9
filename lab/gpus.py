"""NVIDIA GPUs of this machine, its Docker engine and a cluster: from what tools print to what is there; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RESOURCE = "nvidia.com/gpu"
RUNTIME = "nvidia"
QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
# A mount of this kind asks the nvidia runtime for all GPUs, where a container cannot be started with `--gpus`, as kind's nodes cannot.
ALL_DEVICES = "/var/run/nvidia-container-devices/all"
MOUNTS_ACCEPTED = "accept-nvidia-visible-devices-as-volume-mounts"


@dataclass(frozen=True, kw_only=True)
class Gpu:
    name: str
    driver: str
    memory_mib: int


def gpus(printed: str) -> tuple[Gpu, ...]:
    """Of what QUERY prints; empty for anything else, such as an error message."""
    found = []
    for line in printed.splitlines():
        name, _, rest = line.partition(", ")
        driver, _, memory = rest.partition(", ")
        amount, _, unit = memory.partition(" ")
        if unit == "MiB" and amount.isdigit():
            found.append(Gpu(name=name, driver=driver, memory_mib=int(amount)))
    return tuple(found)


def in_engine(info: Mapping[str, object]) -> bool:
    """Whether the Docker engine (its `info`) knows the nvidia runtime."""
    runtimes = info.get("Runtimes")
    return isinstance(runtimes, Mapping) and RUNTIME in runtimes


def by_default(info: Mapping[str, object]) -> bool:
    """Whether every container runs in it, as kind's nodes must: kind cannot choose a runtime."""
    return info.get("DefaultRuntime") == RUNTIME


def accepts_mounts(config: str) -> bool:
    """Whether /etc/nvidia-container-runtime/config.toml lets a mount ask for GPUs."""
    lines = (line.partition("#")[0].replace(" ", "") for line in config.splitlines())
    return f"{MOUNTS_ACCEPTED}=true" in lines


def allocatable(resources: Iterable[Mapping[str, str]]) -> int:
    """How many GPUs the nodes of a cluster offer, from the `allocatable` of each."""
    return sum(int(each.get(RESOURCE, "0")) for each in resources)
