"""What every workload must do: a sound graph, payloads that repeat, right answers on every architecture, a check that can say no."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from lab import registry
from lab.contracts import Tools, Workload
from lab.model import Budget, Message, Operation, Request, Response, Shape
from lab.model.workload import ModelSize
from lab.providers.fake import Provider
from lab.runtime.config import ModelAddress
from lab.runtime.databases import SqliteDatabase
from lab.runtime.object_stores import MemoryStore
from lab.runtime.stores import fetch_model
from lab.runtime.timing import parse
from lab.settings import Settings
from tests.unit.serving import error_of, handled, send

SEED = 11
ASKED = 20  # of each operation


@contextmanager
def deployed(workload: Workload, architecture: str, size: ModelSize, home: Path) -> Iterator[str]:
    """Its URL on the fake provider, preloaded."""
    shape = Shape(name=workload.name, model_size=size, stages=workload.stages, operations=workload.operations)
    placed = registry.architecture(architecture)
    topology = placed.place(shape, Budget(), placed.Options())
    provider = Provider(Settings(provider="fake", home=str(home)))
    provider.up()
    try:
        url = provider.deploy(topology, "one", SEED).url
        for request in workload.preload(SEED):
            assert send(url, request).status == 200
        yield url
    finally:
        provider.destroy()


# ---- the contract, as functions of a workload ------------------------------------------------------------------------


def operations_fit_the_graph(workload: Workload) -> None:
    stages = {s.name: s for s in workload.stages}
    assert len(stages) == len(workload.stages) and stages
    order = list(TopologicalSorter({s.name: s.after for s in workload.stages}).static_order())
    assert set(order) == set(stages), "`after` names a stage that does not exist"
    assert len({o.name for o in workload.operations}) == len({(o.method, o.path) for o in workload.operations}) == len(workload.operations)
    for operation in workload.operations:
        assert operation.stages and set(operation.stages) <= set(stages)
        for i, stage in enumerate(operation.stages):
            assert set(stages[stage].after) <= set(operation.stages[:i]), f"{operation.name}: {stage} runs before what it takes"
        assert operation.kind == {"POST": "write", "GET": "read"}[operation.method]
        assert 0 <= operation.weight <= 1
    assert sum(o.weight for o in workload.operations) == pytest.approx(1.0)
    assert any(o.headline for o in workload.operations)
    assert {s for o in workload.operations for s in o.stages} == set(stages), "a stage that no operation needs"


def payloads_repeat(workload: Workload) -> None:
    again = registry.workload(workload.name)
    for operation in workload.operations:
        made = [workload.payload(SEED, i, operation.name) for i in range(5)]
        assert made == [again.payload(SEED, i, operation.name) for i in range(5)]
        assert all((r.operation, r.method) == (operation.name, operation.method) for r in made)
        assert all(path_matches(operation, r) for r in made)
    headline = next(o.name for o in workload.operations if o.headline)
    bodies = Counter(workload.payload(seed, i, headline) == workload.payload(SEED, 0, headline) for seed in (SEED, 12) for i in range(5))
    assert bodies[True] < 10, "seed and index make no difference"
    assert list(workload.preload(SEED)) == list(again.preload(SEED))


def path_matches(operation: Operation, request: Request) -> bool:
    wanted, found = operation.path.split("/"), request.path.partition("?")[0].split("/")
    return len(wanted) == len(found) and all(w == f or (w.startswith("{") and f) for w, f in zip(wanted, found, strict=True))


def sizes_have_their_models(workload: Workload) -> None:
    for size in workload.model_sizes:
        assert 0 <= workload.wrong_rate_limit(size) < 0.5
        if workload.model_name(size) is not None:
            data, digest = workload.model_bytes(size)
            store = MemoryStore()
            store.put("m", data)
            assert fetch_model(store, ModelAddress(key="m", sha256=digest)) == data


def stages_can_be_held_one_by_one(workload: Workload) -> None:
    """Any architecture may put each stage into a process of its own; batch handlers are extra."""
    size = workload.model_sizes[0]
    store = MemoryStore()
    tools = Tools(
        store=store,
        database=lambda _: SqliteDatabase(),
        model=lambda: workload.model_bytes(size)[0],
        model_size=size,
    )
    for stage in workload.stages:
        handlers = workload.handlers([stage.name], tools)
        assert set(handlers.single) == {stage.name}
        assert set(handlers.batch) <= {stage.name}
        assert not handlers.batch or stage.batchable


def stages_say_whether_they_use_the_object_store(workload: Workload) -> None:
    """A service whose stages say that they do not is given none."""
    size, database, flags = workload.model_sizes[0], SqliteDatabase(), {s.name: s.stores for s in workload.stages}
    kept = {True: MemoryStore(), False: _NoStore()}
    model = lambda: workload.model_bytes(size)[0]  # noqa: E731
    made = {
        name: workload.handlers([name], Tools(store=kept[stores], database=lambda _: database, model=model, model_size=size))
        for name, stores in flags.items()
    }
    writes = [workload.payload(SEED, 0, o.name) for o in workload.operations if o.kind == "write"]
    reads = [workload.payload(SEED, 0, o.name) for o in workload.operations if o.kind == "read"]
    for request in [*workload.preload(SEED), *writes, *reads]:
        operation = next(o for o in workload.operations if o.name == request.operation)
        url = urlsplit(request.path)
        in_path = {w[1:-1]: f for w, f in zip(operation.path.split("/"), url.path.split("/"), strict=True) if w.startswith("{")}
        message = Message(body=request.body, fields={**dict(parse_qsl(url.query)), **in_path})
        for stage in operation.stages:
            message = handled(made[stage], stage, message)


class _NoStore(MemoryStore):
    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        raise AssertionError(f"a stage without `stores` put {key}")

    def get(self, key: str) -> bytes:
        raise AssertionError(f"a stage without `stores` got {key}")

    def keys(self, prefix: str = "") -> list[str]:
        raise AssertionError("a stage without `stores` listed keys")

    def delete(self, key: str) -> None:
        raise AssertionError(f"a stage without `stores` deleted {key}")


def answers_are_right(workload: Workload, url: str, size: ModelSize) -> None:
    for operation in workload.operations:
        requests = [workload.payload(SEED, i, operation.name) for i in range(ASKED)]
        answers = [send(url, r) for r in requests]
        assert {a.status for a in answers} == {200}, answers[0].body
        wrong = sum(not workload.check(r, a) for r, a in zip(requests, answers, strict=True))
        assert wrong <= ASKED * workload.wrong_rate_limit(size), operation.name
        for answer in answers:
            stages = [s.name for s in parse(answer.headers["server-timing"]) if s.kind == "stage"]
            assert stages == list(operation.stages)


def the_check_can_say_no(workload: Workload, url: str) -> None:
    for operation in workload.operations:
        request, answer = next(_right_answers(workload, url, operation.name))
        for body in (b"", answer.body[:-1], answer.body[::-1], b"{}", b"[]", b"null", b"\xff"):
            assert not workload.check(request, Response(status=200, body=body, headers=answer.headers)), (operation.name, body)
        if request.expected:
            other = next(r for r in (workload.payload(SEED, i, operation.name) for i in range(1000)) if r.expected != request.expected)
            assert not workload.check(other, answer), f"{operation.name}: the answer to another request passes"


def _right_answers(workload: Workload, url: str, operation: str) -> Iterator[tuple[Request, Response]]:
    for i in range(ASKED):
        request = workload.payload(SEED, i, operation)
        answer = send(url, request)
        if workload.check(request, answer):
            yield request, answer


def garbage_is_refused(workload: Workload, url: str) -> None:
    for operation in workload.operations:
        if operation.method == "POST":
            request = workload.payload(SEED, 0, operation.name)
            for body in (b"", b"garbage", b"\x00" * 1000, request.body[::-1]):
                answer = send(url, Request(operation=operation.name, method="POST", path=request.path, body=body))
                assert 400 <= answer.status < 500, (operation.name, body[:10], answer)
                assert error_of(answer)["hint"]
            assert send(url, request).status == 200, "garbage must not break what comes after it"


# ---- every workload, on every architecture ---------------------------------------------------------------------------

each_workload = pytest.mark.parametrize("name", registry.names("workloads"))


CONTRACT = [
    operations_fit_the_graph,
    payloads_repeat,
    sizes_have_their_models,
    stages_can_be_held_one_by_one,
    stages_say_whether_they_use_the_object_store,
]


@each_workload
@pytest.mark.parametrize("contract", CONTRACT)
def test_contract(name: str, contract: object) -> None:
    workload = registry.workload(name)
    assert workload.name == name
    contract(workload)  # type: ignore[operator]


@each_workload
@pytest.mark.parametrize("architecture", registry.names("architectures"))
def test_served(name: str, architecture: str, tmp_path: Path) -> None:
    workload = registry.workload(name)
    size = workload.model_sizes[0]
    with deployed(workload, architecture, size, tmp_path) as url:
        answers_are_right(workload, url, size)
        the_check_can_say_no(workload, url)
        garbage_is_refused(workload, url)


@pytest.mark.parametrize(("name", "size"), [(n, s) for n in registry.names("workloads") for s in registry.workload(n).model_sizes[1:]])
def test_served_at_every_size(name: str, size: ModelSize, tmp_path: Path) -> None:
    workload = registry.workload(name)
    with deployed(workload, registry.names("architectures")[0], size, tmp_path) as url:
        answers_are_right(workload, url, size)


def test_a_check_that_says_yes_to_everything_breaks_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = registry.workload("noop")
    with deployed(workload, registry.names("architectures")[0], "S", tmp_path) as url:
        monkeypatch.setattr(type(workload), "check", lambda *_: True)
        with pytest.raises(AssertionError):
            the_check_can_say_no(workload, url)
