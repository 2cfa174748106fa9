"""Two runs never measure at the same time on one machine: a lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import MachineError


@contextmanager
def exclusive(what: str) -> Iterator[None]:
    """Machine-wide, over all users and homes. Raises MachineError that names the other run."""
    path = Path(tempfile.gettempdir()) / "lab-measuring.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            raise MachineError(
                f"another run is measuring on this machine: {other}", "wait until it ends; both would measure each other"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{what} (pid {os.getpid()})\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
