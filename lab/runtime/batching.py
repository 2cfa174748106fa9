"""Dynamic batching: messages of many requests in, their results out; they run together when enough came or the first waited enough."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from lab.contracts import BatchHandler, Handler
from lab.model import Batching, Message
from lab.runtime.outcome import outcome
from lab.runtime.timing import CURRENT, Recorder

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: Message
    recorder: Recorder
    since: float
    result: asyncio.Future[Message]


class Batcher:
    """One batched stage of one process. Batches run one after the other: while one runs the next gathers, so under load they fill by
    themselves and `max_delay_ms` bounds only the wait for company. When a batch fails its messages run singly, so that each gets its own
    answer or its own error; `failed` is told why the batch did."""

    def __init__(
        self,
        stage: str,
        service: str,
        batching: Batching,
        single: Handler,
        batch: BatchHandler,
        pool: Executor,
        failed: Callable[[str], None],
    ) -> None:
        self._stage, self._service = stage, service
        self._size, self._delay_s = batching.max_size, batching.max_delay_ms / 1e3
        self._single, self._batch, self._pool, self._failed = single, batch, pool, failed
        self._waiting: deque[_Waiting] = deque()
        self._some, self._full = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def submit(self, message: Message, recorder: Recorder) -> Message:
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(message, recorder, perf_counter(), future))
        self._some.set()
        if len(self._waiting) >= self._size:
            self._full.set()
        return await future

    async def _serve(self) -> None:
        while True:
            await self._some.wait()
            await self._gather()
            batch = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
            if not self._waiting:
                self._some.clear()
            await self._run([w for w in batch if not w.result.done()])

    async def _gather(self) -> None:
        self._full.clear()
        remaining_s = self._waiting[0].since + self._delay_s - perf_counter()
        if len(self._waiting) < self._size and remaining_s > 0:
            await asyncio.wait([full := asyncio.ensure_future(self._full.wait())], timeout=remaining_s)
            full.cancel()

    async def _run(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        recorder, messages = Recorder(self._service), [w.message for w in batch]
        found = await outcome(self._in_thread(self._together, recorder, messages))
        if isinstance(found, BaseException):
            self._failed(f"{type(found).__name__}: {found}")
            await self._singly(batch)
            return
        for waiting, result in zip(batch, found, strict=True):
            self._finish(waiting, recorder, len(batch), result)

    async def _singly(self, batch: Sequence[_Waiting]) -> None:
        for waiting in batch:
            recorder = Recorder(self._service)
            self._finish(waiting, recorder, 1, await outcome(self._in_thread(self._alone, recorder, waiting.message)))

    def _finish(self, waiting: _Waiting, recorder: Recorder, size: int, result: Message | BaseException) -> None:
        waiting.recorder.add(self._stage, "batch", waiting.since, recorder.began, units=size)
        waiting.recorder.share(recorder, size)
        if waiting.result.done():  # its request was cancelled meanwhile
            return
        if isinstance(result, BaseException):
            waiting.result.set_exception(result)
        else:
            waiting.result.set_result(result)

    def _in_thread(self, function: Callable[[Recorder, A], T], recorder: Recorder, argument: A) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, function, recorder, argument)

    def _together(self, recorder: Recorder, messages: Sequence[Message]) -> Sequence[Message]:
        return _timed(self._stage, recorder, self._checked, messages)

    def _alone(self, recorder: Recorder, message: Message) -> Message:
        return _timed(self._stage, recorder, self._single, message)

    def _checked(self, messages: Sequence[Message]) -> Sequence[Message]:
        results = self._batch(messages)
        if len(results) != len(messages):
            raise ValueError(f"the batch handler of {self._stage} gave {len(results)} results for {len(messages)} messages")
        return results


def _timed(stage: str, recorder: Recorder, function: Callable[[T], T], argument: T) -> T:
    token, began = CURRENT.set(recorder), perf_counter()
    try:
        return function(argument)
    finally:
        recorder.add(stage, "stage", began, perf_counter())
        CURRENT.reset(token)
