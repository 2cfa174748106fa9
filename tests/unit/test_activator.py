"""The activator over real HTTP, in front of instances that live in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from lab.errors import MachineError
from lab.model import Service, Topology
from lab.runtime import serving, timing
from lab.runtime.activator import Activator
from lab.runtime.config import EVENT_MARK
from lab.runtime.status import Identity

DEADLINE_S = 20.0


class Instances:
    """Replicas whose instances are small servers: /slow waits for `go`, /die breaks off, all else says what it got."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.go = loop, asyncio.Event()
        self.running: dict[str, web.AppRunner] = {}
        self.starting = self.most_starting = self.working = self.most_working = self.started = 0
        self.start_delay_s = 0.0
        self.refuse = ""

    def get(self, service: str) -> tuple[str, ...]:
        return tuple(self.running)

    def set(self, service: str, count: int) -> None: ...

    def add(self, service: str) -> tuple[str, Mapping[str, float]]:
        if self.refuse:
            raise MachineError(self.refuse)
        return asyncio.run_coroutine_threadsafe(self.start(), self.loop).result(), {"import_ms": 1.0}

    def remove(self, service: str, url: str) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(url), self.loop).result()

    async def start(self) -> str:
        self.starting += 1
        self.most_starting = max(self.most_starting, self.starting)
        await asyncio.sleep(self.start_delay_s)
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.running[url] = runner
        self.starting -= 1
        self.started += 1
        return url

    async def stop(self, url: str) -> None:
        if url in self.running:
            await self.running.pop(url).cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.working += 1
        self.most_working = max(self.most_working, self.working)
        try:
            if request.path == "/slow":
                await self.go.wait()
            if request.path == "/die":
                assert request.transport is not None
                request.transport.abort()
            await asyncio.sleep(0)
        finally:
            self.working -= 1
        told = {"path": request.raw_path, "method": request.method, "body": body.hex(), "fields": request.headers.get("x-lab-fields")}
        headers = {"server-timing": 'f;dur=1.000;desc="total@f+0", work;dur=0.900;desc="stage@f+0.05"', "x-lab-fields": '{"a":1}'}
        return web.json_response(told, headers=headers, status=207 if request.path == "/status" else 200)


class Cloud:
    def __init__(self, url: str, session: aiohttp.ClientSession, instances: Instances) -> None:
        self.url, self.session, self.instances = url, session, instances

    async def ask(self, path: str = "/functions/f/", **options: Any) -> tuple[int, Any, Mapping[str, str]]:
        options.setdefault("method", "POST")
        async with self.session.request(url=self.url + path, **options) as response:
            return response.status, await response.json(), response.headers

    async def status(self) -> Mapping[str, int]:
        return (await self.ask("/-/status", method="GET"))[1]["f"]  # type: ignore[no-any-return]

    async def until(self, condition: Callable[[Mapping[str, int]], bool]) -> Mapping[str, int]:
        async with asyncio.timeout(DEADLINE_S):
            while not condition(status := await self.status()):
                await asyncio.sleep(0.01)
            return status


@contextlib.asynccontextmanager
async def cloud(adopted: int = 0, **limits: Any) -> AsyncIterator[Cloud]:
    instances = Instances(asyncio.get_running_loop())
    for _ in range(adopted):
        await instances.start()
    function = Service(name="f", scaling="to_zero", instances=0, concurrency=1, **{"max_instances": 2, **limits})
    topology = Topology(architecture="t", workload="w", services=(Service(name="activator", role="activator"), function), routes={})
    listener = socket.create_server(("127.0.0.1", 0))
    identity = Identity(deployment="d", service="activator", instance=1)
    server = uvicorn.Server(serving.server_config(Activator(topology, identity, instances)))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    running = asyncio.create_task(server._serve([listener]))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as session:
        async with asyncio.timeout(DEADLINE_S):
            while not server.started:
                await asyncio.sleep(0.005)
        try:
            yield Cloud(f"http://127.0.0.1:{listener.getsockname()[1]}", session, instances)
        finally:
            instances.go.set()
            server.should_exit = True
            await running
            for url in instances.get("f"):
                await instances.stop(url)


