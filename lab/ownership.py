"""Labs that a run makes for itself: the owner is written down first, so that `lab clean` tells a living run's from a dead one's."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil

from lab import rundir
from lab.settings import Settings

PREFIX = "run-"
MARKER = "lab"  # a file that only the folder of a Lab holds: nothing else is ever deleted


class Owner(msgspec.Struct, frozen=True):
    """`started_s` tells a process from a later one with the same pid."""

    pid: int
    started_s: float


def mark(state: Path, provider: str = "") -> None:
    """Before anything else is written there. `provider`: whose Lab it is; what an earlier mark says of that stays."""
    rundir.write(state / MARKER, f"{provider_of(state) or provider}\n".encode())


def provider_of(state: Path) -> str:
    """Which provider made the Lab and can remove it; empty where nothing tells."""
    return (state / MARKER).read_text().strip() if is_lab(state) else ""


def is_lab(state: Path) -> bool:
    return (state / MARKER).is_file()


def claim(settings: Settings, run: str) -> Settings:
    """The settings of the run's own Lab, owned by this process."""
    own = replace(settings, name=f"{PREFIX}{run}")
    mark(own.state, own.provider)
    rundir.write(own.state / "owner.json", msgspec.json.encode(Owner(os.getpid(), psutil.Process().create_time())))
    return own


def owned(state: Path) -> bool:
    """Whether the Lab in this folder belongs to another process that is alive."""
    path = state / "owner.json"
    if not path.is_file():
        return False
    owner = rundir.decode(path.read_bytes(), Owner, str(path))
    try:
        return owner.pid != os.getpid() and psutil.Process(owner.pid).create_time() == owner.started_s
    except psutil.NoSuchProcess:
        return False


def release(settings: Settings) -> None:
    """After the Lab is destroyed: nothing of it stays, not even its folder. A folder that is no Lab is left alone."""
    if is_lab(settings.state):
        shutil.rmtree(settings.state)
