"""The keeper: `python -m lab.providers.kubernetes.keeping STATE` sleeps until a Lab's owner has ended, and then removes the Lab."""

from __future__ import annotations

import os
import select
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from lab import ownership, registry, spawn
from lab.errors import LabError
from lab.providers.kubernetes.state import State
from lab.rundir import decode, write_secret
from lab.settings import Settings
from lab.spawn import Command, Record

FILE = "keeper.json"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The owner: pid and start time."""

    settings: Settings
    owner_pid: int
    owner_created: float


def start(settings: Settings, state: State, owner_pid: int) -> None:
    kept = Kept(settings=settings, owner_pid=owner_pid, owner_created=psutil.Process(owner_pid).create_time())
    write_secret(state.folder / FILE, msgspec.json.encode(kept).decode())
    argv = [sys.executable, "-m", "lab.providers.kubernetes.keeping", str(state.folder.resolve())]
    command = Command(argv=argv, service="keeper", log=state.logs / "keeper.log", env={"PYTHONUNBUFFERED": "1"})
    spawn.start(command, Record(path=state.processes, lab_id=spawn.new_lab_id(state.folder)))


def end(state: State) -> tuple[str, ...]:
    """Of this Lab: its keeper, and whatever else a killed command left running here. Names them."""
    found = spawn.of_lab(state.folder)
    spawn.end(found, grace_s=0)
    state.processes.unlink(missing_ok=True)
    return tuple(f"process {p.pid}" for p in found)


def wait(kept: Kept) -> None:
    """Asleep in the kernel where it can tell of the end of a process."""
    owner = spawn.running(kept.owner_pid, kept.owner_created)
    if owner is None:
        return
    if not hasattr(os, "pidfd_open"):
        owner.wait()
        return
    try:
        descriptor = os.pidfd_open(kept.owner_pid)
    except ProcessLookupError:
        return
    try:
        if spawn.running(kept.owner_pid, kept.owner_created) is not None:
            select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def main(argv: list[str]) -> int:
    path = Path(argv[1]) / FILE
    kept = decode(path.read_bytes(), Kept, str(path))
    wait(kept)
    try:
        removed = registry.provider(kept.settings.provider)(kept.settings).destroy()
        ownership.release(kept.settings)
    except LabError as error:
        sys.stderr.write(f"{error.what}\n{error.hint}\n")
        return error.exit_code
    sys.stdout.write("".join(f"removed {each}\n" for each in removed))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
