"""Connections between services against a server that answers raw bytes: which are kept, and how each way to fail is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from lab.runtime.connections import Answer, BrokenOff, Connections, Unreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Lab-Fields: {}\r\n\r\nok"
LIMIT_S = 10.0


class Server:
    """Says `answers` in order, the last one again and again, one per request; an empty one hangs up; None never comes."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers, self.asked, self.connections = answers, list[bytes](), 0
        self.writers = list[asyncio.StreamWriter]()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.asked.append(head + await reader.readexactly(length))
                answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
                if answer == b"":
                    return
                if answer is not None:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return request.param  # type: ignore[no-any-return]


def run(factory: Callable[[], asyncio.AbstractEventLoop], server: Server, work: Callable[[Connections], Awaitable[None]]) -> None:
    async def main() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/functions/one"
        connections = Connections()
        try:
            async with asyncio.timeout(LIMIT_S):
                await work(connections)
        finally:
            await connections.close()
            listening.close()
            await asyncio.gather(*(w.wait_closed() for w in server.writers), return_exceptions=True)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def post(connections: Connections, server: Server, body: bytes = b"x", timeout_s: float = LIMIT_S) -> Awaitable[Answer]:
    return connections.post(server.url, "/stages/infer", {"x-lab-fields": "{}"}, body, timeout_s)


def test_one_connection_is_kept_for_one_call_after_the_other(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    server = Server(OK)

    async def work(connections: Connections) -> None:
        for body in (b"a" * 300_000, b""):
            answer = await post(connections, server, body)
            assert answer == Answer(200, {b"content-length": b"2", b"x-lab-fields": b"{}"}, b"ok")
            assert server.asked[-1].startswith(b"POST /functions/one/stages/infer HTTP/1.1\r\nhost: 127.0.0.1:") and server.asked[
                -1
            ].endswith(b"\r\n" + body)
        assert server.connections == 1
        await asyncio.gather(post(connections, server), post(connections, server))
        assert server.connections == 2, "calls at once need one each"

    run(loop_factory, server, work)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"", BrokenOff),
        (b"no HTTP at all\r\n\r\n", BrokenOff),
        (None, TimeoutError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", TimeoutError),
    ],
    ids=["hung up", "no HTTP", "silent", "never complete"],
)
def test_a_failed_call_takes_its_connection_with_it(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], answer: bytes | None, wanted: type[Exception]
) -> None:
    server = Server(answer, OK)

    async def work(connections: Connections) -> None:
        with pytest.raises(wanted):
            await post(connections, server, timeout_s=0.2 if wanted is TimeoutError else LIMIT_S)
        assert (await post(connections, server)).body == b"ok"
        assert server.connections == 2

    run(loop_factory, server, work)


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
        OK + OK,  # the second one would be taken for the answer to the next call
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["told to close", "one answer too many", "HTTP/1.0"],
)
def test_a_connection_that_cannot_be_trusted_is_not_kept(loop_factory: Callable[[], asyncio.AbstractEventLoop], first: bytes) -> None:
    server = Server(first, OK)

    async def work(connections: Connections) -> None:
        await post(connections, server)
        assert (await post(connections, server)).status == 200
        assert server.connections == 2

    run(loop_factory, server, work)


def test_a_kept_connection_that_the_server_closed_is_replaced(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    server = Server(OK)

    async def work(connections: Connections) -> None:
        await post(connections, server)
        (kept,) = connections._idle[server.url]
        server.writers[0].close()
        await kept.lost
        assert (await post(connections, server)).body == b"ok"
        assert server.connections == 2

    run(loop_factory, server, work)


def test_nobody_listens(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    server = Server(OK)

    async def work(connections: Connections) -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            server.url = f"http://127.0.0.1:{holder.getsockname()[1]}"
            with pytest.raises(Unreachable, match="refused"):
                await post(connections, server)

    run(loop_factory, server, work)
