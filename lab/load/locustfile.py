"""The driver's process (`python -m lab.load.locustfile JOB.json [FD [BEGIN]]`): sends a DriveJob's load on Locust in an open loop; samples
go to the stream, progress and the driver's own record as JSON lines to FD (standard output if not given).

One of several drivers reads from the descriptor BEGIN, as one line, the moment of its clock at which all of them begin their windows.
The only module that imports locust.
"""

from __future__ import annotations

from locust import User, events, task  # first, because it patches the standard library for gevent

# isort: split
import os
import resource
import signal
import sys
from pathlib import Path
from typing import ClassVar

import gevent
import gevent.os
import msgspec
from gevent.event import AsyncResult
from locust.env import Environment
from locust.exception import StopUser

from lab import rundir
from lab.errors import InputError, LabError
from lab.load.job import DriveJob, DriverRecord, Failure, Line
from lab.load.session import Session


class OpenLoopUser(User):
    """The one dispatcher."""

    session: ClassVar[Session]
    outcome: ClassVar[AsyncResult[DriverRecord]] = AsyncResult()

    @task
    def drive(self) -> None:
        try:
            self.outcome.set(self.session.run())
        except BaseException as error:  # noqa: BLE001 - main raises it again
            self.outcome.set_exception(error)
        raise StopUser


def _hear(descriptor: int, session: Session) -> None:
    """The one line of the parent's; without it the parent is gone."""
    gevent.os.make_nonblocking(descriptor)
    heard = b""
    while not heard.endswith(b"\n") and (data := gevent.os.nb_read(descriptor, 64)):
        heard += data
    if heard.endswith(b"\n"):
        session.start.tell(float(heard))
    else:
        session.interrupt()


def main(job_path: str, descriptor: int, begin: int | None = None) -> int:
    """The exit code: 0, that of a LabError, 130 when stopped or left by the parent."""

    def say(line: Line) -> None:
        os.write(descriptor, msgspec.json.encode(line) + b"\n")

    def end(error: LabError) -> int:
        say(Line(failure=Failure(kind="input" if isinstance(error, InputError) else "machine", what=error.what, hint=error.hint)))
        return error.exit_code

    job = rundir.decode(Path(job_path).read_bytes(), DriveJob, job_path)
    _allow_files(job.max_in_flight + 256)
    environment = Environment(user_classes=[OpenLoopUser], events=events, host=job.url, catch_exceptions=False)
    runner = environment.create_local_runner()
    try:
        OpenLoopUser.session = Session(job, say, environment.events.request.fire)
    except LabError as error:
        return end(error)
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, OpenLoopUser.session.interrupt)
    if begin is not None:
        gevent.spawn(_hear, begin, OpenLoopUser.session).link_exception(OpenLoopUser.session.abort)
    runner.start(1, spawn_rate=1)
    try:
        say(Line(record=OpenLoopUser.outcome.get()))
    except LabError as error:
        return end(error)
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:] or ["1"])))
