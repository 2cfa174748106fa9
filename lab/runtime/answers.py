"""The one HTTP contract of all service processes: reads a request's body within its limit, and turns errors into JSON answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from lab.errors import InputError, LabError, MachineError
from lab.model.workload import Scalar

MAX_BODY_BYTES: Final = 8 << 20
DRAINED_BYTES: Final = 4 * MAX_BODY_BYTES
REQUEST_ID_HEADER: Final = "x-request-id"
JSON_TYPE: Final = b"application/json"
Headers = Sequence[tuple[bytes, bytes]]


class Refused(LabError):
    """An answer whose HTTP status is already decided; for a callee's answer `what` and `hint` are the callee's."""

    def __init__(self, status: int, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.status = status


class Gone(Exception):
    """The client hung up before its request was complete; there is nobody to answer."""


EXPECTED: Final = (LabError, KeyError, TimeoutError)  # what handlers and calls may raise; all else is a bug and gives 500


def status_of(error: BaseException) -> int:
    match error:
        case Refused():
            return error.status
        case InputError():
            return 413 if error.what.startswith("too large") else 400
        case KeyError():
            return 404
        case MachineError():
            return 503
        case TimeoutError():
            return 504
    return 500


def explain(error: BaseException) -> bytes:
    """The JSON body of an error: {"error": what, "hint": next step}."""
    match error:
        case LabError():
            what, hint = error.what, error.hint
        case KeyError():
            what, hint = f"there is no {error.args[0] if error.args else 'such key'}", "check the id; a listing shows what there is"
        case TimeoutError():
            what, hint = str(error) or "it took too long", "try again, or at a lower rate"
        case _:
            what, hint = "the service failed on this request", "its log says where: `lab logs`"
    return render({"error": what, "hint": hint})


def render(fields: Mapping[str, Scalar]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of that (lower-case) name, or b""."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Raises Refused (413) for a body over MAX_BODY_BYTES, once it has come to its end or to DRAINED_BYTES: a client that still sends
    would find its connection reset, and no answer. Raises Gone when the client hangs up."""
    length = header(scope, b"content-length")
    if length.isdigit() and int(length) > DRAINED_BYTES:
        raise _too_large(f"{int(length)} bytes")
    first = await receive()
    _refuse_gone(first["type"])
    body: bytes = first.get("body", b"")
    if not first.get("more_body", False):
        return body
    chunks, size, more = [body], len(body), True
    while more and size <= DRAINED_BYTES:
        message = await receive()
        _refuse_gone(message["type"])
        chunk: bytes = message.get("body", b"")
        size, more = size + len(chunk), message.get("more_body", False)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        else:
            chunks.clear()
    if size > MAX_BODY_BYTES:
        raise _too_large("more" if more else f"{size} bytes")
    return b"".join(chunks)


def _refuse_gone(kind: str) -> None:
    if kind == "http.disconnect":
        raise Gone


def _too_large(found: str) -> Refused:
    return Refused(413, f"too large: a body of {found}, wanted at most {MAX_BODY_BYTES} bytes", "send a smaller one")


async def answer(send: Send, status: int, body: bytes, content_type: bytes = JSON_TYPE, headers: Headers = ()) -> None:
    start = [(b"content-length", b"%d" % len(body)), (b"content-type", content_type), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def answer_error(send: Send, error: BaseException, headers: Headers = ()) -> None:
    """A refused body may not have been read to its end, so its connection is closed."""
    status = status_of(error)
    closing = [(b"connection", b"close")] if status == 413 else []
    await answer(send, status, explain(error), headers=[*headers, *closing])
