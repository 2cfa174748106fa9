"""Requests of a workload as bytes of HTTP/1.1, and what an answer's headers say about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from lab.errors import InputError
from lab.model import Request

_CONTROL, _BREAK = re.compile(r"[\x00-\x20\x7f]"), re.compile(r"[\r\n\x00]")
# A cold start is a metric called `cold`, or an entry of that kind as lab.runtime.timing writes it.
_COLD = re.compile(r'(?:^|,)\s*cold\s*(?:;|,|$)|desc="cold@')


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where requests go; `prefix` is put before each path."""

    host: str
    port: int
    secure: bool
    prefix: str

    @staticmethod
    def of(url: str) -> Address:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            wanted = "http://host[:port][/prefix] or https://..."
            raise InputError(f"url: found {url!r}, wanted {wanted}", "set `url` in lab.toml or LAB_URL")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return Address(host=parts.hostname, port=port, secure=secure, prefix=parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """An answer with its moments on time.monotonic; header names are in lower case, repeated ones joined by ", "."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    first_byte_s: float
    done_s: float
    bytes_received: int


def head(request: Request, address: Address) -> bytes:
    """The request's first line and headers. Raises InputError for a path or header that would break the message."""
    path = address.prefix + request.path
    fields = {"host": address.authority, "user-agent": "ai-cloud-lab", "accept": "*/*"}
    if request.body or request.method == "POST":
        fields["content-length"] = str(len(request.body))
    fields |= {name.lower(): value for name, value in request.headers.items()}
    lines = [f"{request.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if not path.startswith("/") or _CONTROL.search(path) or any(_BREAK.search(line) for line in lines):
        raise InputError(
            f"request {request.operation}: path {path!r} or a header cannot be sent", "begin paths with /, percent-encode them"
        )
    try:
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
    except UnicodeEncodeError as error:
        found = error.object[error.start : error.end]
        raise InputError(f"request {request.operation}: found {found!r} in a path or header", "percent-encode it") from error


def cold(server_timing: str) -> bool:
    return "cold" in server_timing and _COLD.search(server_timing) is not None
