"""The workload's stages on stores in memory, its photos, and its oracles."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Collection
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from PIL import Image

from lab.contracts import Handlers, Tools
from lab.errors import InputError
from lab.ml import pixels
from lab.model import Message, Request, Response
from lab.model.workload import ModelSize
from lab.runtime.databases import SqliteDatabase
from lab.runtime.object_stores import MemoryStore
from lab.workloads import vision
from lab.workloads.vision import Workload
from tests.unit.serving import handled

WORKLOAD = Workload()
ALL = tuple(stage.name for stage in WORKLOAD.stages)


class Service:
    """All stages in one process, and operations answered as a host answers them."""

    def __init__(self, size: ModelSize = "S", stages: Collection[str] = ALL) -> None:
        self.store, self.database = MemoryStore(), SqliteDatabase()
        tools = Tools(
            store=self.store, database=lambda _: self.database, model=lambda: WORKLOAD.model_bytes(size)[0], model_size=size, threads=1
        )
        self.handlers: Handlers = WORKLOAD.handlers(stages, tools)

    def walk(self, operation: str, message: Message) -> Message:
        for stage in next(op for op in WORKLOAD.operations if op.name == operation).stages:
            message = handled(self.handlers, stage, message)
        return message

    def ask(self, request: Request) -> Response:
        url = urlsplit(request.path)
        fields = dict(parse_qsl(url.query))
        if request.operation == "result":
            fields["id"] = url.path.rsplit("/", 1)[1]
        result = self.walk(request.operation, Message(body=request.body, fields=fields))
        return Response(status=200, body=result.body or json.dumps(dict(result.fields)).encode())


@pytest.fixture(scope="module")
def service() -> Service:
    s = Service()
    for request in WORKLOAD.preload(7):
        s.ask(request)
    return s


def photo(seed: int = 1, index: int = 0) -> bytes:
    return WORKLOAD.payload(seed, index, "classify").body


def test_photos_are_jpegs_of_224_px_and_the_same_arguments_give_the_same_request() -> None:
    first, again, other = (WORKLOAD.payload(1, i, "classify") for i in (5, 5, 6))
    assert first == again and first != other
    with Image.open(io.BytesIO(first.body)) as image:
        assert (image.format, image.size) == ("JPEG", (224, 224))
    assert 4_000 < len(first.body) < 16_000


def test_answers_are_right_as_often_as_the_card_says(service: Service) -> None:
    requests = [WORKLOAD.payload(3, i, "classify") for i in range(200)]
    wrong = sum(not WORKLOAD.check(r, service.ask(r)) for r in requests)
    assert wrong / len(requests) <= WORKLOAD.wrong_rate_limit("S")
    assert WORKLOAD.wrong_rate_limit("S") < 0.1


@pytest.mark.parametrize("size", WORKLOAD.model_sizes)
def test_every_size_answers_singly_and_in_a_batch_alike(size: ModelSize) -> None:
    service = Service(size, ("preprocess", "infer"))
    bodies = [photo(index=i) for i in range(3)]
    ready = [handled(service.handlers, "preprocess", Message(body=b, fields={"id": str(i)})) for i, b in enumerate(bodies)]
    singly = [handled(service.handlers, "infer", m) for m in ready]
    together = service.handlers.batch["infer"](ready)
    assert [m.fields["id"] for m in together] == ["0", "1", "2"]
    assert [m.fields["label"] for m in together] == [m.fields["label"] for m in singly]
    assert [m.fields["confidence"] for m in together] == pytest.approx([m.fields["confidence"] for m in singly], abs=1e-4)
    assert {m.fields["model"] for m in together} == {WORKLOAD.model_name(size)}
    assert all(0.5 < float(m.fields["confidence"] or 0) <= 1.0 for m in together), "the model's scores add up to one"


@pytest.mark.parametrize("operation", ["result", "listing", "counts"])
def test_reads_after_the_preload_pass_their_check(service: Service, operation: str) -> None:
    for index in range(5):
        request = WORKLOAD.payload(7, index, operation)
        assert WORKLOAD.check(request, service.ask(request))


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("classify", b'{"id":"x","label":11,"confidence":1,"model":"m","created":1}'),
        ("classify", b'{"label":1}'),
        ("classify", b"<html>"),
        ("result", b'{"id":"another","label":1,"confidence":1,"model":"m","created":1}'),
        ("listing", b'{"results":[]}'),
        ("counts", b'{"counts":{"3":1}}'),
        ("counts", b'{"counts":{"cat":100}}'),
    ],
)
def test_a_wrong_answer_is_seen(operation: str, body: bytes) -> None:
    assert not WORKLOAD.check(WORKLOAD.payload(7, 0, operation), Response(status=200, body=body))


def test_a_listing_out_of_order_is_wrong(service: Service) -> None:
    request = WORKLOAD.payload(7, 0, "listing")
    rows = json.loads(service.ask(request).body)["results"]
    assert len(rows) >= vision.PRELOADED
    assert not WORKLOAD.check(request, Response(status=200, body=json.dumps({"results": rows[::-1]}).encode()))


def test_the_original_is_kept_and_the_same_id_gives_the_first_answer_again() -> None:
    service = Service()
    first = service.walk("classify", Message(body=photo(index=1), fields={"id": "mine"}))
    again = service.walk("classify", Message(body=photo(index=2), fields={"id": "mine"}))
    assert first.fields == again.fields and first.fields["id"] == "mine"
    kept = service.store.keys()
    assert [key[: len("uploads/mine-")] for key in kept] == ["uploads/mine-"] * 2
    assert {service.store.get(key) for key in kept} == {photo(index=1), photo(index=2)}, "the acknowledged photo is still there"
    service.walk("classify", Message(body=photo(index=1), fields={"id": "mine"}))
    assert service.store.keys() == kept
    made = service.walk("classify", Message(body=photo(index=1)))
    assert made.fields["id"] != "mine"
    assert sum(json.loads(service.walk("counts", Message()).body)["counts"].values()) == 2


@pytest.mark.parametrize("id", ["none", "\0", "a/b", "ä", "x" * 65])
def test_a_result_that_there_cannot_be_is_not_there_and_the_database_is_not_asked(id: str) -> None:
    """Postgres refuses text with a zero byte."""
    service = Service()
    service.database.execute("INSERT INTO results VALUES (%s, 1, 1, 'm', 1)", [id] if id != "none" else ["other"])
    with pytest.raises(KeyError):
        service.walk("result", Message(fields={"id": id}))


def _jpeg(width: int, height: int, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(out, "JPEG", **options)
    return out.getvalue()


def _claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header says it is of that size."""
    jpeg = bytearray(_jpeg(8, 8))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(jpeg)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"", "no JPEG"),
        (b"GIF89a" + bytes(100), "no JPEG"),
        (b"\xff\xd8", "no JPEG"),
        (b"\xff\xd8\xff\xe0\xff\xff" + bytes(50), "no JPEG"),
        (bytes(vision.MAX_BYTES + 1), "too large: found 4194305 bytes"),
        (_claiming(60_000, 60_000), "too large: an image of 60000 x 60000"),
    ],
    ids=["empty", "gif", "head only", "segment past the end", "bytes", "bomb"],
)
def test_what_is_no_photo_is_refused_before_it_is_stored_or_decoded(body: bytes, wanted: str) -> None:
    service = Service(stages=("ingest",))
    with pytest.raises(InputError, match=wanted):
        handled(service.handlers, "ingest", Message(body=body))
    assert service.store.keys() == []