def history(limits: Mapping[str, Any], play: Callable[[Cloud], Awaitable[None]]) -> None:
    async def run() -> None:
        async with cloud(**limits) as c:
            await play(c)

    asyncio.run(run())


def kinds(headers: Mapping[str, str]) -> dict[str, float]:
    return {span.kind: span.duration_ms for span in timing.parse(headers["server-timing"])}


def test_from_zero_the_answer_comes_and_says_how_long_the_start_took() -> None:
    async def play(c: Cloud) -> None:
        c.instances.start_delay_s = 0.1
        status, _, headers = await c.ask()
        spans = timing.parse(headers["server-timing"])
        assert status == 200
        assert (spans[0].kind, spans[0].service) == ("total", "activator"), "its caller takes the first entry for the whole stay"
        assert kinds(headers)["cold"] >= 90
        assert {"hop", "stage", "total"} <= kinds(headers).keys()
        _, _, warm = await c.ask()
        assert {"cold", "queue"}.isdisjoint(kinds(warm))
        assert c.instances.started == 1

    history({}, play)


def test_one_request_at_a_time_per_instance_and_starts_within_the_limits() -> None:
    async def play(c: Cloud) -> None:
        c.instances.start_delay_s = 0.02
        answers = await asyncio.gather(*(c.ask() for _ in range(40)))
        assert {status for status, _, _ in answers} == {200}
        assert 1 <= c.instances.most_working <= 3
        assert c.instances.most_starting == 1
        assert 1 <= c.instances.started <= 3
        assert any("queue" in kinds(headers) for _, _, headers in answers)

    history({"max_instances": 3}, play)


def test_what_waits_past_the_deadline_is_refused_with_429_and_told_when_to_come_again() -> None:
    async def play(c: Cloud) -> None:
        first = asyncio.create_task(c.ask("/functions/f/slow"))
        await c.until(lambda s: s["busy"] == 1)
        status, answer, headers = await c.ask()
        assert (status, headers["retry-after"]) == (429, "1")
        assert "f is full" in answer["error"]
        c.instances.go.set()
        assert (await first)[0] == 200
        assert (await c.ask())[0] == 200

    history({"max_instances": 1, "queue_deadline_s": 0.2}, play)


def test_idle_instances_are_stopped_until_none_is_left() -> None:
    async def play(c: Cloud) -> None:
        await asyncio.gather(*(c.ask() for _ in range(4)))
        await c.until(lambda s: not any(s.values()))
        assert c.instances.running == {}
        assert (await c.ask())[0] == 200

    history({"idle_timeout_s": 0.2}, play)


def test_a_request_that_could_not_be_sent_goes_to_another_instance() -> None:
    async def play(c: Cloud) -> None:
        await c.ask()
        (dead,) = c.instances.running
        await c.instances.stop(dead)
        status, _, headers = await c.ask()
        assert status == 200 and "cold" in kinds(headers)
        assert (await c.status())["idle"] == 1

    history({}, play)


def test_an_instance_that_breaks_off_is_not_used_again_and_its_request_is_not_sent_twice() -> None:
    async def play(c: Cloud) -> None:
        await c.ask("/-/fill", json={"f": 1})
        status, answer, _ = await c.ask("/functions/f/die")
        assert status == 502 and "broke off" in answer["error"]
        assert c.instances.started == 1
        await c.until(lambda s: not any(s.values()))
        assert (await c.ask())[0] == 200

    history({}, play)


def test_a_function_that_cannot_start_answers_503_with_the_reason_at_once() -> None:
    async def play(c: Cloud) -> None:
        c.instances.refuse = "the model is damaged"
        status, answer, _ = await c.ask()
        assert status == 503 and "the model is damaged" in answer["error"]
        status, answer, _ = await c.ask("/-/fill", json={"f": 2})
        assert status == 503 and "the model is damaged" in answer["error"]
        c.instances.refuse = ""
        assert (await c.ask())[0] == 200

    history({}, play)


