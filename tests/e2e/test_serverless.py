"""Serverless on real processes: it scales from zero, answers, goes back to zero, and refuses what it cannot hold."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab import registry
from lab.contracts import Deployment
from lab.model import Budget, Event, Request, Response, Shape
from lab.providers.embedded import Provider
from lab.runtime import timing
from lab.settings import Settings

DEADLINE_S = 60.0
FUNCTIONS = ("intake", "classify", "results")
Status = Mapping[str, Mapping[str, int]]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    p = Provider(Settings(home=str(tmp_path_factory.mktemp("home")), name="serverless"))
    try:
        p.up()
        yield p
    finally:
        p.destroy()


@dataclass(frozen=True)
class Cloud:
    provider: Provider
    deployment: Deployment
    workload: str

    def ask(self, request: Request) -> Response:
        return self._http(self.deployment.url + request.path, request.method, request.body, request.headers)

    def classify(self, index: int) -> tuple[Request, Response]:
        request = registry.workload(self.workload).payload(1, index, "classify")
        return request, self.ask(request)

    def manage(self, verb: str, body: Mapping[str, int] | None = None) -> Status:
        method = "GET" if verb == "status" else "POST"
        answer = self._http(
            f"{self.deployment.control_url}/-/{verb}", method, json.dumps(body or {}).encode() if method == "POST" else b"", {}
        )
        assert answer.status == 200, answer.body
        return json.loads(answer.body)  # type: ignore[no-any-return]

    def until(self, condition: Callable[[Status], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition(status := self.manage("status")):
            assert time.monotonic() < deadline, status
            time.sleep(0.02)

    def instances(self) -> dict[str, int]:
        return {u.service: u.instances for u in self.provider.usage() if u.service in FUNCTIONS}

    def events(self, kind: str) -> list[Event]:
        return [e for e in self.provider.events(self.deployment.id) if e.kind == kind]

    def await_events(self, kind: str, count: int) -> list[Event]:
        deadline = time.monotonic() + DEADLINE_S
        while len(found := self.events(kind)) < count:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found

    def _http(self, url: str, method: str, body: bytes, headers: Mapping[str, str]) -> Response:
        request = urllib.request.Request(url, data=body or None, headers=dict(headers), method=method)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                return Response(status=answer.status, body=answer.read(), headers=dict(answer.headers.items()))
        except urllib.error.HTTPError as error:
            with error:
                return Response(status=error.code, body=error.read(), headers=dict(error.headers.items()))


@contextmanager
def deployed(provider: Provider, workload_name: str, **options: float) -> Iterator[Cloud]:
    workload, serverless = registry.workload(workload_name), registry.architecture("serverless")
    shape = Shape(name=workload_name, model_size="S", stages=workload.stages, operations=workload.operations)
    topology = serverless.place(shape, Budget(), serverless.Options(**options))
    deployment = provider.deploy(replace(topology, options=options), "functions", 1)
    try:
        yield Cloud(provider, deployment, workload_name)
    finally:
        provider.retire(deployment.id)


def cold(response: Response) -> set[str]:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return {span.name for span in timing.parse(headers["server-timing"]) if span.kind == "cold"}


@pytest.mark.parametrize("workload_name", ["noop", "vision"])
def test_from_zero_to_an_answer_and_back_to_zero(provider: Provider, workload_name: str) -> None:
    with deployed(provider, workload_name) as cloud:
        assert cloud.instances() == dict.fromkeys(FUNCTIONS, 0), "nothing runs before the first request"
        request, response = cloud.classify(0)
        assert response.status == 200 and registry.workload(workload_name).check(request, response)
        assert cold(response) == set(FUNCTIONS), "each function on the way was started for it"
        assert not cold(cloud.classify(1)[1])
        starts = cloud.await_events("cold_start", 3)
        assert {e.service for e in starts} == set(FUNCTIONS)
        assert all({"import_ms", "open_ms", "model_ms", "duration_ms"} <= e.values.keys() for e in starts)
        assert cloud.instances() == dict.fromkeys(FUNCTIONS, 1)
        cloud.manage("drain")
        assert cloud.instances() == dict.fromkeys(FUNCTIONS, 0)
        assert cold(cloud.classify(2)[1]) == set(FUNCTIONS)


def test_idle_functions_go_back_to_zero_by_themselves(provider: Provider) -> None:
    with deployed(provider, "noop", idle_timeout_s=0.5) as cloud:
        assert cloud.classify(0)[1].status == 200
        cloud.until(lambda status: not any(n for s in status.values() for n in s.values()))
        assert cloud.instances() == dict.fromkeys(FUNCTIONS, 0)


def test_a_filled_pool_answers_without_a_cold_start(provider: Provider) -> None:
    with deployed(provider, "noop") as cloud:
        status = cloud.manage("fill", dict.fromkeys(FUNCTIONS, 2))
        assert {name: s["idle"] for name, s in status.items()} == dict.fromkeys(FUNCTIONS, 2)
        with ThreadPoolExecutor(2) as clients:
            answers = [response for _, response in clients.map(cloud.classify, range(20))]
        assert {a.status for a in answers} == {200}
        assert not any(cold(a) for a in answers)
        invocations = cloud.await_events("invocation", 60)
        assert not any(e.values["cold"] for e in invocations)


def test_under_overload_starts_keep_to_their_limit_and_what_cannot_be_held_is_refused(provider: Provider) -> None:
    with deployed(provider, "noop", queue_deadline_s=0.2, max_instances=2, max_concurrent_starts=1) as cloud:
        most, ended = 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not ended.is_set():
                most = max(most, *(s["starting"] for s in cloud.manage("status").values()))

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            with ThreadPoolExecutor(12) as clients:
                answers = [response for _, response in clients.map(cloud.classify, range(12))]
        finally:
            ended.set()
            watching.join()
        assert {a.status for a in answers} <= {200, 429}
        refused = [a for a in answers if a.status == 429]
        assert refused and "is full" in json.loads(refused[0].body)["error"]
        assert most == 1
        cloud.until(lambda status: not any(s["starting"] or s["busy"] for s in status.values()))
        cloud.manage("fill", dict.fromkeys(FUNCTIONS, 1))
        assert cloud.classify(99)[1].status == 200, "afterwards it answers again"


def test_the_management_cannot_be_reached_through_the_gateway(provider: Provider) -> None:
    with deployed(provider, "noop") as cloud:
        for path in ("/-/status", "/functions/intake/readyz", "/functions/../-/status", "/v1/results/..%2f..%2f-%2fstatus"):
            answer = cloud.ask(Request(operation="", method="GET", path=path))
            assert b'"idle"' not in answer.body, path


def test_a_function_that_was_killed_is_replaced(provider: Provider, tmp_path: Path) -> None:
    import psutil

    with deployed(provider, "noop") as cloud:
        assert cloud.classify(0)[1].status == 200
        home = str(provider._layout.deployment("functions"))
        victims = [p for p in psutil.process_iter(["cmdline"]) if f"{home}/results-1.json" in (p.info["cmdline"] or [])]
        assert len(victims) == 1
        victims[0].kill()
        victims[0].wait(DEADLINE_S)
        response = cloud.classify(1)[1]
        assert response.status == 200 and cold(response) == {"results"}
