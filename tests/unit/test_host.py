"""A service process and its HTTP contract: errors, limits, queue, and deferred stages."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import pytest

from lab.contracts import Handlers
from lab.errors import InputError, MachineError
from lab.model import Batching, Edge, Event, Message, Service
from lab.runtime.answers import DRAINED_BYTES, MAX_BODY_BYTES
from lab.runtime.config import FIELDS_HEADER
from lab.runtime.host import app
from lab.runtime.timing import parse, record
from lab.runtime.walk import Leg, Route, route
from tests.unit.serving import LIMIT_S, Chain, ask, chain, config, echo, error_of, serving, tools, topology

# ---- from operations to legs -----------------------------------------------------------------------------------------

STAGES = ("a", "b", "c", "d", "e")
MODES = dict.fromkeys(STAGES, "sync")


def test_consecutive_stages_of_one_service_are_one_leg() -> None:
    here = Service(name="here", stages=("a", "b", "e"))
    there = Service(name="there", stages=("c", "d"))
    way = route(STAGES, here, topology(here, there), MODES, frozenset())
    assert way == Route((Leg(("a", "b")), Leg(("c", "d"), "there"), Leg(("e",))))


def test_a_batched_stage_is_a_leg_of_its_own() -> None:
    here = Service(name="here", stages=STAGES)
    way = route(STAGES, here, topology(here), MODES, frozenset({"c"}))
    assert way.now == (Leg(("a", "b")), Leg(("c",), batched=True), Leg(("d", "e")))


def test_only_deferrable_stages_at_the_end_come_later() -> None:
    here = Service(name="here", stages=STAGES)
    way = route(STAGES, here, topology(here), {**MODES, "b": "deferrable", "d": "deferrable", "e": "deferrable"}, frozenset())
    assert way == Route((Leg(("a", "b", "c")),), (Leg(("d", "e")),))
    assert route(("d",), here, topology(here), {"d": "deferrable"}, frozenset()).now, "an answer needs a stage that makes it"


# ---- requests and answers --------------------------------------------------------------------------------------------


def test_body_path_and_query_reach_the_first_stage_and_its_fields_come_back() -> None:
    seen: list[Message] = []

    def keep(message: Message) -> Message:
        seen.append(message)
        return Message(fields={"n": 3, "share": 0.5, "none": None})

    with chain({"keep": keep}) as url:
        answer = ask(url, "POST", "/v1/things/a%20b?x=1&empty=&id=not-this", b"body", {"x-request-id": "r1"})
    assert seen == [Message(body=b"body", fields={"id": "a b", "x": "1", "empty": ""})]
    assert (answer.status, json.loads(answer.body)) == (200, {"n": 3, "share": 0.5, "none": None})
    assert answer.headers["content-type"] == "application/json" and answer.headers["x-request-id"] == "r1"


def test_a_body_is_answered_with_its_content_type_and_stages_run_in_order() -> None:
    def stage(letter: bytes) -> object:
        return lambda m: Message(body=m.body + letter, fields={"content_type": "image/x"})

    with chain({"a": stage(b"a"), "b": stage(b"b"), "c": stage(b"c")}) as url:  # type: ignore[dict-item]
        answer = ask(url, "POST", "/v1/things/1", b"-")
    assert (answer.body, answer.headers["content-type"]) == (b"-abc", "image/x")
    assert [s.name for s in parse(answer.headers["server-timing"])] == ["one", "a", "b", "c"]


def test_coroutines_run_in_the_event_loop_and_all_else_in_threads() -> None:
    where: dict[str, bool] = {}

    async def here(message: Message) -> Message:
        where["here"] = asyncio.get_running_loop().is_running()
        await asyncio.sleep(0)
        return Message(body=message.body + b"h")

    def there(message: Message) -> Message:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        where["there"] = True
        return Message(body=message.body + b"t")

    async def again(message: Message) -> Message:
        record("put", "store", perf_counter())
        return Message(body=message.body + b"a")

    with chain({"here": here, "there": there, "again": again}) as url:
        answer = ask(url, "POST", "/v1/things/1", b"-")
    assert answer.body == b"-hta" and where == {"here": True, "there": True}
    assert [s.name for s in parse(answer.headers["server-timing"])] == ["one", "here", "there", "put", "again"]


@pytest.mark.parametrize("kind", ["coroutine", "blocking"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("wrong", "mend it"), 400),
        (InputError("too large: 3", "less"), 413),
        (KeyError("x"), 404),
        (MachineError("no store", "start it"), 503),
        (TimeoutError(), 504),
    ],
)
def test_errors_of_handlers_are_answers(error: Exception, status: int, kind: str) -> None:
    def fail(_: Message) -> Message:
        raise error

    async def afail(message: Message) -> Message:
        return fail(message)

    with chain({"fail": fail if kind == "blocking" else afail}) as url:
        answer = ask(url, "POST", "/v1/things/1", b"x")
    body = error_of(answer)
    assert answer.status == status and body["hint"]
    if isinstance(error, InputError):
        assert (body["error"], body["hint"]) == (error.what, error.hint)
    assert parse(answer.headers["server-timing"])[1].name == "fail", "a failed stage took time, too"


def test_a_bug_is_500_as_json_and_the_service_lives_on() -> None:
    def bug(message: Message) -> Message:
        if message.body == b"bug":
            raise ZeroDivisionError("secret detail")
        return message

    with chain({"bug": bug}) as url:
        answer = ask(url, "POST", "/v1/things/1", b"bug")
        assert answer.status == 500 and "secret" not in error_of(answer)["error"]
        assert ask(url, "POST", "/v1/things/1", b"fine").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/things/1", 405), ("POST", "/readyz", 405)]
)
def test_what_is_not_there_is_refused_as_json(method: str, path: str, status: int) -> None:
    with chain({"echo": echo}) as url:
        answer = ask(url, method, path)
    assert answer.status == status and error_of(answer)["hint"]


def test_a_body_over_the_limit_is_refused_before_it_is_sent() -> None:
    with chain({"echo": echo}) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=LIMIT_S)
        connection.putrequest("POST", "/v1/things/1")
        connection.putheader("content-length", str(1 << 40))
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413 and "too large" in json.loads(answer.read())["error"]
        connection.close()


def test_who_sends_too_much_without_looking_still_gets_the_answer() -> None:
    with chain({"echo": echo}) as url:
        answer = ask(url, "POST", "/v1/things/1", b"x" * (2 * MAX_BODY_BYTES))
    assert answer.status == 413 and f"{2 * MAX_BODY_BYTES} bytes" in error_of(answer)["error"]


def test_a_body_of_unknown_length_is_read_to_the_limit_only() -> None:
    sent = 0

    def pieces() -> object:
        nonlocal sent
        while sent < 50 * MAX_BODY_BYTES:
            sent += 1 << 16
            yield b"x" * (1 << 16)

    with chain({"echo": echo}) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=LIMIT_S)
        try:
            connection.request("POST", "/v1/things/1", pieces(), encode_chunked=True)  # type: ignore[arg-type]
            assert connection.getresponse().status == 413
        except (BrokenPipeError, ConnectionResetError):
            pass  # it closed while we were sending: refused just the same
        connection.close()
        assert sent < 2 * DRAINED_BYTES
        assert ask(url, "POST", "/v1/things/1", b"x" * MAX_BODY_BYTES).status == 200


def test_a_client_that_hangs_up_leaves_the_service_well() -> None:
    with chain({"echo": echo}) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /v1/things/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc")
        assert ask(url, "POST", "/v1/things/1", b"x").status == 200


def test_readiness_says_who_answers() -> None:
    with chain({"echo": echo}) as url:
        answer = ask(url, "GET", "/readyz")
        assert answer.status == 200 and answer.headers["x-lab-deployment"] == "d"
        assert json.loads(answer.body) == {"deployment": "d", "service": "one", "instance": 0, "phases_ms": {}}
        assert ask(url, "GET", "/healthz").status == 200


@pytest.mark.parametrize("page", [True, False])
def test_only_a_service_with_a_page_shows_one(page: bool) -> None:
    workload = Chain({"echo": echo})
    of = topology(Service(name="one", stages=("echo",), page=page))
    with serving(app(config(of, "one"), tools(), workload)) as url:  # type: ignore[arg-type]
        answer = ask(url, "GET", "/")
    assert answer.status == (200 if page else 404)
    assert answer.headers["content-type"].startswith("text/html" if page else "application/json")


# ---- places, queue and batches ---------------------------------------------------------------------------------------


class Gate:
    """A stage that holds its requests until it is opened."""

    def __init__(self) -> None:
        self.open, self.lock = threading.Event(), threading.Lock()
        self.inside, self.most = 0, 0
        self.entered = threading.Semaphore(0)

    def __call__(self, message: Message) -> Message:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        assert self.open.wait(LIMIT_S)
        with self.lock:
            self.inside -= 1
        return message


def post(url: str, into: list[object], body: bytes = b"x") -> threading.Thread:
    thread = threading.Thread(target=lambda: into.append(ask(url, "POST", "/v1/things/1", body)))
    thread.start()
    return thread


def test_at_most_concurrency_requests_are_worked_on_and_the_queue_is_timed() -> None:
    gate, answers = Gate(), list[object]()
    with chain({"gate": gate}, concurrency=2) as url:
        threads = [post(url, answers) for _ in range(6)]
        for _ in range(2):
            assert gate.entered.acquire(timeout=LIMIT_S)
        gate.open.set()
        for thread in threads:
            thread.join(LIMIT_S)
    assert gate.most == 2 and len(answers) == 6
    waited = [s for a in answers for s in parse(a.headers["server-timing"]) if s.kind == "queue"]  # type: ignore[attr-defined]
    assert len(waited) >= 1 and all(s.name == "one" and s.duration_ms > 0 for s in waited)


def test_who_waits_longer_than_the_queues_deadline_is_refused() -> None:
    gate, answers = Gate(), list[object]()
    with chain({"gate": gate}, concurrency=1, queue_deadline_s=0.05) as url:
        first = post(url, answers)
        assert gate.entered.acquire(timeout=LIMIT_S)
        refused = ask(url, "POST", "/v1/things/1", b"x")
        gate.open.set()
        first.join(LIMIT_S)
    assert refused.status == 429 and "full" in error_of(refused)["error"]
    assert [a.status for a in answers] == [200]  # type: ignore[attr-defined]


def test_batches_form_across_requests() -> None:
    sizes: list[int] = []

    def batch(messages: Sequence[Message]) -> Sequence[Message]:
        sizes.append(len(messages))
        return messages

    answers = list[object]()
    handlers = Handlers(single={"echo": echo}, batch={"echo": batch})
    with chain({"echo": echo}, batch=handlers, batching=Batching(max_size=3, max_delay_ms=20_000.0)) as url:
        threads = [post(url, answers, b"%d" % i) for i in range(3)]
        for thread in threads:
            thread.join(LIMIT_S)
    assert sizes == [3] and {a.body for a in answers} == {b"0", b"1", b"2"}  # type: ignore[attr-defined]


# ---- deferred stages -------------------------------------------------------------------------------------------------


def test_deferred_stages_run_after_the_answer_and_are_finished_before_the_end() -> None:
    gate, done = Gate(), list[bytes]()

    def late(message: Message) -> Message:
        gate(message)
        done.append(message.body)
        return message

    with chain({"echo": echo, "late": late}, deferrable=["late"]) as url:
        answers = [ask(url, "POST", "/v1/things/1", b"%d" % i) for i in range(2)]
        assert [a.status for a in answers] == [200, 200] and done == []
        gate.open.set()
    assert sorted(done) == [b"0", b"1"]


def test_a_deferred_failure_is_an_event() -> None:
    def late(_: Message) -> Message:
        raise MachineError("no disk")

    events: list[Event] = []
    with chain({"echo": echo, "late": late}, deferrable=["late"], events=events) as url:
        assert ask(url, "POST", "/v1/things/1", b"x", {"x-request-id": "r7"}).status == 200
    assert [(e.kind, e.service, e.values["stages"], e.values["request"]) for e in events] == [("deferred_failed", "one", "late", "r7")]
    assert "no disk" in str(events[0].values["error"])


# ---- two services ----------------------------------------------------------------------------------------------------


def test_stages_elsewhere_are_one_call_and_its_refusal_is_the_clients(tmp_path: Path) -> None:
    def refuse(message: Message) -> Message:
        if message.body == b"bad":
            raise InputError("bad", "be good")
        return Message(body=message.body + b"!", fields={**message.fields, "seen": "ü"})

    workload = Chain({"a": echo, "b": refuse, "c": refuse, "d": echo})
    front, back = Service(name="front", stages=("a", "d")), Service(name="back", stages=("b", "c"))
    placed = topology(front, back, edges=[Edge(source="front", target="back")])
    addresses = tmp_path / "addresses.json"
    with serving(app(config(placed, "back"), tools(), workload)) as behind:  # type: ignore[arg-type]
        addresses.write_text(json.dumps({"back": [behind]}))
        with serving(app(config(placed, "front", addresses), tools(), workload)) as url:  # type: ignore[arg-type]
            good, bad = ask(url, "POST", "/v1/things/1", b"x"), ask(url, "POST", "/v1/things/1", b"bad")
        direct = ask(behind, "POST", "/stages/b", b"x", {FIELDS_HEADER: '{"id": "7"}'})
        unknown = ask(behind, "POST", "/stages/b,a", b"x")
        garbled = ask(behind, "POST", "/stages/b", b"x", {FIELDS_HEADER: '{"id": {}}'})
    assert good.body == b"x!!" and bad.status == 400 and error_of(bad) == {"error": "bad", "hint": "be good"}
    assert [(s.kind, s.name, s.service) for s in parse(good.headers["server-timing"])] == [
        ("total", "front", "front"),
        ("stage", "a", "front"),
        ("hop", "back", "front"),
        ("total", "back", "back"),
        ("stage", "b", "back"),
        ("stage", "c", "back"),
        ("stage", "d", "front"),
    ]
    assert json.loads(direct.headers[FIELDS_HEADER]) == {"id": "7", "seen": "ü"}
    assert unknown.status == 400 and "holds no stage a" in error_of(unknown)["error"]
    assert garbled.status == 400 and FIELDS_HEADER in error_of(garbled)["error"]
