"""One function at work: its pool's decisions carried out on real instances, and told as events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from itertools import count
from typing import Final, TypeVar

from lab.contracts import Replicas
from lab.errors import MachineError
from lab.model import Event, Service
from lab.runtime.answers import Gone, Refused
from lab.runtime.events import event, print_events
from lab.runtime.outcome import outcome
from lab.runtime.pool import Action, Assign, Pool, Refuse, Start, Stop

T = TypeVar("T")
FLUSH_S: Final = 0.2


class Events:
    """Lines of standard output, written together at most every FLUSH_S: an invocation must not cost a system call."""

    def __init__(self) -> None:
        self._waiting: list[Event] = []

    def emit(self, kind: str, service: str, values: Mapping[str, str | int | float | bool | None]) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        self._waiting.append(event(kind, service, values))

    def flush(self) -> None:
        events, self._waiting = self._waiting, []
        print_events(*events)


class Function:
    """Requests come through `acquire` and give their instance back through `release`, `lost` or `unsent`. Only for the event loop's thread;
    starts and stops block and run in `threads`."""

    def __init__(self, service: Service, replicas: Replicas, threads: Executor, events: Events) -> None:
        self.service, self._replicas, self._threads, self._events = service, replicas, threads, events
        self.pool = Pool(service)
        self.start_error = ""  # of the last start, if it failed
        self._numbers = count()
        self._answers: dict[int, asyncio.Future[Assign | Refuse]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._timer: tuple[float, asyncio.TimerHandle] | None = None

    async def adopt(self) -> None:
        """Instances that an activator before this one left."""
        for url in await self._in_thread(self._replicas.get, self.service.name):
            self._do(self.pool.adopt(url, time.monotonic()))

    # ---- requests ----

    async def acquire(self, hung_up: Callable[[], Awaitable[object]]) -> Assign:
        """An instance for one request. Raises Refused (429 at the queue's deadline, 503 when its instance cannot be started), and Gone as
        soon as `hung_up` returns while it waits."""
        number = next(self._numbers)
        actions = self.pool.arrive(number, time.monotonic())
        if actions and isinstance(found := actions[0], Assign):
            return found
        return await self._answer(number, actions, hung_up)

    async def unsent(self, assigned: Assign, since_s: float, hung_up: Callable[[], Awaitable[object]]) -> Assign:
        """Another instance for a request that could not be sent to the one it had."""
        self._forget(assigned.instance, "it cannot be reached")
        actions = self.pool.return_unsent(assigned.instance, since_s, time.monotonic())
        return await self._answer(assigned.request, actions, hung_up)

    def release(self, assigned: Assign, duration_s: float) -> None:
        values = {"duration_ms": round(duration_s * 1e3, 3), "memory_mib": self.service.memory_mib, "cold": assigned.cold_s > 0}
        self._events.emit("invocation", self.service.name, values)
        self._do(self.pool.finished(assigned.instance, time.monotonic()))

    def lost(self, assigned: Assign, why: str) -> None:
        """The instance broke off, or did not end in time: it is not used again."""
        self._forget(assigned.instance, why)
        self._do(self.pool.died(assigned.instance, time.monotonic()))

    async def _answer(self, number: int, actions: list[Action], hung_up: Callable[[], Awaitable[object]]) -> Assign:
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        gone = asyncio.ensure_future(hung_up())
        try:
            self._do(actions)
            await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if answer.done() and isinstance(unused := answer.result(), Assign):
                self._do(self.pool.finished(unused.instance, time.monotonic()))
            raise
        finally:
            gone.cancel()
            del self._answers[number]
            if not answer.done():
                self.pool.withdraw(number)
        if not answer.done():
            raise Gone
        result = answer.result()
        if isinstance(result, Assign):
            return result
        name = self.service.name
        if result.failed_start:
            raise Refused(503, f"no instance of {name} could be started: {self.start_error}", "its log says why: `lab logs`")
        raise Refused(429, f"{name} is full: waited {result.waited_s:.3g} s for one of {self.service.max_instances} instances", "send less")

    # ---- for the driver ----

    async def fill(self, instances: int) -> None:
        """Until so many are there (at most max_instances). Raises MachineError when one cannot be started."""
        self.start_error = ""
        self._do(self.pool.fill(instances, time.monotonic()))
        async with self._changed:
            await self._changed.wait_for(lambda: self.pool.floor == 0)
        if self.start_error:
            raise MachineError(f"no instance of {self.service.name} could be started: {self.start_error}", "its log says why: `lab logs`")

    async def drain(self) -> None:
        """Until none is left."""
        self._do(self.pool.drain(time.monotonic()))
        async with self._changed:
            await self._changed.wait_for(lambda: self.pool.instances == 0)

    # ---- what the pool decides ----

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Assign() | Refuse():
                    self._answers[action.request].set_result(action)
                case Start():
                    self._spawn(self._start(action.number))
                case Stop():
                    self._spawn(self._stop(action.instance))
        self._schedule()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, number: int) -> None:
        began = time.monotonic()
        found = await outcome(self._in_thread(self._replicas.add, self.service.name))
        now = time.monotonic()
        name = self.service.name
        if isinstance(found, BaseException):
            self.start_error = str(found) or type(found).__name__
            self._events.emit("start_failed", name, {"error": self.start_error})
            self._do(self.pool.start_failed(number, now))
        else:
            url, phases = found
            self._events.emit("cold_start", name, {"duration_ms": round((now - began) * 1e3, 3), **phases})
            self._do(self.pool.started(number, url, now))
        await self._tell_change()

    async def _stop(self, instance: str) -> None:
        found = await outcome(self._in_thread(self._replicas.remove, self.service.name, instance))
        values = {"error": str(found)} if isinstance(found, BaseException) else {}
        self._events.emit("retired", self.service.name, values)
        self._do(self.pool.stopped(instance, time.monotonic()))
        await self._tell_change()

    def _forget(self, instance: str, why: str) -> None:
        self._events.emit("crash", self.service.name, {"instance": instance, "error": why})
        self._spawn(self._remove(instance))

    async def _remove(self, instance: str) -> None:
        found = await outcome(self._in_thread(self._replicas.remove, self.service.name, instance))
        if isinstance(found, BaseException):
            self._events.emit("remove_failed", self.service.name, {"instance": instance, "error": str(found)})
        await self._tell_change()

    async def _tell_change(self) -> None:
        self._events.emit("scale", self.service.name, {"instances": self.pool.ready, "starting": len(self.pool.starting)})
        async with self._changed:
            self._changed.notify_all()

    def _schedule(self) -> None:
        """One timer, for the time at which something may expire; one that fires too early only sets the next."""
        due_s = self.pool.next_s()
        if due_s is None or (self._timer is not None and self._timer[0] <= due_s):
            return
        if self._timer is not None:
            self._timer[1].cancel()
        self._timer = (due_s, asyncio.get_running_loop().call_later(max(0.001, due_s - time.monotonic()), self._expire))

    def _expire(self) -> None:
        self._timer = None
        self._do(self.pool.expire(time.monotonic()))

    def _in_thread(self, function: Callable[..., T], *arguments: str) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
