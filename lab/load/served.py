"""A topology served in a process of its own (`python -m lab.load.served TOPOLOGY.json TELL HOLD`): its URL goes as one line to the
descriptor TELL; it ends when the other end of HOLD is closed, so also when its parent dies.

It stands on the fake provider: what is driven there is the driver itself, and it shares no interpreter with anything."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

from lab import registry, rundir, spawn
from lab.errors import MachineError
from lab.model import Topology
from lab.settings import Settings

START_S = 30.0
GRACE_S = 5.0


@contextlib.contextmanager
def served(topology: Topology, folder: Path, cpus: tuple[int, ...] = ()) -> Iterator[str]:
    """The URL. `folder` gets the process's log and state. Raises MachineError with its last words when it does not stand in time."""
    told = folder / "topology.json"
    rundir.write(told, rundir.encode(topology))
    reading, tell = os.pipe()
    hold, holding = os.pipe()
    try:
        process = spawn.start(
            spawn.Command(
                argv=(sys.executable, "-m", "lab.load.served", str(told), str(tell), str(hold)),
                service="served",
                log=folder / "served.log",
                env={registry.PROJECT_VARIABLE: str(registry.project())},
                cpus=cpus,
                pass_fds=(tell, hold),
            )
        )
    finally:
        os.close(tell)
        os.close(hold)
    try:
        ready = select.select([reading], [], [], START_S)[0]
        url = os.read(reading, 1024).decode().strip() if ready else ""
        if not url:
            raise MachineError(f"the fake service does not stand: {process.failure()}", "the machine is overloaded, or out of memory")
        yield url
    finally:
        os.close(holding)
        process.wait(GRACE_S)
        process.stop(GRACE_S)
        os.close(reading)


def main(argv: list[str]) -> int:
    path, tell, hold = Path(argv[0]), int(argv[1]), int(argv[2])
    topology = rundir.decode(path.read_bytes(), Topology, str(path))
    provider = registry.provider("fake")(Settings(provider="fake", home=str(path.parent), name="served"))
    provider.up()
    try:
        os.write(tell, provider.deploy(topology, "served", 1).url.encode() + b"\n")
        os.read(hold, 1)
    finally:
        provider.destroy()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
