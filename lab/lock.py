"""One command at a time per Lab: `up`, `down`, `destroy` and whatever ends the Lab of an owner that has vanished."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.errors import MachineError

POLL_S = 0.05


class Deleted(MachineError):
    """Whoever held the lock has deleted the Lab."""


@contextlib.contextmanager
def locked(path: Path, timeout_s: float, report: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """`path`: a file in the Lab's folder. A killed holder lets go. Raises MachineError after `timeout_s`, and Deleted when the folder is
    gone."""
    deadline = time.monotonic() + timeout_s
    waits = False
    while True:
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("a"))
            except FileNotFoundError as error:
                raise Deleted(f"{path.parent} was deleted by another command", "`lab up` makes it again") from error
            if _try(file.fileno(), path):
                yield
                return
        if not waits:
            report("waiting for another `lab up`, `down` or `clean` of this Lab")
        waits = True
        if time.monotonic() > deadline:
            raise MachineError(f"another command works on this Lab since more than {timeout_s:.0f} s", f"wait for it; it holds {path}")
        time.sleep(POLL_S)


def _try(descriptor: int, path: Path) -> bool:
    """Whether we hold it now, and it is still the Lab's: `destroy` deletes it while it holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
