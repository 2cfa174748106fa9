"""Connections, and a clock to wait by, for the greenlets of the driver: bytes of a request go out, an answer with its moments comes in."""

from __future__ import annotations

import select
import socket
import ssl
import time

import gevent
import gevent.monkey
import gevent.socket
from geventhttpclient.response import HTTPParseError, HTTPSocketResponse

from lab.errors import MachineError
from lab.load import wire
from lab.load.timerfd import TimerFd
from lab.model import Request

ORDER_TIMEOUT_S = 65.0  # the activator itself gives up after 60
BROKEN = (OSError, HTTPParseError)  # what an exchange raises when no whole answer came
now = time.monotonic
_poll = gevent.monkey.get_original("select", "poll") if hasattr(select, "poll") else None


class Clock:
    """Waits for moments of time.monotonic; with a timer of the kernel's where there is one (0.06 ms late at the median instead of 0.6)."""

    def __init__(self) -> None:
        self._timer = TimerFd() if TimerFd.available else None
        if self._timer is not None:
            self._watcher = gevent.get_hub().loop.io(self._timer.fd, 1)
            self._watcher.priority = 2  # before the answers that arrived meanwhile

    def until(self, at_s: float) -> None:
        wait_s = at_s - now()
        if wait_s <= 0:
            gevent.sleep(0)
        elif self._timer is None:
            gevent.sleep(wait_s)
        else:
            self._timer.arm(at_s)
            gevent.get_hub().wait(self._watcher)
            self._timer.clear()


class Answer(HTTPSocketResponse):
    """Stamps its first byte and counts all of them."""

    received = 0
    first_byte_s = 0.0

    def feed(self, data: str | bytes) -> None:
        if not self.received:
            self.first_byte_s = now()
        self.received += len(data)
        super().feed(data)


class Connections:
    """Kept-alive connections to one address, as many as are needed: no arrival waits for another's. A request is never sent twice."""

    def __init__(self, address: wire.Address, timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._idle: list[gevent.socket.socket] = []
        self._tls = ssl.create_default_context() if address.secure else None
        try:
            found = gevent.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise MachineError(f"the host {address.host!r} has no address: {error}", "check `url`, and the network") from error
        self._places = [(family, place) for family, _, _, _, place in found]

    def _connect(self) -> gevent.socket.socket:
        for k, (family, place) in enumerate(self._places):
            connection = gevent.socket.socket(family, socket.SOCK_STREAM)
            connection.settimeout(self._timeout_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                connection.connect(place)
                self._places.insert(0, self._places.pop(k))
                return self._tls.wrap_socket(connection, server_hostname=self.address.host) if self._tls else connection
            except BaseException as error:
                connection.close()
                if k == len(self._places) - 1 or not isinstance(error, OSError):
                    raise
        raise AssertionError("getaddrinfo gives one place at least")

    def _take(self) -> gevent.socket.socket:
        while self._idle:
            connection = self._idle.pop()
            if not self._readable(connection):
                return connection
            connection.close()  # the server has closed it, or sent what nobody asked for
        return self._connect()

    @staticmethod
    def _readable(connection: gevent.socket.socket) -> bool:
        if _poll is None:
            return False
        look = _poll()
        look.register(connection.fileno(), select.POLLIN)
        return bool(look.poll(0))

    def exchange(self, head: bytes, body: bytes, method: str) -> wire.Answered:
        """Raises OSError or HTTPParseError."""
        connection = self._take()
        try:
            connection.sendall(head + body if body else head)
            answer = Answer(connection, block_size=65536, method=method)
            content = answer.read()
            done_s = now()
        except BaseException:
            connection.close()
            raise
        if answer.should_close():
            connection.close()
        else:
            self._idle.append(connection)
        headers: dict[str, str] = {}
        for name, value in answer.items():
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        return wire.Answered(
            status=answer.status_code,
            headers=headers,
            body=content,
            first_byte_s=answer.first_byte_s,
            done_s=done_s,
            bytes_received=answer.received,
        )


def order(url: str, path: str, body: bytes = b"") -> None:
    """POSTs JSON to the activator at `url`. Raises MachineError when it does not answer, or refuses."""
    address = wire.Address.of(url)
    request = Request(operation=path, method="POST", path=path, body=body, headers={"content-type": "application/json"})
    try:
        with gevent.Timeout(ORDER_TIMEOUT_S):
            answered = Connections(address, ORDER_TIMEOUT_S).exchange(wire.head(request, address), body, "POST")
    except (gevent.Timeout, *BROKEN) as error:
        raise MachineError(f"{url}{path} does not answer: {error}", "the log of the activator says why") from error
    if answered.status >= 400:
        found = answered.body[:200].decode(errors="replace")
        raise MachineError(f"{url}{path} answers {answered.status}: {found}", "see the activator's log")
