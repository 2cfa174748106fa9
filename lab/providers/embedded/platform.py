"""The platform of one Lab: object store, database and gateway, started together or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from lab.contracts import Endpoint
from lab.errors import MachineError
from lab.model import Usage
from lab.providers.embedded import gateway, object_store, postgres
from lab.providers.embedded.gateway import Gateway
from lab.providers.embedded.layout import Layout
from lab.providers.embedded.object_store import Store
from lab.providers.embedded.postgres import Database
from lab.runtime import consumption
from lab.settings import Settings
from lab.spawn import Process, Record, end, of_lab, pin


@dataclass(frozen=True, kw_only=True)
class Platform:
    store: Store
    database: Database
    gateway: Gateway

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return (self.store.endpoint, self.database.endpoint, self.gateway.endpoint)

    @property
    def processes(self) -> tuple[Process, ...]:
        found = (self.store.process, self.database.process, self.gateway.process)
        return tuple(p for p in found if p is not None)

    def down(self) -> Iterator[str]:
        """Of each service that has died: how, and the end of its log."""
        yield from (p.failure() for p in self.processes if not p.alive)

    def check(self) -> None:
        for failure in self.down():
            raise MachineError(f"the platform is broken: {failure}", "`lab down`, then `lab up` starts it again with its data")

    def pin(self, cpus: tuple[int, ...]) -> None:
        for process in self.processes:
            pin(process.tree(), cpus)

    def usage(self) -> Iterator[Usage]:
        for process in self.processes:
            used = consumption.of(process.tree())
            yield Usage(
                at_s=time.monotonic(),
                service=process.command.service,
                tier="platform",
                instances=1,
                cpu_s=used.cpu_s,
                memory_mib=used.memory_mib,
                bytes_read=used.bytes_read,
                bytes_written=used.bytes_written,
            )

    def stop(self, grace_s: float) -> None:
        """All at once, since the store alone takes a second."""
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda process: process.stop(grace_s), self.processes))


class _Ready(Protocol):
    @property
    def endpoint(self) -> Endpoint: ...


R = TypeVar("R", bound=_Ready)


def run(settings: Settings, layout: Layout, record: Record, report: Callable[[str], None]) -> Platform:
    """The three start at the same time. When one fails the others are ended, and its error is raised."""
    deadline = time.monotonic() + settings.start_timeout_s
    failures: list[BaseException] = []  # the first is the cause of the others

    def told(start: Callable[[], R]) -> R:
        try:
            ready = start()
        except BaseException as error:
            failures.append(error)
            end(of_lab(layout.state), grace_s=0)  # which also ends the waiting for the others
            raise
        report(f"{ready.endpoint.service} ({ready.endpoint.kind}) ready after {ready.endpoint.ready_s:.1f} s")
        return ready

    with ThreadPoolExecutor(3) as pool:
        store = pool.submit(told, lambda: object_store.run(settings.object_store, layout, record, deadline))
        database = pool.submit(told, lambda: postgres.run(layout, record, deadline))
        door = pool.submit(told, lambda: gateway.run(layout, record, deadline))
    if failures:
        raise failures[0]
    return Platform(store=store.result(), database=database.result(), gateway=door.result())
