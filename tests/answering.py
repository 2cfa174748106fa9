"""A small HTTP service of the tests' own: answers by path, can freeze, goes to zero and fills; in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
import time
from types import TracebackType
from typing import Self

HANG_S = 600.0
QUEUE_S = 0.01


class Answering:
    """POST and GET. /right gives the body back, /wrong another one, /fails 503, /cut breaks off, /slow takes `slow_s`, /hang never answers,
    /queue takes QUEUE_S and answers one after the other.
    /-/drain, /-/fill and /-/status as an activator has them; the first answer after a drain says that it was cold.
    With `freeze_s` the whole service stands still for that long, every `period_s`."""

    def __init__(self, *, freeze_s: float = 0.0, period_s: float = 1.0, slow_s: float = 2.0) -> None:
        self._freeze_s, self._period_s, self._slow_s = freeze_s, period_s, slow_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="answering", daemon=True)
        self._ready = threading.Event()
        self._cold = False
        self.frozen_s: list[tuple[float, float]] = []  # from and to, time.monotonic
        self.seen: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop, self._one = asyncio.Event(), asyncio.Lock()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        if self._freeze_s:
            self._loop.call_later(self._period_s, self._freeze, self._loop.time() + self._period_s)
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    def _freeze(self, due: float) -> None:
        began = time.monotonic()
        time.sleep(self._freeze_s)  # the point: nothing of this service moves
        self.frozen_s.append((began, time.monotonic()))
        self._loop.call_at(due + self._period_s, self._freeze, due + self._period_s)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                await self._answer(path, body if method == "POST" else path.encode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    async def _answer(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        name = path.split("/")[1]
        self.seen.append(path if name == "-" else name)
        status, extra = 200, ""
        if name == "-":
            self.bodies[path] = body
            self._cold = self._cold or path.endswith("drain")
        elif self._cold:
            extra, self._cold = 'server-timing: fn;dur=812.5;desc="cold@activator+1.2"\r\n', False
        if name == "wrong":
            body = b"something else"
        elif name == "fails":
            status = 503
        elif name in ("slow", "hang"):
            await asyncio.sleep(self._slow_s if name == "slow" else HANG_S)
        elif name == "queue":
            async with self._one:
                await asyncio.sleep(QUEUE_S)
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode())
        if name == "cut":
            writer.write(body[: len(body) // 2])
            raise ConnectionResetError
        writer.write(body)
        await writer.drain()
