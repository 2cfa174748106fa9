"""Begins and ends a Lab's supervisor; the caller holds the lock."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable

import msgspec
import psutil

from lab.errors import MachineError
from lab.providers.embedded import leftovers
from lab.providers.embedded.control import Client, Nothing, ShutdownRequest, Standing
from lab.providers.embedded.layout import Layout
from lab.providers.embedded.supervisor import SupervisorConfig, Told
from lab.rundir import encode, write_secret
from lab.settings import Settings
from lab.spawn import Command, Process, Record, new_lab_id, running, start

END_S = 20.0
MARGIN_S = 10.0
POLL_S = 0.05


def supervisor(settings: Settings, layout: Layout, report: Callable[[str], None], owner_pid: int | None) -> None:
    """Starts it, and returns when the Lab stands. Raises what it failed with, after it has stopped everything."""
    for left in leftovers.sweep(layout, grace_s=5.0):
        report(f"removed what a killed Lab left: {left}")
    lab_id = new_lab_id(layout.state)
    hear, tell = os.pipe()
    try:
        created = psutil.Process(owner_pid).create_time() if owner_pid is not None else 0.0
        config = SupervisorConfig(settings=settings, lab_id=lab_id, tell_fd=tell, owner_pid=owner_pid, owner_created=created)
        write_secret(layout.state / "supervisor.json", encode(config).decode())
        command = Command(
            argv=[sys.executable, "-m", "lab.providers.embedded.supervisor", str(layout.state.resolve())],
            service="supervisor",
            log=layout.log("supervisor"),
            env={"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": None},
            cwd=layout.state,
            pass_fds=(tell,),
        )
        process = start(command, Record(path=layout.processes, lab_id=lab_id))
        os.close(tell)
        tell = -1
        _listen(hear, process, time.monotonic() + settings.start_timeout_s + MARGIN_S, report)
    except BaseException:
        leftovers.sweep(layout, grace_s=5.0)
        raise
    finally:
        os.close(hear)
        if tell >= 0:
            os.close(tell)


def _listen(hear: int, process: Process, deadline: float, report: Callable[[str], None]) -> None:
    buffered = b""
    while True:
        found, _, _ = select.select([hear], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(hear, 65536) if found else b""
        if not part:
            process.stop(grace_s=0) if not found else process.wait(MARGIN_S)
            raise MachineError(process.failure(), "its log says more; `lab clean` removes what is left")
        *lines, buffered = (buffered + part).split(b"\n")
        for line in lines:
            told = msgspec.json.decode(line, type=Told)
            if told.failure is not None:
                process.wait(MARGIN_S)  # it stops what it had started
                raise told.failure.error()
            if told.ready:
                return
            report(told.report)


def end(layout: Layout, keep_data: bool) -> tuple[str, ...]:
    """Orderly where the supervisor answers; then by record, tag and descent. Names what it ended or removed."""
    removed: list[str] = []
    client = Client(layout.control)
    with contextlib.suppress(MachineError):  # one that does not answer is ended like its leftovers
        standing = client.call("status", Nothing(), Standing, timeout_s=MARGIN_S)
        client.call("shutdown", ShutdownRequest(keep_data=keep_data), Nothing)
        removed += [f"service {endpoint.service} ({endpoint.kind})" for endpoint in standing.endpoints]
        _await_end(standing)
    return (*removed, *leftovers.sweep(layout, grace_s=5.0 if keep_data else 0.0))


def _await_end(standing: Standing) -> None:
    """Not longer than END_S: what then still runs is ended by the caller."""
    deadline = time.monotonic() + END_S
    while running(standing.pid, standing.created) is not None and time.monotonic() < deadline:
        time.sleep(POLL_S)
