"""Calls between services: a message and the stages wanted in, the resulting message out, within a time-out and past instances that fail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final

import aiohttp
import msgspec

from lab.errors import MachineError
from lab.model import Edge, Message
from lab.runtime import timing
from lab.runtime.answers import REQUEST_ID_HEADER, Refused
from lab.runtime.config import FIELDS_HEADER, STAGES_PATH

FAILURES_TO_OPEN: Final = 5
COOL_S: Final = 1.0
KEEP_ALIVE_S: Final = 30  # shorter than a host keeps an idle connection
HEADER_BYTES: Final = 64 << 10  # of a message's fields
_FIELDS = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
_ADDRESSES = msgspec.json.Decoder(dict[str, tuple[str, ...]])


@dataclass(slots=True)
class Breaker:
    """Circuit breaker of one instance: closed, open after `failures_to_open` failures in a row; after `cool_s` half-open, which lets
    one trial through whose outcome closes it or opens it again."""

    failures_to_open: int = FAILURES_TO_OPEN
    cool_s: float = COOL_S
    failures: int = 0
    opened_s: float | None = None
    trial: bool = False

    def state(self, now_s: float) -> str:
        if self.opened_s is None:
            return "closed"
        return "half-open" if now_s - self.opened_s >= self.cool_s else "open"

    def admit(self, now_s: float) -> bool:
        """Whether a call may go; in the half-open state it is the trial, and must be settled."""
        state = self.state(now_s)
        if state == "half-open" and not self.trial:
            self.trial = True
            return True
        return state == "closed"

    def succeeded(self) -> None:
        self.failures, self.opened_s, self.trial = 0, None, False

    def failed(self, now_s: float) -> None:
        self.failures += 1
        self.trial = False
        if self.opened_s is not None or self.failures >= self.failures_to_open:
            self.opened_s = now_s

    def undecided(self) -> None:
        """The call ended without telling anything about the instance (it was cancelled)."""
        self.trial = False


@dataclass(slots=True)
class AddressBook:
    """service -> base URLs, from a JSON file that is replaced atomically; read again when it has changed."""

    path: Path
    _stamp: tuple[int, int] = (0, 0)
    _known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def urls(self, service: str) -> Sequence[str]:
        """Raises MachineError when the file or the service's entry is missing."""
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp != self._stamp:
                self._known, self._stamp = _ADDRESSES.decode(self.path.read_bytes()), stamp
        except (OSError, msgspec.DecodeError) as error:
            raise MachineError(f"the address book {self.path} cannot be read: {error}", "the provider writes it; deploy again") from error
        urls = self._known.get(service, ())
        if not urls:
            raise MachineError(f"no address is known for the service {service}", "it is not ready, or its instances died: `lab status`")
        return urls


