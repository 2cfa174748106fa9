"""Walks the stages of an operation: a message in, the last stage's message out; stages held here are run, others are called."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

from lab.contracts import AsyncHandler, Handler, Handlers
from lab.model import Event, Message, Service, Stage, Topology
from lab.model.workload import Scalar
from lab.runtime.answers import Refused
from lab.runtime.batching import Batcher
from lab.runtime.events import event
from lab.runtime.outcome import outcome
from lab.runtime.timing import CURRENT, Recorder

if TYPE_CHECKING:
    from lab.runtime.calls import Caller  # imports aiohttp: half of a small host's start

DEFERRED_WORKERS: Final = 2
DEFERRED_WAITING: Final = 256  # more are run before their answer instead: slower, but nothing is lost
DRAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Leg:
    """Consecutive stages that run in one go: here (`target` empty), here in a batch, or in one call to `target`."""

    stages: tuple[str, ...]
    target: str = ""
    batched: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """`later` is walked after the answer went out: the operation's last stages, as far as they are deferrable."""

    now: tuple[Leg, ...]
    later: tuple[Leg, ...] = ()


def route(stages: Sequence[str], service: Service, topology: Topology, modes: Mapping[str, str], batched: frozenset[str]) -> Route:
    """An operation's way from `service`. `modes`: stage -> mode; `batched`: stages that run in batches here."""
    split = len(stages)
    while split > 1 and modes[stages[split - 1]] == "deferrable":
        split -= 1
    return Route(tuple(_legs(stages[:split], service, topology, batched)), tuple(_legs(stages[split:], service, topology, batched)))


def _legs(stages: Sequence[str], service: Service, topology: Topology, batched: frozenset[str]) -> Sequence[Leg]:
    def place(stage: str) -> tuple[str, str]:
        if stage in service.stages:
            return ("", stage if stage in batched else "")
        return (topology.holder(stage).name, "")

    return [Leg(tuple(group), target, bool(alone)) for (target, alone), group in groupby(stages, place)]


Report = Callable[[Event], None]


@dataclass(slots=True)
class _Later:
    legs: tuple[Leg, ...]
    message: Message
    request_id: str


