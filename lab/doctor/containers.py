"""What of provider kind is here: from the Docker engine, the `kind` command and NVIDIA's tools to one line each."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from lab import gpus, spawn
from lab.doctor.finding import Finding, limited, missing, ok
from lab.errors import MachineError
from lab.settings import Settings

ANSWER_S = 20.0
KINDS_IMAGES = "kindest/node"
DEVICE = Path("/dev/nvidia0")
RUNTIME_CONFIG = Path("/etc/nvidia-container-runtime/config.toml")
TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
USES = "provider kind needs it; the default provider does not"


def findings(settings: Settings) -> Iterator[Finding]:
    info: Mapping[str, object] | None = None
    try:
        info, images = _engine()
        yield ok("docker", f"engine {info.get('ServerVersion')}, {info.get('NCPU')} CPUs, cgroup v{info.get('CgroupVersion')}")
    except MachineError as error:
        yield missing("docker", f"{error.what} ({USES})", error.hint)
    yield _docker_command()
    yield _kind()
    if info is not None:
        yield node_image(settings.kind_image, images)
    printed = _output(gpus.QUERY)
    yield from graphics(
        printed=printed, device=DEVICE.exists(), info=info, config=RUNTIME_CONFIG.read_text() if RUNTIME_CONFIG.is_file() else ""
    )


def _engine() -> tuple[Mapping[str, object], tuple[str, ...]]:
    """What it says of itself, and the tags of kind's node images that it has."""
    from lab.providers.kind import nodes
    from lab.providers.kubernetes.images.engine import connect

    with contextlib.closing(connect()) as engine, nodes.engine_errors("list images"):
        return dict(engine.info()), tuple(tag for image in engine.images.list(name=KINDS_IMAGES) for tag in image.tags)


def _docker_command() -> Finding:
    path = shutil.which("docker")
    return ok("docker command", path) if path else missing("docker command", f"not on PATH: kind calls it ({USES})", "install Docker's CLI")


def _kind() -> Finding:
    from lab.providers.kind import diagnosis

    printed = _output(("kind", "version"))
    if not printed:
        return missing("kind", f"not on PATH ({USES})", diagnosis.INSTALL)
    problem = diagnosis.version_problem(printed)
    return missing("kind", *problem) if problem else ok("kind", printed.strip())


def node_image(wanted: str, there: tuple[str, ...]) -> Finding:
    """`wanted`: the setting kind.image; `there`: the tags of node images in the engine."""
    if not wanted:
        says = f"kind's own is used; here: {', '.join(there) or 'none, it will be downloaded (about 1 GB)'}"
        return ok("node image", says)
    if wanted in there:
        return ok("node image", f"{wanted} (kind.image) is here")
    has = f"; here: {', '.join(there)}" if there else ""
    return limited("node image", f"{wanted} (kind.image) is not here{has}", "it will be downloaded at the first `lab up`")


def graphics(*, printed: str, device: bool, info: Mapping[str, object] | None, config: str) -> Iterator[Finding]:
    """`printed`: of gpus.QUERY; `device`: whether /dev/nvidia0 is there; `config`: of the nvidia runtime. No line about containers
    without a GPU."""
    found = gpus.gpus(printed)
    if not found and not device:
        yield missing(
            "gpu", "no NVIDIA GPU seen (nvidia-smi, /dev/nvidia0): inference and training use the CPU", "on a GPU box: install the driver"
        )
        return
    if not found:
        says = f"a device is there, but nvidia-smi does not work: {printed.strip()[:120] or 'not on PATH'}"
        yield missing("gpu", says, "install the driver that fits this kernel, then restart")
        return
    each = "; ".join(f"{g.name}, {g.memory_mib} MiB" for g in found)
    yield ok("gpu", f"{each} (driver {found[0].driver})")
    if info is None:
        return
    if not gpus.in_engine(info):
        step = f"install nvidia-container-toolkit ({TOOLKIT}), then `nvidia-ctk runtime configure --runtime=docker`"
        yield missing("gpu runtime", "the Docker engine knows no runtime called nvidia", step)
    elif not gpus.by_default(info):
        step = "nvidia-ctk runtime configure --runtime=docker --set-as-default, then restart Docker: kind cannot choose a runtime"
        yield limited("gpu runtime", f"nvidia is registered, but the default runtime is {info.get('DefaultRuntime')}", step)
    elif not gpus.accepts_mounts(config):
        step = f"nvidia-ctk config --set {gpus.MOUNTS_ACCEPTED}=true --in-place, then restart Docker"
        yield limited("gpu runtime", "nvidia is the default runtime, but mounts may not ask for GPUs, as the nodes of kind do", step)
    else:
        yield ok("gpu runtime", "nvidia is the default runtime, and the nodes of kind will ask for all GPUs")


def _output(argv: tuple[str, ...]) -> str:
    """Empty where there is no such command."""
    if shutil.which(argv[0]) is None:
        return ""
    with contextlib.suppress(MachineError):
        return spawn.capture(argv, timeout_s=ANSWER_S).output
    return ""
