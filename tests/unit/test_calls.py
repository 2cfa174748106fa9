"""Calls between services: circuit breakers replayed over histories, and a Caller against real servers that fail in every way."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lab.errors import MachineError
from lab.model import Edge, Message
from lab.runtime.answers import Refused
from lab.runtime.calls import AddressBook, Breaker, Caller
from lab.runtime.config import FIELDS_HEADER
from lab.runtime.timing import Recorder, parse
from tests.unit.serving import serving

# ---- circuit breaker: each history is steps of "<seconds> <what happens>", and the state wanted in the end -------------

HISTORIES = {
    "failures below the limit leave it closed": ("0 fail, 0 fail", "closed"),
    "a success in between starts the count again": ("0 fail, 0 fail, 0 ok, 0 fail, 0 fail", "closed"),
    "three in a row open it": ("0 fail, 0 fail, 0 fail", "open"),
    "it stays open while it cools": ("0 fail, 0 fail, 0 fail, 0.9 refused", "open"),
    "then it is half-open": ("0 fail, 0 fail, 0 fail, 1 look", "half-open"),
    "and a trial that succeeds closes it": ("0 fail, 0 fail, 0 fail, 1 ok", "closed"),
    "a trial that fails opens it anew": ("0 fail, 0 fail, 0 fail, 1 fail, 1.9 refused", "open"),
    "which again cools": ("0 fail, 0 fail, 0 fail, 1 fail, 2 ok", "closed"),
    "a trial that was cancelled lets another one": ("0 fail, 0 fail, 0 fail, 1 cancel, 1 ok", "closed"),
    "beside a trial nobody goes": ("0 fail, 0 fail, 0 fail, 1 admit, 1 refused", "half-open"),
}


def replay(history: str) -> str:
    breaker, now_s = Breaker(failures_to_open=3, cool_s=1.0), 0.0
    for step in history.split(", "):
        at, what = step.split()
        now_s = float(at)
        if what == "look":
            continue
        assert breaker.admit(now_s) == (what != "refused"), step
        {"fail": lambda t=now_s: breaker.failed(t), "ok": breaker.succeeded, "cancel": breaker.undecided}.get(what, lambda: None)()
    return breaker.state(now_s)


@pytest.mark.parametrize("name", HISTORIES)
def test_breaker(name: str) -> None:
    history, wanted = HISTORIES[name]
    assert replay(history) == wanted


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from(["fail", "ok", "cancel"])), max_size=40))
def test_an_open_breaker_admits_one_call_per_cooling_time_at_the_most(steps: list[tuple[float, str]]) -> None:
    breaker, now_s, admitted_s = Breaker(failures_to_open=2, cool_s=1.0), 0.0, None
    for wait_s, what in steps:
        now_s += wait_s
        before = breaker.state(now_s)
        if not breaker.admit(now_s):
            assert before == "open"
            continue
        assert before != "open" and not (breaker.trial and breaker.admit(now_s)), "two trials at once"
        if before == "half-open" and what == "fail":
            assert admitted_s is None or now_s - admitted_s >= 1.0
            admitted_s = now_s
        {"fail": lambda t=now_s: breaker.failed(t), "ok": breaker.succeeded, "cancel": breaker.undecided}[what]()


# ---- address book ----------------------------------------------------------------------------------------------------


def test_the_address_book_is_read_again_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    path.write_text('{"model": ["http://a"]}')
    book = AddressBook(path)
    assert book.urls("model") == ("http://a",)
    (tmp_path / "next").write_text('{"model": ["http://b"]}')
    (tmp_path / "next").replace(path)
    assert book.urls("model") == ("http://b",)


@pytest.mark.parametrize("text", [None, "{", '{"model": 3}', '{"other": ["http://a"]}', '{"model": []}'])
def test_an_address_book_without_the_service_is_the_machines_fault(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "addresses.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(MachineError) as raised:
        AddressBook(path).urls("model")
    assert raised.value.hint


# ---- a Caller and its callees ----------------------------------------------------------------------------------------

Answer = Callable[[Request], Awaitable[Response]]


class Callee:
    """Answers each request as `answers` says, in order; its last entry stays."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.requests = list(answers), list[Request]()

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        return await self.answers[min(len(self.requests), len(self.answers)) - 1](request)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/stages/{names}", self.answer, methods=["POST"])])


def says(status: int, body: bytes = b"", fields: str = "{}") -> Answer:
    async def answer(_: Request) -> Response:
        return Response(body, status, headers={FIELDS_HEADER: fields, "server-timing": 'model;dur=0.5;desc="total@model+0"'})

    return answer


async def repeat(request: Request) -> Response:
    return Response(await request.body(), headers={FIELDS_HEADER: request.headers[FIELDS_HEADER]})


def refuses(status: int) -> Answer:
    return says(status, json.dumps({"error": f"said {status}", "hint": "do this"}).encode())


def call(
    tmp_path: Path,
    urls: Sequence[str],
    message: Message = Message(body=b"x"),  # noqa: B008
    *,
    times: int = 1,
    timeout_s: float = 10.0,
    retries: int = 0,
    states: list[str] | None = None,
    clock: Callable[[], float] | None = None,
    recorder: Recorder | None = None,
) -> list[Message | BaseException]:
    path = tmp_path / "addresses.json"
    path.write_text(json.dumps({"model": list(urls)}))

    async def work() -> list[Message | BaseException]:
        edge = Edge(source="app", target="model", timeout_s=timeout_s, retries=retries)
        changed = lambda _url, state: states.append(state) if states is not None else None  # noqa: E731
        caller = Caller([edge], AddressBook(path), changed, clock) if clock else Caller([edge], AddressBook(path), changed)
        await caller.open()
        results = list[Message | BaseException]()
        for _ in range(times):
            one = caller.call("model", ["infer", "rank"], message, recorder or Recorder("app"), "request-1")
            results += await asyncio.gather(one, return_exceptions=True)
        await caller.close()
        return results

    return asyncio.run(work())