def test_a_jpeg_that_breaks_off_is_the_clients_fault() -> None:
    service = Service(stages=("ingest", "preprocess"))
    with pytest.raises(InputError):
        handled(service.handlers, "preprocess", handled(service.handlers, "ingest", Message(body=photo()[:3000])))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"exif": b"Exif\0\0" + bytes(5000)}])
def test_the_size_is_read_from_any_kind_of_jpeg(options: dict[str, object]) -> None:
    assert vision.size_px(_jpeg(320, 200, **options)) == (320, 200)


def test_the_limit_before_decoding_is_that_of_the_decoder() -> None:
    assert vision.MAX_PIXELS == pixels.MAX_PIXELS


@pytest.mark.parametrize("fields", [{"id": "../../etc/passwd"}, {"id": "x" * 65}, {"id": "a b"}])
def test_an_id_that_could_be_a_path_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(InputError, match="id: found"):
        handled(Service(stages=("ingest",)).handlers, "ingest", Message(body=photo(), fields=fields))


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many", "1.5", ""])
def test_a_limit_out_of_range_is_refused(service: Service, limit: str) -> None:
    with pytest.raises(InputError, match="limit: found"):
        service.walk("listing", Message(fields={"limit": limit}))
    assert len(json.loads(service.walk("listing", Message(fields={"limit": "3"})).body)["results"]) == 3


def test_an_unknown_id_is_a_key_error(service: Service) -> None:
    with pytest.raises(KeyError, match="nobody"):
        service.walk("result", Message(fields={"id": "nobody"}))


@pytest.mark.parametrize(
    ("stages", "absent"),
    [
        (("record", "review"), ["onnxruntime", "PIL", "numpy", "torch"]),
        (("ingest",), ["onnxruntime", "PIL", "numpy", "torch"]),
        (("ingest", "preprocess"), ["onnxruntime", "torch"]),
        (("infer",), ["PIL", "torch"]),
    ],
)
def test_a_process_imports_only_what_its_stages_need(stages: tuple[str, ...], absent: list[str]) -> None:
    """That is most of a cold start."""
    code = f"""
import sys
from lab.contracts import Tools
from lab.workloads.vision import Workload
w = Workload()
class Nothing:
    def execute(self, *_): return []
w.handlers({stages!r}, Tools(store=None, database=lambda _: Nothing(), model=lambda: w.model_bytes("S")[0], model_size="S"))
print([m for m in {absent!r} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
