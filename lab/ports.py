"""Free loopback ports, from the kernel."""

from __future__ import annotations

import contextlib
import socket

LOOPBACK = "127.0.0.1"


def free(count: int) -> list[int]:
    """Distinct ports: all are held before the first is let go."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]
