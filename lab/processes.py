"""Living processes, whoever started them: which one a pid and a start time mean, its descent, whether it has ended, and its end."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Sequence

import psutil

from lab.errors import MachineError

_POLL_S = 0.02


def running(pid: int, created: float) -> psutil.Process | None:
    """That process, unless it has ended; a later process with the same pid is not it."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < 0.02
    except psutil.Error:
        return None
    return process if same and not over(process) else None


def over(process: psutil.Process) -> bool:
    """Ended, or a zombie that only its parent can remove."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def descent(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    found: dict[psutil.Process, None] = {}
    for root in roots:
        found.setdefault(root)
        with contextlib.suppress(psutil.Error):
            for child in root.children(recursive=True):
                found.setdefault(child)
    return list(found)


def end(processes: Sequence[psutil.Process], grace_s: float) -> None:
    """SIGTERM, after `grace_s` SIGKILL; returns when none runs. Raises MachineError for one that even SIGKILL does not end."""
    for sent, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        if sent is signal.SIGTERM and grace_s <= 0:
            continue
        processes = [p for p in processes if not over(p)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(sent)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and not all(map(over, processes)):
            time.sleep(_POLL_S)
    left = [p for p in processes if not over(p)]
    if left:
        raise MachineError(
            f"process {left[0].pid} does not end, not even after SIGKILL",
            "it waits in the kernel: look at the disk, or restart the machine",
        )