def status(result: Message | BaseException) -> int:
    assert isinstance(result, Refused), result
    assert result.hint
    return result.status


@contextmanager
def free_port() -> Iterator[str]:
    """A URL where nobody listens, for as long as the block lasts."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


def test_body_fields_stages_and_request_id_arrive(tmp_path: Path) -> None:
    callee, recorder = Callee(repeat), Recorder("app")
    message = Message(body=bytes(range(256)), fields={"id": 'ä\n"x"', "n": 3, "share": 0.25, "ok": True, "none": None})
    with serving(callee.app()) as url:
        [result] = call(tmp_path, [url], message, recorder=recorder)
    assert result == message
    assert callee.requests[0].path_params["names"] == "infer,rank"
    assert callee.requests[0].headers["x-request-id"] == "request-1"
    hop = parse(recorder.header())[1]
    assert (hop.kind, hop.name, hop.count, hop.units) == ("hop", "model", 1.0, 512)


def test_instances_take_turns(tmp_path: Path) -> None:
    one, two = Callee(says(200)), Callee(says(200))
    with serving(one.app()) as first, serving(two.app()) as second:
        call(tmp_path, [first, second], times=6)
    assert (len(one.requests), len(two.requests)) == (3, 3)


def test_a_dead_instance_costs_a_retry_not_an_answer(tmp_path: Path) -> None:
    with free_port() as dead, serving(Callee(says(200, b"y")).app()) as alive:
        results = call(tmp_path, [dead, alive], times=4, retries=1)
        assert [r.body for r in results if isinstance(r, Message)] == [b"y"] * 4
        assert status(call(tmp_path, [dead, alive], retries=0)[0]) == 503


@pytest.mark.parametrize(("retries", "requests"), [(0, 1), (1, 2), (3, 4)])
def test_503_is_tried_again_as_often_as_the_edge_says(tmp_path: Path, retries: int, requests: int) -> None:
    callee = Callee(refuses(503))
    with serving(callee.app()) as url:
        [result] = call(tmp_path, [url], retries=retries)
    assert status(result) == 503 and len(callee.requests) == requests
    assert isinstance(result, Refused) and "said 503" in result.what


@pytest.mark.parametrize(("answered", "wanted"), [(400, 400), (404, 404), (413, 413), (429, 429), (500, 502), (502, 502), (504, 504)])
def test_any_other_refusal_is_final(tmp_path: Path, answered: int, wanted: int) -> None:
    callee = Callee(refuses(answered))
    with serving(callee.app()) as url:
        [result] = call(tmp_path, [url], retries=3)
    assert status(result) == wanted and len(callee.requests) == 1
    assert isinstance(result, Refused) and (result.what, result.hint) == (f"said {answered}", "do this")


def test_an_answer_that_is_no_json_is_quoted(tmp_path: Path) -> None:
    with serving(Callee(says(500, b"<html>")).app()) as url:
        [result] = call(tmp_path, [url])
    assert isinstance(result, Refused) and result.status == 502 and "<html>" in result.what


def test_time_is_up_once_for_all_tries(tmp_path: Path) -> None:
    hold = threading.Event()

    async def late(_: Request) -> Response:
        await asyncio.to_thread(hold.wait, 10)
        return Response()

    callee = Callee(late)
    with serving(callee.app()) as url:
        [result] = call(tmp_path, [url], timeout_s=0.2, retries=3)
        hold.set()
    assert status(result) == 504 and len(callee.requests) == 1


def test_retries_end_when_the_edges_time_is_over(tmp_path: Path) -> None:
    times = iter(range(0, 1000, 3))  # the clock moves 3 s whenever it is read
    with free_port() as dead:
        callee = Callee(refuses(503))
        with serving(callee.app()) as url:
            [result] = call(tmp_path, [url, dead], timeout_s=10.0, retries=50, clock=lambda: float(next(times)))
    assert status(result) == 503 and len(callee.requests) < 4


def test_a_connection_that_breaks_off_is_502_and_not_repeated(tmp_path: Path) -> None:
    """The callee may have done the work."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted = []

        def hang_up() -> None:
            connection, _ = listener.accept()
            accepted.append(connection.recv(1 << 16))
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        [result] = call(tmp_path, [f"http://127.0.0.1:{listener.getsockname()[1]}"], retries=3)
        thread.join(10)
    assert status(result) == 502 and len(accepted) == 1


def test_the_circuit_opens_spares_the_dead_instance_and_closes_again(tmp_path: Path) -> None:
    callee, states, now_s = Callee(*[refuses(503)] * 5, says(200)), list[str](), [0.0]
    with serving(callee.app()) as url:

        def clock() -> float:
            now_s[0] += 0.05
            return now_s[0]

        results = call(tmp_path, [url], times=40, states=states, clock=clock)
    statuses = [200 if isinstance(r, Message) else status(r) for r in results]
    spared = [r for r in results if isinstance(r, Refused) and "circuit" in r.what]
    assert states == ["open", "closed"]
    assert statuses[:5] == [503] * 5 and spared and statuses[-1] == 200
    assert len(callee.requests) + len(spared) == 40