class Walker:
    """The work of one service process. At most `service.concurrency` requests are worked on at once (calls and batches included); others
    wait at most `queue_deadline_s` for a place and are then refused with 429. Handlers that are coroutines run here, all others in
    threads, as they may block."""

    def __init__(self, service: Service, handlers: Handlers, caller: Caller | None, report: Report) -> None:
        self._service, self._caller, self._report = service, caller, report
        self._coroutines = {stage: cast(AsyncHandler, h) for stage, h in handlers.single.items() if inspect.iscoroutinefunction(h)}
        self._blocking = {stage: cast(Handler, h) for stage, h in handlers.single.items() if stage not in self._coroutines}
        self._places = asyncio.Semaphore(service.concurrency)
        self._pool = ThreadPoolExecutor(service.concurrency, thread_name_prefix="stage")
        self._batchers = {
            stage: Batcher(stage, service.name, service.batching, self._blocking[stage], batch, self._pool, self._batch_failed)
            for stage, batch in handlers.batch.items()
            if service.batching is not None
        }
        self._later: asyncio.Queue[_Later] = asyncio.Queue(DEFERRED_WAITING)
        self._workers: list[asyncio.Task[None]] = []

    @property
    def batched(self) -> frozenset[str]:
        return frozenset(self._batchers)

    async def open(self) -> None:
        if self._caller is not None:
            await self._caller.open()
        for batcher in self._batchers.values():
            batcher.open()
        self._workers = [asyncio.create_task(self._work()) for _ in range(DEFERRED_WORKERS)]

    async def close(self) -> None:
        """Finishes deferred stages for at most DRAIN_S; what is left then is reported as lost."""
        drained = asyncio.create_task(self._later.join())
        await asyncio.wait([drained], timeout=DRAIN_S)
        drained.cancel()
        if self._later.qsize():
            self._tell("deferred_lost", {"messages": self._later.qsize()})
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for batcher in self._batchers.values():
            await batcher.close()
        if self._caller is not None:
            await self._caller.close()
        self._pool.shutdown()

    async def walk(self, way: Route, message: Message, recorder: Recorder, request_id: str) -> Message:
        await self._take_place(recorder)
        try:
            for leg in way.now:
                message = await self._step(leg, message, recorder, request_id)
            if way.later and self._later.full():
                await self._finish(way.later, message, request_id)
            elif way.later:
                self._later.put_nowait(_Later(way.later, message, request_id))
        finally:
            self._places.release()
        return message

    async def _take_place(self, recorder: Recorder) -> None:
        began = perf_counter()
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(self._service.queue_deadline_s):
                await self._places.acquire()
        except TimeoutError as error:
            what = (
                f"{self._service.name} is full: waited {self._service.queue_deadline_s:g} s for one of {self._service.concurrency} places"
            )
            raise Refused(429, what, "send less, or give it more instances") from error
        recorder.add(self._service.name, "queue", began, perf_counter())

    async def _step(self, leg: Leg, message: Message, recorder: Recorder, request_id: str) -> Message:
        if leg.target:
            assert self._caller is not None, "a topology without problems has an edge to every target"
            return await self._caller.call(leg.target, leg.stages, message, recorder, request_id)
        if leg.batched:
            return await self._batchers[leg.stages[0]].submit(message, recorder)
        for here, stages in groupby(leg.stages, self._coroutines.__contains__):
            if here:
                message = await self._await(stages, message, recorder)
            else:
                loop = asyncio.get_running_loop()
                message = await loop.run_in_executor(self._pool, self._run, tuple(stages), message, recorder)
        return message

    async def _await(self, stages: Iterable[str], message: Message, recorder: Recorder) -> Message:
        token = CURRENT.set(recorder)
        try:
            for stage in stages:
                began = perf_counter()
                try:
                    message = await self._coroutines[stage](message)
                finally:
                    recorder.add(stage, "stage", began, perf_counter())
        finally:
            CURRENT.reset(token)
        return message

    def _run(self, stages: tuple[str, ...], message: Message, recorder: Recorder) -> Message:
        """In a thread of the pool."""
        token = CURRENT.set(recorder)
        try:
            for stage in stages:
                began = perf_counter()
                try:
                    message = self._blocking[stage](message)
                finally:
                    recorder.add(stage, "stage", began, perf_counter())
        finally:
            CURRENT.reset(token)
        return message

    async def _work(self) -> None:
        while True:
            later = await self._later.get()
            try:
                async with self._places:
                    await self._finish(later.legs, later.message, later.request_id)
            finally:
                self._later.task_done()

    async def _finish(self, legs: tuple[Leg, ...], message: Message, request_id: str) -> None:
        """Deferred stages: nobody waits for their answer, so a failure becomes an event."""
        found = await outcome(self._all(legs, message, request_id))
        if isinstance(found, BaseException):
            stages = ",".join(stage for leg in legs for stage in leg.stages)
            why = f"{type(found).__name__}: {found}"
            self._tell("deferred_failed", {"stages": stages, "request": request_id, "error": why})

    async def _all(self, legs: tuple[Leg, ...], message: Message, request_id: str) -> None:
        recorder = Recorder(self._service.name)
        for leg in legs:
            message = await self._step(leg, message, recorder, request_id)

    def _batch_failed(self, why: str) -> None:
        self._tell("batch_failed", {"error": why})

    def _tell(self, kind: str, values: Mapping[str, Scalar]) -> None:
        self._report(event(kind, self._service.name, values))


def modes_of(stages: Sequence[Stage]) -> Mapping[str, str]:
    return {s.name: s.mode for s in stages}
