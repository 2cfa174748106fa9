"""The floor of the path: the graph and the operations of `vision`, with stages that only pass the message on."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from lab.contracts import Handlers, Tools
from lab.errors import InputError
from lab.model import Message, Operation, Request, Response, Stage
from lab.model.workload import ModelSize

HEAD = b"noop:"  # a body that does not begin with it is refused, as a real workload refuses what is not an image
BODY_BYTES = 64


def _pass(message: Message) -> Message:
    return message


def _ingest(message: Message) -> Message:
    if not message.body.startswith(HEAD):
        raise InputError(f"the body begins with {message.body[:8]!r}, wanted {HEAD!r}", "send what Workload.payload makes")
    return message


def _pass_all(messages: Sequence[Message]) -> Sequence[Message]:
    return messages


class Workload:
    """Flags such as `uses_model` and `owns` only make architectures place it as they place `vision`: no handler opens or calls anything.
    An answer is the request again: the body of a write, the id of a read."""

    name = "noop"
    model_sizes: tuple[ModelSize, ...] = ("S", "M", "L")
    stages = (
        Stage(name="ingest"),
        Stage(name="preprocess", after=("ingest",)),
        Stage(name="infer", after=("preprocess",), uses_model=True, batchable=True),
        Stage(name="record", after=("infer",), owns="results"),
        Stage(name="review", owns="results"),
    )
    operations = (
        Operation(
            name="classify",
            kind="write",
            method="POST",
            path="/v1/classify",
            stages=("ingest", "preprocess", "infer", "record"),
            weight=0.9,
            headline=True,
            accepts="application/octet-stream",
            summary="Gives the body back.",
        ),
        Operation(
            name="result", kind="read", method="GET", path="/v1/results/{id}", stages=("review",), weight=0.1, summary="Gives the id back."
        ),
    )

    def wrong_rate_limit(self, model_size: ModelSize) -> float:
        return 0.0

    def preload(self, seed: int) -> Sequence[Request]:
        return ()

    def payload(self, seed: int, index: int, operation: str) -> Request:
        digits = random.Random(f"{seed}/{index}/{operation}").randbytes(BODY_BYTES // 2).hex()
        if operation == "result":
            return Request(operation=operation, method="GET", path=f"/v1/results/{digits}", expected=digits)
        return Request(
            operation=operation,
            method="POST",
            path="/v1/classify",
            body=HEAD + digits.encode(),
            headers={"content-type": "application/octet-stream"},
            expected=digits,
        )

    def check(self, request: Request, response: Response) -> bool:
        if request.operation == "result":
            return response.body == b'{"id":"%s"}' % request.expected.encode()
        return response.body == request.body

    def model_name(self, model_size: ModelSize) -> str | None:
        return None

    def model_bytes(self, model_size: ModelSize) -> tuple[bytes, str]:
        raise InputError("the workload noop has no model", "ask model_name first: it is None for such a workload")

    def handlers(self, stages: Collection[str], tools: Tools) -> Handlers:
        single = {"ingest": _ingest, "preprocess": _pass, "infer": _pass, "record": _pass, "review": _pass}
        return Handlers(single={name: single[name] for name in stages}, batch={"infer": _pass_all} if "infer" in stages else {})
