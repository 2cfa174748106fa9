"""Services that listen on a port they were given: waiting for one to be ready, proof that it is its port, another try after a race."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import psutil

from lab.errors import MachineError
from lab.spawn import Process

POLL_S = 0.02
CONFIRM_S = 5.0
T = TypeVar("T")


class PortTaken(MachineError):
    """Somebody took a port between our asking for it and the service's binding it: start again with new ones."""


def listening(process: Process) -> set[int]:
    """The TCP ports that the process and its descent listen on."""
    found: set[int] = set()
    for each in process.tree():
        with contextlib.suppress(psutil.Error):
            found |= {c.laddr.port for c in each.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return found


def confirm(process: Process, wanted: Iterable[int]) -> None:
    """Returns when it listens on all of them. Stops it and raises PortTaken when it does not within CONFIRM_S: another has one."""
    numbers, deadline = set(wanted), time.monotonic() + CONFIRM_S
    while missing := numbers - listening(process):
        if time.monotonic() > deadline or not process.alive:
            process.stop(grace_s=0)
            what = f"{process.command.service} does not listen on {sorted(missing)}, which it was told to"
            raise PortTaken(what, "another program took the port; try again")
        time.sleep(POLL_S)


def until(condition: Callable[[], T | None], process: Process, deadline: float, what: str, patience: str = "start_timeout_s") -> T:
    """What `condition` gives once that is not None. Raises MachineError with the log's end when the process ends, or after `deadline`
    (time.monotonic), which the setting `patience` moves."""
    while True:
        alive = process.alive
        value = condition() if alive else None
        if value is not None:
            return value
        if not alive:
            taken = any("address already in use" in line.lower() for line in process.failure(40).splitlines())
            raise (PortTaken if taken else MachineError)(process.failure(), f"read its log: {process.command.log}")
        if time.monotonic() > deadline:
            raise MachineError(
                f"{what} was not ready in time. {process.failure()}", f"raise `{patience}`, or look at the load of this machine"
            )
        time.sleep(POLL_S)


def again_if_taken(start: Callable[[], T]) -> T:
    """Once more with new ports, after a race for one."""
    try:
        return start()
    except PortTaken:
        return start()