def test_fill_and_drain_answer_when_it_is_done() -> None:
    async def play(c: Cloud) -> None:
        _, filled, _ = await c.ask("/-/fill", json={"f": 5})
        assert filled["f"] == {"idle": 3, "busy": 0, "starting": 0, "stopping": 0, "waiting": 0}
        assert (await c.ask("/-/fill", json={"f": 2}))[1] == filled, "filling never stops anything"
        assert "cold" not in kinds((await c.ask())[2])
        _, drained, _ = await c.ask("/-/drain")
        assert not any(drained["f"].values()) and not c.instances.running
        assert "cold" in kinds((await c.ask())[2])

    history({"max_instances": 3}, play)


@pytest.mark.parametrize("body", ['{"g": 1}', "[]", '{"f": "many"}', ""])
def test_a_wrong_fill_is_refused(body: str) -> None:
    async def play(c: Cloud) -> None:
        status, answer, _ = await c.ask("/-/fill", data=body)
        assert status == 400 and answer["hint"]

    history({}, play)


def test_nothing_below_functions_reaches_the_management() -> None:
    async def play(c: Cloud) -> None:
        assert (await c.ask("/functions/-/drain"))[0] == 404
        assert (await c.ask("/functions/f/-/drain"))[1]["path"] == "/-/drain"
        assert (await c.ask("/other"))[0] == 404
        assert (await c.ask("/functions/g/v1/x"))[0] == 404

    history({}, play)


def test_a_request_and_its_answer_pass_unchanged() -> None:
    async def play(c: Cloud) -> None:
        url = "/functions/f/v1/a%2Fb%20c?limit=3&x=%26"
        body = bytes(range(256)) * 300
        async with c.session.request(
            "PUT", aiohttp.client.URL(c.url + url, encoded=True), data=body, headers={"x-lab-fields": '{"id":7}'}
        ) as answer:
            assert await answer.json() == {"path": "/v1/a%2Fb%20c?limit=3&x=%26", "method": "PUT", "body": body.hex(), "fields": '{"id":7}'}
            assert answer.headers["x-lab-fields"] == '{"a":1}'
        assert (await c.ask("/functions/f/status", method="GET"))[0] == 207

    history({}, play)


def test_a_client_that_hangs_up_while_it_waits_is_not_served() -> None:
    async def play(c: Cloud) -> None:
        first = asyncio.create_task(c.ask("/functions/f/slow"))
        await c.until(lambda s: s["busy"] == 1)
        second = asyncio.create_task(c.ask())
        await c.until(lambda s: s["waiting"] == 1)
        second.cancel()
        await c.until(lambda s: s["waiting"] == 0)
        c.instances.go.set()
        assert (await first)[0] == 200

    history({"max_instances": 1}, play)


def test_instances_of_an_activator_before_this_one_are_taken_over() -> None:
    async def play(c: Cloud) -> None:
        assert (await c.status())["idle"] == 2
        assert "cold" not in kinds((await c.ask())[2])

    history({"adopted": 2}, play)


def test_events_tell_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    async def play(c: Cloud) -> None:
        await c.ask()
        await c.ask()
        await c.ask("/-/drain")

    history({"memory_mib": 256}, play)
    lines = [line.removeprefix(EVENT_MARK) for line in capsys.readouterr().out.splitlines() if line.startswith(EVENT_MARK)]
    events = [json.loads(line) for line in lines]
    assert [e["kind"] for e in events] == ["cold_start", "scale", "invocation", "invocation", "retired", "scale"]
    assert {e["service"] for e in events} == {"f"}
    assert events[0]["values"]["import_ms"] == 1.0 and events[0]["values"]["duration_ms"] > 0
    assert [(e["values"]["cold"], e["values"]["memory_mib"]) for e in events[2:4]] == [(True, 256), (False, 256)]
    assert [e["values"]["instances"] for e in (events[1], events[5])] == [1, 0]


def test_it_says_who_it_is_and_what_it_used() -> None:
    async def play(c: Cloud) -> None:
        status, told, headers = await c.ask("/readyz", method="GET")
        assert (status, headers["x-lab-deployment"]) == (200, "d")
        assert told == {"deployment": "d", "service": "activator", "instance": 1, "phases_ms": {}}
        used = (await c.ask("/-/usage", method="GET"))[1]
        assert used["cpu_s"] > 0 and used["memory_mib"] > 0 and used["at_s"] > 0

    history({}, play)
