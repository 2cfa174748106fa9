"""Dynamic batching: when a batch closes, what each message gets, and what the figures say of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.errors import InputError
from lab.model import Batching, Message
from lab.runtime.batching import Batcher
from lab.runtime.timing import Recorder, parse

LONG_MS = 60_000.0
LIMIT_S = 20.0


class Stage:
    """Counts the sizes of its batches; refuses the body b"bad"."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.running, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def single(self, message: Message) -> Message:
        if message.body == b"bad":
            raise InputError("bad")
        return Message(body=message.body.upper())

    def batch(self, messages: Sequence[Message]) -> Sequence[Message]:
        self.sizes.append(len(messages))
        self.running.set()
        assert self.go_on.wait(LIMIT_S)
        return [self.single(m) for m in messages]


def run(stage: Stage, batching: Batching, bodies: Sequence[bytes], failures: list[str]) -> list[tuple[Message | BaseException, Recorder]]:
    """All submitted at once, in order."""

    async def work() -> list[tuple[Message | BaseException, Recorder]]:
        with ThreadPoolExecutor(2) as pool:
            batcher = Batcher("infer", "model", batching, stage.single, stage.batch, pool, failures.append)
            batcher.open()
            recorders = [Recorder("model") for _ in bodies]
            waiting = [batcher.submit(Message(body=b), r) for b, r in zip(bodies, recorders, strict=True)]
            results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), LIMIT_S)
            await batcher.close()
            return list(zip(results, recorders, strict=True))

    return asyncio.run(work())


def bodies_of(results: Sequence[tuple[Message | BaseException, Recorder]]) -> list[bytes]:
    return [r.body for r, _ in results if isinstance(r, Message)]


def test_a_full_batch_does_not_wait_and_answers_are_not_mixed_up() -> None:
    stage, failures = Stage(), []
    results = run(stage, Batching(max_size=4, max_delay_ms=LONG_MS), [b"a", b"b", b"c", b"d"], failures)
    assert bodies_of(results) == [b"A", b"B", b"C", b"D"]
    assert stage.sizes == [4] and not failures


def test_a_lone_message_goes_when_its_delay_is_over() -> None:
    stage = Stage()
    results = run(stage, Batching(max_size=4, max_delay_ms=5.0), [b"a"], [])
    assert bodies_of(results) == [b"A"] and stage.sizes == [1]


def test_more_than_a_batch_is_split_in_order() -> None:
    stage = Stage()
    results = run(stage, Batching(max_size=3, max_delay_ms=1.0), [b"%d" % i for i in range(7)], [])
    assert bodies_of(results) == [b"%d" % i for i in range(7)]
    assert stage.sizes == [3, 3, 1]


def test_one_bad_message_does_not_fail_the_others() -> None:
    stage, failures = Stage(), []
    results = run(stage, Batching(max_size=3, max_delay_ms=LONG_MS), [b"a", b"bad", b"c"], failures)
    assert bodies_of(results) == [b"A", b"C"]
    assert isinstance(results[1][0], InputError)
    assert len(failures) == 1 and "InputError" in failures[0]


def test_a_handler_that_loses_messages_is_told_and_each_still_gets_its_answer() -> None:
    class Losing(Stage):
        def batch(self, messages: Sequence[Message]) -> Sequence[Message]:
            return messages[1:]

    failures: list[str] = []
    results = run(Losing(), Batching(max_size=2, max_delay_ms=LONG_MS), [b"a", b"b"], failures)
    assert bodies_of(results) == [b"A", b"B"]
    assert "1 results for 2 messages" in failures[0]


def test_the_spans_say_size_wait_and_run() -> None:
    results = run(Stage(), Batching(max_size=2, max_delay_ms=LONG_MS), [b"a", b"b"], [])
    for _, recorder in results:
        spans = {s.kind: s for s in parse(recorder.header())}
        assert (spans["batch"].name, spans["batch"].units) == ("infer", 2)
        assert (spans["stage"].name, spans["stage"].count) == ("infer", 1.0)
        assert spans["stage"].start_ms >= spans["batch"].start_ms


def test_while_one_batch_runs_the_next_one_gathers() -> None:
    stage = Stage()
    stage.go_on.clear()

    async def work() -> None:
        with ThreadPoolExecutor(2) as pool:
            batcher = Batcher("infer", "model", Batching(max_size=8, max_delay_ms=0.0), stage.single, stage.batch, pool, pytest.fail)
            batcher.open()
            first = asyncio.ensure_future(batcher.submit(Message(body=b"1"), Recorder("model")))
            assert await asyncio.to_thread(stage.running.wait, LIMIT_S)
            rest = [asyncio.ensure_future(batcher.submit(Message(body=b"x"), Recorder("model"))) for _ in range(5)]
            await asyncio.sleep(0)
            stage.go_on.set()
            await asyncio.wait_for(asyncio.gather(first, *rest), LIMIT_S)
            await batcher.close()

    asyncio.run(work())
    assert stage.sizes == [1, 5]


def test_a_cancelled_request_leaves_its_batch() -> None:
    stage = Stage()

    async def work() -> Message:
        with ThreadPoolExecutor(2) as pool:
            batcher = Batcher("infer", "model", Batching(max_size=2, max_delay_ms=LONG_MS), stage.single, stage.batch, pool, pytest.fail)
            batcher.open()
            gone = asyncio.ensure_future(batcher.submit(Message(body=b"gone"), Recorder("model")))
            await asyncio.sleep(0)
            gone.cancel()
            kept = await asyncio.wait_for(batcher.submit(Message(body=b"kept"), Recorder("model")), LIMIT_S)
            await batcher.close()
            return kept

    assert asyncio.run(work()).body == b"KEPT"
    assert stage.sizes == [1]