class _Unavailable(Exception):
    """This try failed in a way that another may not: nothing was accepted."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status, self.what = status, what


class Caller:
    """All calls of one service process. `edges` are those that leave it; `changed(url, state)` hears of circuits that open or close."""

    def __init__(
        self,
        edges: Sequence[Edge],
        addresses: AddressBook,
        changed: Callable[[str, str], None] = lambda _url, _state: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._edges = {e.target: e for e in edges}
        self._addresses, self._changed, self._clock = addresses, changed, clock
        self._breakers: dict[str, Breaker] = {}
        self._turns: dict[str, int] = {}
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Nothing is connected yet."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_field_size=HEADER_BYTES,
            max_line_size=HEADER_BYTES,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, target: str, stages: Sequence[str], message: Message, recorder: timing.Recorder, request_id: str) -> Message:
        """Tries 1 + `retries` times, but only while the edge's `timeout_s` lasts and only when the try before was not accepted
        (no connection, or 503). Raises Refused: the callee's own 4xx, 502 for a broken answer, 503 when nobody takes it, 504 when
        time is up."""
        edge = self._edges[target]
        deadline_s = self._clock() + edge.timeout_s
        headers = {FIELDS_HEADER: json.dumps(message.fields, separators=(",", ":")), REQUEST_ID_HEADER: request_id}
        path = f"{STAGES_PATH}/{','.join(stages)}"
        failure = _Unavailable(503, f"{target} was not tried")
        for _ in range(1 + edge.retries):
            remaining_s = deadline_s - self._clock()
            if remaining_s <= 0:
                break
            url = self._pick(target)
            try:
                return await self._guarded(url, path, message.body, headers, remaining_s, target, recorder)
            except _Unavailable as error:
                failure = error
        raise Refused(failure.status, failure.what, f"is {target} running? `lab status`, `lab logs`")

    def _pick(self, target: str) -> str:
        """Round robin over the instances whose circuit lets a call through. Raises Refused (503) when none does."""
        urls = self._addresses.urls(target)
        turn = self._turns.get(target, 0)
        for i in range(len(urls)):
            url = urls[(turn + i) % len(urls)]
            if self._breaker(url).admit(self._clock()):
                self._turns[target] = (turn + i + 1) % len(urls)
                return url
        raise Refused(
            503, f"the circuit to {target} is open: its {len(urls)} instance(s) failed repeatedly", f"it is tried again after {COOL_S:g} s"
        )

    def _breaker(self, url: str) -> Breaker:
        return self._breakers.setdefault(url, Breaker())

    async def _guarded(
        self, url: str, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float, target: str, recorder: timing.Recorder
    ) -> Message:
        """One try, whose outcome its instance's circuit breaker is told."""
        breaker = self._breaker(url)
        before = breaker.state(self._clock())
        settled = False
        try:
            message = await self._try(url, path, body, headers, timeout_s, target, recorder)
            breaker.succeeded()
            settled = True
            return message
        except (_Unavailable, Refused) as error:
            if error.status >= 502:
                breaker.failed(self._clock())
            else:
                breaker.succeeded()
            settled = True
            raise
        finally:
            if not settled:
                breaker.undecided()
            after = breaker.state(self._clock())
            if after != before:
                self._changed(url, after)

    async def _try(
        self, url: str, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float, target: str, recorder: timing.Recorder
    ) -> Message:
        assert self._session is not None, "Caller.open was not awaited"
        began = perf_counter()
        try:
            async with self._session.post(
                url + path, data=body, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s)
            ) as response:
                answer = await response.read()
        except aiohttp.ClientConnectorError as error:
            raise _Unavailable(503, f"{target} at {url} cannot be reached: {error.strerror or error}") from error
        except TimeoutError as error:
            raise Refused(504, f"{target} at {url} did not answer within {timeout_s:.3g} s", "overloaded, or stuck: `lab logs`") from error
        except aiohttp.ClientError as error:
            raise Refused(502, f"{target} at {url} broke off: {type(error).__name__}: {error}", "did it die? `lab logs`") from error
        recorder.merge(response.headers.get(timing.HEADER, ""), target, began, perf_counter(), len(body) + len(answer))
        if response.status == 200:
            return Message(body=answer, fields=_FIELDS.decode(response.headers.get(FIELDS_HEADER, "{}")))
        raise _error(response.status, answer, target)


class _ErrorBody(msgspec.Struct):
    error: str = ""
    hint: str = ""


def _error(status: int, answer: bytes, target: str) -> _Unavailable | Refused:
    """The callee's 4xx are the client's own; 503 may be tried again; 504 stays; all else is a broken service behind this one: 502."""
    try:
        body = msgspec.json.decode(answer, type=_ErrorBody)
    except msgspec.DecodeError:
        body = _ErrorBody(error=f"{target} answered {status} with {answer[:80]!r}")
    if status == 503:
        return _Unavailable(503, body.error)
    return Refused(status if 400 <= status < 500 or status == 504 else 502, body.error, body.hint)
