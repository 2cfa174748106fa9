"""Recognition of real handwritten digits in photos: a JPEG of 224 x 224 goes in, its digit comes out, is kept, and can be read again.

Label policy: an answer is right when its label is the true label of the held-out image that the photo was made from. The share of
wrong answers is therefore the model's own error, known from its card, and a cell is INVALID above that error + MARGIN: at 100 answers
chance alone passes a margin of 0.05 in less than 1 of 1,000 cells when the error is at most 0.02. Reads are right when they say what they
must: the id that was asked for with a label that exists; a listing of at most `limit` rows, newest first; counts that add up to no less
than the preload.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import msgspec

from lab.contracts import AsyncHandler, BatchHandler, Database, Handler, Handlers, Tools
from lab.errors import InputError
from lab.model import Message, Operation, Request, Response, Stage
from lab.model.workload import ModelSize
from lab.workloads import models

MARGIN = 0.05
PRELOADED = 16
LIMIT = 20  # rows of the listing that the driver asks for
ACCEPTS = "image/jpeg"
CLASSES = frozenset("0123456789")
MAX_BYTES = 4 * 1024 * 1024
MAX_PIXELS = 16_000_000  # of an upload, read from its header before anything is decoded
MAX_ROWS = 100
SMALL_PIXELS = 90_000  # of an image that is decoded in the event loop, in about half a millisecond


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One classified upload; `created` is seconds since 1970 by the clock of the service that kept it."""

    id: str
    label: int
    confidence: float
    model: str
    created: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    results: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many uploads were given each label."""

    counts: Mapping[str, int]


class Workload:
    name = "vision"
    model_sizes: tuple[ModelSize, ...] = ("S", "M", "L")
    stages = (
        Stage(name="ingest", stores=True),
        Stage(name="preprocess", after=("ingest",)),
        Stage(name="infer", after=("preprocess",), uses_model=True, batchable=True),
        Stage(name="record", after=("infer",), owns="results"),
        Stage(name="review", owns="results"),
        Stage(name="listing", owns="results"),
        Stage(name="counts", owns="results"),
    )
    operations = (
        Operation(
            name="classify",
            kind="write",
            method="POST",
            path="/v1/classify",
            stages=("ingest", "preprocess", "infer", "record"),
            weight=0.7,
            headline=True,
            accepts=ACCEPTS,
            parameters={"id": "the new result's id (letters, digits, - and _; 64 at most); the same id again gives the first answer again"},
            summary="Recognises the digit in a photo and keeps photo and result.",
        ),
        Operation(
            name="result",
            kind="read",
            method="GET",
            path="/v1/results/{id}",
            stages=("review",),
            weight=0.15,
            summary="One result by its id.",
        ),
        Operation(
            name="listing",
            kind="read",
            method="GET",
            path="/v1/results",
            stages=("listing",),
            weight=0.1,
            parameters={"limit": "how many rows, 1 to 100; 20 if not given"},
            summary="The newest results, newest first.",
        ),
        Operation(
            name="counts",
            kind="read",
            method="GET",
            path="/v1/counts",
            stages=("counts",),
            weight=0.05,
            summary="How many photos were given each label.",
        ),
    )

    def wrong_rate_limit(self, model_size: ModelSize) -> float:
        return 1.0 - models.card(_model(model_size)).accuracy + MARGIN

    def preload(self, seed: int) -> Sequence[Request]:
        return [_classify(random.Random(f"{seed}/preload/{k}"), id=_preloaded(seed, k)) for k in range(PRELOADED)]

    def payload(self, seed: int, index: int, operation: str) -> Request:
        draw = random.Random(f"{seed}/{index}/{operation}")
        if operation == "classify":
            return _classify(draw)
        if operation == "result":
            known = _preloaded(seed, draw.randrange(PRELOADED))
            return Request(operation=operation, method="GET", path=f"/v1/results/{known}", expected=known)
        path = {"listing": f"/v1/results?limit={LIMIT}", "counts": "/v1/counts"}[operation]
        return Request(operation=operation, method="GET", path=path)

    def check(self, request: Request, response: Response) -> bool:
        try:
            return _CHECKS[request.operation](request, response.body)
        except msgspec.DecodeError:
            return False

    def model_name(self, model_size: ModelSize) -> str | None:
        return _model(model_size)

    def model_bytes(self, model_size: ModelSize) -> tuple[bytes, str]:
        return models.onnx_bytes(_model(model_size)), models.card(_model(model_size)).sha256

    def handlers(self, stages: Collection[str], tools: Tools) -> Handlers:
        """Libraries are imported, tables made and the model loaded only for the stages held: that is what a cold start pays for."""
        single: dict[str, Handler | AsyncHandler] = {}
        batch: dict[str, BatchHandler] = {}
        if "ingest" in stages:
            single["ingest"] = _ingest(tools)
        if "preprocess" in stages:
            single["preprocess"] = _preprocess(models.card(_model(tools.model_size)).input_side_px)
        if "infer" in stages:
            batch["infer"] = infer = _infer(tools)
            single["infer"] = lambda message: infer([message])[0]
        if kept := {"record", "review", "listing", "counts"} & set(stages):
            single |= {name: handler for name, handler in _results(tools.database("results")).items() if name in kept}
        return Handlers(single=single, batch=batch)


def _model(size: ModelSize) -> str:
    return f"vision-{size}"


def _preloaded(seed: int, number: int) -> str:
    return f"preload-{seed}-{number}"


def _classify(draw: random.Random, id: str = "") -> Request:
    from lab.ml import digits

    index = draw.randrange(len(digits.held_out().labels))
    path = f"/v1/classify?id={id}" if id else "/v1/classify"
    return Request(
        operation="classify",
        method="POST",
        path=path,
        body=_photo(index),
        headers={"content-type": ACCEPTS},
        expected=str(digits.held_out().labels[index]),
    )


@cache
def _photo(index: int) -> bytes:
    from lab.ml import digits

    return digits.jpeg(digits.held_out().images[index])


# ---- the stages ------------------------------------------------------------------------------------------------------

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG markers that begin with the image's size


def _ingest(tools: Tools) -> AsyncHandler:
    """Keeps the original as uploads/<id>-<its digest>.jpg (another photo under the same id replaces none), once its header shows a JPEG
    within the limits; needs neither Pillow nor numpy."""

    async def ingest(message: Message) -> Message:
        if len(message.body) > MAX_BYTES:
            raise InputError(f"too large: found {len(message.body)} bytes, wanted at most {MAX_BYTES}", "send a smaller image")
        width, height = size_px(message.body)
        if width * height > MAX_PIXELS:
            raise InputError(
                f"too large: an image of {width} x {height} pixels, wanted at most {MAX_PIXELS} in all", "send a smaller image"
            )
        id = str(message.fields.get("id") or uuid.uuid4().hex)
        if not _ID.fullmatch(id):
            raise InputError(f"id: found {id[:80]!r}, wanted letters, digits, - and _, 64 at most", "leave it out, and one is made")
        digest = hashlib.sha256(message.body).hexdigest()[:12]
        await tools.store.aput(f"uploads/{id}-{digest}.jpg", message.body, ACCEPTS)
        return Message(body=message.body, fields={"id": id})

    return ingest


def size_px(jpeg: bytes) -> tuple[int, int]:
    """Width and height from the header, nothing decoded. Raises InputError when it is no JPEG, or none with a header."""
    at = 2 if jpeg.startswith(b"\xff\xd8") else len(jpeg)
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker in _FRAMES:
            return int.from_bytes(jpeg[at + 7 : at + 9]), int.from_bytes(jpeg[at + 5 : at + 7])
        at += 1 if marker == 0xFF else 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    found = f"{len(jpeg)} bytes that begin with {jpeg[:4].hex(' ') or 'nothing'}"
    raise InputError(f"the body is no JPEG: found {found}, wanted ff d8 and a frame header", "send the bytes of a JPEG file, not a form")


def _preprocess(side_px: int) -> AsyncHandler:
    from lab.ml.pixels import pixels

    async def preprocess(message: Message) -> Message:
        """The body becomes uint8 (3, side, side)."""
        width, height = size_px(message.body)
        small = width * height <= SMALL_PIXELS
        made = pixels(message.body, side_px) if small else await asyncio.to_thread(pixels, message.body, side_px)
        return Message(body=made.tobytes(), fields={**message.fields, "side": side_px})

    return preprocess


def _infer(tools: Tools) -> BatchHandler:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = tools.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a waiting thread would burn CPU that is measured
    session = onnxruntime.InferenceSession(tools.model(), options, providers=["CPUExecutionProvider"])
    model = _model(tools.model_size)

    def infer(messages: Sequence[Message]) -> Sequence[Message]:
        sides = [int(m.fields["side"] or 0) for m in messages]
        images = [np.frombuffer(m.body, dtype=np.uint8).reshape(3, side, side) for m, side in zip(messages, sides, strict=True)]
        (scores,) = session.run(["scores"], {"pixels": np.stack(images)})
        return [
            Message(fields={"id": m.fields["id"], "label": int(s.argmax()), "confidence": round(float(s.max()), 6), "model": model})
            for m, s in zip(messages, scores, strict=True)
        ]

    return infer


_COLUMNS = "id, label, confidence, model, created"


def _results(database: Database) -> Mapping[str, AsyncHandler]:
    database.execute(
        "CREATE TABLE IF NOT EXISTS results (id TEXT PRIMARY KEY, label INTEGER NOT NULL, confidence DOUBLE PRECISION NOT NULL,"
        " model TEXT NOT NULL, created DOUBLE PRECISION NOT NULL)"
    )
    database.execute("CREATE INDEX IF NOT EXISTS results_created ON results (created)")

    async def record(message: Message) -> Message:
        made = {**message.fields, "created": time.time()}
        kept = await database.aexecute(
            f"INSERT INTO results ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING RETURNING id",
            [made[column] for column in _COLUMNS.split(", ")],
        )
        return Message(fields=made) if kept else await review(message)

    async def review(message: Message) -> Message:
        id = str(message.fields["id"])
        rows = await database.aexecute(f"SELECT {_COLUMNS} FROM results WHERE id = %s", (id,)) if _ID.fullmatch(id) else []
        if not rows:
            raise KeyError(id)
        return Message(fields=dict(zip(_COLUMNS.split(", "), rows[0], strict=True)))

    async def listing(message: Message) -> Message:
        limit = str(message.fields.get("limit", LIMIT))
        if not (limit.isdecimal() and 1 <= int(limit) <= MAX_ROWS):
            raise InputError(f"limit: found {limit[:20]!r}, wanted a whole number from 1 to {MAX_ROWS}", "ask for fewer rows")
        rows = await database.aexecute(f"SELECT {_COLUMNS} FROM results ORDER BY created DESC, id LIMIT %s", (int(limit),))
        return _json(Listing(results=tuple(Row(id=r[0], label=r[1], confidence=r[2], model=r[3], created=r[4]) for r in rows)))

    async def counts(message: Message) -> Message:
        rows = await database.aexecute("SELECT label, COUNT(*) FROM results GROUP BY label ORDER BY label")
        return _json(Counts(counts={str(label): int(n) for label, n in rows}))

    return {"record": record, "review": review, "listing": listing, "counts": counts}


def _json(answer: Listing | Counts) -> Message:
    return Message(body=msgspec.json.encode(answer), fields={"content_type": "application/json"})


# ---- the oracle of each operation ------------------------------------------------------------------------------------


def _classified(request: Request, body: bytes) -> bool:
    return str(msgspec.json.decode(body, type=Row).label) == request.expected


def _found(request: Request, body: bytes) -> bool:
    row = msgspec.json.decode(body, type=Row)
    return row.id == request.expected and str(row.label) in CLASSES


def _listed(request: Request, body: bytes) -> bool:
    rows = msgspec.json.decode(body, type=Listing).results
    newest_first = all(a.created >= b.created for a, b in pairwise(rows))
    return min(PRELOADED, LIMIT) <= len(rows) <= LIMIT and newest_first and all(str(r.label) in CLASSES for r in rows)


def _counted(request: Request, body: bytes) -> bool:
    counts = msgspec.json.decode(body, type=Counts).counts
    return counts.keys() <= CLASSES and sum(counts.values()) >= PRELOADED


_CHECKS: dict[str, Callable[[Request, bytes], bool]] = {"classify": _classified, "result": _found, "listing": _listed, "counts": _counted}
