"""Looks at this machine and says what works, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from lab import environment, registry
from lab.doctor import clusters, containers
from lab.doctor.finding import Finding
from lab.errors import LabError
from lab.settings import MINIO_COMMAND, Settings

__all__ = ["Finding", "findings"]
MEMORY_WANTED_MIB = 4096  # platform 700, architecture 3072, driver and CLI
DISK_WANTED_MIB = 2048


def findings(settings: Settings) -> tuple[Finding, ...]:
    here = tuple(containers.findings(settings))
    graphics = any(f.name == "gpu" and f.state == "ok" for f in here)
    return (*_machine(settings), *_provider(settings), *_extras(), *here, *clusters.findings(settings, graphics))


def _machine(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        name="python",
        state="ok" if sys.version_info >= (3, 11) else "missing",
        says=version,
        needed=True,
        next_step="install Python 3.11 or newer",
    )
    memory = psutil.virtual_memory().available // 2**20
    enough = memory >= MEMORY_WANTED_MIB
    says = f"{memory} MiB free, {MEMORY_WANTED_MIB} MiB wanted"
    yield Finding(
        name="memory",
        state="ok" if enough else "limited",
        says=says,
        next_step="" if enough else "close programs, or lower budget.memory_mib",
    )
    home = Path(settings.home).expanduser()
    there = next(p for p in (home, *home.parents) if p.exists())
    free = psutil.disk_usage(str(there)).free // 2**20
    enough = free >= DISK_WANTED_MIB
    says = f"{free} MiB free below {there}, {DISK_WANTED_MIB} MiB wanted"
    yield Finding(
        name="disk",
        state="ok" if enough else "missing",
        says=says,
        needed=True,
        next_step="" if enough else "free space, or set `home` elsewhere",
    )


def _provider(settings: Settings) -> Iterator[Finding]:
    provider = registry.provider(settings.provider)(settings)
    try:
        provider.prepare()
    except LabError as error:
        reasons = "; ".join((error.what, *getattr(error, "problems", ())))
        yield Finding(name=f"provider {settings.provider}", state="missing", says=reasons, needed=True, next_step=error.hint)
        return
    yield Finding(name=f"provider {settings.provider}", state="ok", says="everything it starts is installed", needed=True)
    can = provider.capabilities()
    claims = ", ".join(environment.claims(can.isolation))
    says = f"{environment.machine_class()}; isolation {can.isolation}, enforcement {can.enforcement}; may claim {claims}"
    step = "" if can.isolation != "none" else "with a second core, driver and system are kept apart and tails may be claimed"
    yield Finding(name="cores", state="ok" if can.isolation != "none" else "limited", says=says, next_step=step)


def _extras() -> Iterator[Finding]:
    for command, what, step in (
        ("minio", "object store MinIO (setting object_store = minio)", f"with Go: {MINIO_COMMAND} (about 3 minutes), then put it on PATH"),
        ("hey", "hey (benchmarks beside other load tools)", "apt install hey"),
    ):
        path = shutil.which(command)
        yield Finding(name=command, state="ok" if path else "missing", says=path or f"not on PATH: {what}", next_step="" if path else step)
    there = importlib.util.find_spec("torch") is not None
    yield Finding(
        name="train",
        state="ok" if there else "missing",
        says="torch is installed" if there else "torch is not installed: models are served, not trained",
        next_step="" if there else "pip install 'ai-cloud-lab[train]' (about 3 GB on Linux)",
    )
