"""Two runs never measure at the same time on one machine: a lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import MachineError

LOCK_VARIABLE = "LAB_LOCK"  # another lock file, for tests that must not wait for a run on this machine
_LOCK = Path("/tmp/lab-measuring.lock")  # one for all users, whatever their TMPDIR


@contextmanager
def exclusive(what: str) -> Iterator[None]:
    """Machine-wide, over all users and homes. Raises MachineError that names the other run."""
    path = Path(os.environ.get(LOCK_VARIABLE) or _LOCK)
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "of another user"
            found = f"another run is measuring on this machine: {other}"
            raise MachineError(found, "wait until it ends: both would measure each other") from error
        _sign(path, f"{what} (pid {os.getpid()})")
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Reading is enough for a lock, so a file that another user made will do."""
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise MachineError(f"cannot open the lock {path}: {error.strerror}", "delete that file, or make it readable") from error


def _sign(path: Path, text: str) -> None:
    """Who holds it, for whoever finds it held; another user's file cannot be signed, and need not be."""
    if os.access(path, os.W_OK):
        path.write_text(text + "\n")
