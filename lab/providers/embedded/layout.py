"""Where a Lab keeps its files: from its settings to paths, its id and its credentials."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import ownership, rundir
from lab.errors import MachineError
from lab.spawn import lab_key

SOCKET_PATH_LIMIT = 100  # a Unix socket's path has at most 104 (macOS) or 108 bytes
UNPRIVILEGED_UID = 65534  # what Postgres runs as when we are root, since it refuses to run as root


@dataclass(frozen=True)
class Layout:
    """`state` is the Lab's folder. Two folders may lie elsewhere, under names that follow from `state`: `run` (sockets, which need a short
    path) and `outside` (what the unprivileged uid must reach when `state` lies below a folder that only root may enter)."""

    state: Path

    @property
    def data(self) -> Path:
        return self.state / "data"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def credentials(self) -> Path:
        return self.state / "credentials"

    @property
    def processes(self) -> Path:
        return self.state / "processes.jsonl"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def key(self) -> str:
        return lab_key(self.state)

    @property
    def run(self) -> Path:
        """0700, holds every socket; emptied when the Lab stops."""
        inside = self.state / "run"
        return inside if len(str(inside / "control.sock")) < SOCKET_PATH_LIMIT else self.short_run

    @property
    def short_run(self) -> Path:
        """Not below TMPDIR: every command must find it, whatever its environment."""
        return Path("/tmp") / f"lab-{self.key}"

    @property
    def control(self) -> Path:
        return self.run / "control.sock"

    @property
    def outside(self) -> Path:
        return Path("/var/tmp") / f"lab-{self.key}"

    def deployment(self, deployment: str) -> Path:
        return self.state / "deployments" / deployment

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.log"

    def known(self) -> bool:
        """Whether `state` is a Lab's: by its mark, or (of an older version) by its owner or its record. Nothing else is ever changed."""
        return ownership.is_lab(self.state) or (self.state / "owner.json").is_file() or self.processes.is_file()

    def make(self) -> None:
        """Marks it as a Lab's, then makes every folder, ours alone; `state` itself may be passed through, since Postgres may run as
        another uid below it. Refuses a folder that holds something else."""
        if self.state.is_dir() and not self.known() and {p.name for p in self.state.iterdir()} - {self.lock.name}:
            raise MachineError(f"{self.state} is not a Lab: it holds other files", "set another `home` or `name`")
        passable = 0o711 if os.geteuid() == 0 else 0o700
        own_folder(self.state, passable)
        ownership.mark(self.state, "embedded")
        own_folder(self.data, passable)
        for folder in (self.logs, self.credentials, self.state / "deployments", self.run):
            own_folder(folder, 0o700)

    def secret(self, name: str, user_field: str, secret_field: str, user: str) -> Path:
        """The 0600 file with these two values; the secret is random and stays as long as the data."""
        path = self.credentials / f"{name}.json"
        if not path.exists():
            rundir.write_secret(path, json.dumps({user_field: user, secret_field: secrets.token_urlsafe(24)}))
        return path


def own_folder(folder: Path, mode: int) -> None:
    """Makes it, and refuses one that belongs to somebody else or is a link: names below /tmp can be guessed."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise MachineError(f"{folder} is not a folder of our own (uid {found.st_uid})", "remove it, or set another `name`")
        folder.chmod(mode)


def remove_tree(folder: Path) -> bool:
    """Removes a folder that is ours; False if there is none."""
    if not folder.is_dir() or folder.is_symlink() or (folder.lstat().st_uid != os.geteuid() and os.geteuid() != 0):
        return False
    shutil.rmtree(folder)
    return True


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "set `home` to a folder that you may write, or free some space"
        raise MachineError(f"cannot write {path}: {error.strerror}", hint) from error


def reachable(path: Path) -> bool:
    """Whether any user may pass through every folder above `path`."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents if parent.exists())


def credentials(path: Path) -> dict[str, str]:
    return dict(json.loads(path.read_text()))
