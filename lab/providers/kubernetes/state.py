"""What this machine keeps of a Lab in a cluster: from its folder to credentials, images and endpoints."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from lab import ownership, rundir
from lab.contracts import Endpoint
from lab.errors import MachineError
from lab.providers.kubernetes import names
from lab.settings import Settings

SECRET_FILES = {"store": "object_store", "database": "database", "agent": "agent"}
USERS = {"access_key": "lab", "user": "postgres"}  # all else in a secret is random


@dataclass(frozen=True, kw_only=True)
class Known:
    """`built`: target -> local tag; `references`: as pods name it. `endpoints`: none until it has stood; `stopped`: by `down`;
    `metrics`: metrics-server in the cluster is of this Lab."""

    namespace: str
    server: str
    built: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()
    stopped: bool = False
    metrics: bool = False


@dataclass(frozen=True)
class State:
    """`folder` is settings.state."""

    folder: Path

    @property
    def credentials(self) -> Path:
        return self.folder / "credentials"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def processes(self) -> Path:
        return self.folder / "processes.jsonl"

    @property
    def lock(self) -> Path:
        """Of this provider's own commands; one built on it may hold another meanwhile."""
        return self.folder / "kubernetes.lock"

    @property
    def _cluster(self) -> Path:
        return self.folder / "cluster.json"

    @property
    def key(self) -> str:
        """On the namespace: which machine's and folder's Lab it is. Two users of a cluster may both call theirs `default`."""
        return sha256(f"{socket.gethostname()}:{self.folder.resolve()}".encode()).hexdigest()[:16]

    def deployment(self, deployment: str) -> Path:
        return self.folder / "deployments" / deployment

    def exists(self) -> bool:
        return ownership.is_lab(self.folder)

    def make(self, provider: str) -> None:
        if self.folder.is_dir() and not self.exists() and any(p.suffix != ".lock" for p in self.folder.iterdir()):
            raise MachineError(f"{self.folder} is not a Lab: it holds other files", "set another `home` or `name`")
        with _writing(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ownership.mark(self.folder, provider)
            for path in (self.credentials, self.logs):
                path.mkdir(mode=0o700, exist_ok=True)

    def known(self) -> Known | None:
        if not self._cluster.is_file():
            return None
        return rundir.decode(self._cluster.read_bytes(), Known, str(self._cluster))

    def remember(self, known: Known) -> None:
        rundir.write(self._cluster, rundir.encode(known))

    def secrets(self, settings: Settings) -> Mapping[str, Mapping[str, str]]:
        """As in names.SECRETS; made at the first call, and kept as long as the data."""
        return {name: self._secret(name, fields, settings) for name, fields in names.SECRETS.items()}

    def credentials_file(self, secret: str) -> Path:
        return self.credentials / f"{SECRET_FILES[secret]}.json"

    def token(self) -> str:
        path = self.credentials_file("agent")
        if not path.is_file():
            raise MachineError(f"no Lab in a cluster is known in {self.folder}", "`lab up` makes one")
        return str(json.loads(path.read_text())["token"])

    def _secret(self, name: str, fields: tuple[str, ...], settings: Settings) -> Mapping[str, str]:
        path = self.credentials_file(name)
        if name == "store" and "://" in settings.object_store:
            rundir.write_secret(path, json.dumps({f: os.environ.get(f"S3_{f.upper()}", "") for f in fields}))
        elif not path.exists():
            rundir.write_secret(path, json.dumps({f: USERS.get(f) or secrets.token_urlsafe(24) for f in fields}))
        return dict(json.loads(path.read_text()))

    def erase(self) -> tuple[str, ...]:
        """The mark goes last, so that what was erased by half is still known."""
        if not self.exists() or self.folder.is_symlink():
            return ()
        last = (self.lock.name, ownership.MARKER)
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name not in last:
                path.unlink()
        for name in last:
            (self.folder / name).unlink(missing_ok=True)
        self.folder.rmdir()
        return (f"folder {self.folder}",)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "set `home` to a folder that you may write, or free some space"
        raise MachineError(f"cannot write {path}: {error.strerror}", hint) from error
