"""One window of a closed loop: so many requests on the wire, the next is sent when one of them is answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import gevent
import gevent.pool

from lab.load.job import Window
from lab.load.shots import Shot
from lab.load.transport import Clock
from lab.load.watch import Watch
from lab.model import Load, Sample

now = time.monotonic


class Sender(Protocol):
    load: Load
    clock: Clock
    origin_s: float
    flights: gevent.pool.Group

    def enter_window(self, step: int, total: int, rate_per_s: float | None = None) -> None: ...
    def send(self, shot: Shot, number: int) -> Sample: ...
    def abort(self, greenlet: gevent.Greenlet) -> None: ...


def window(sender: Sender, shots: Sequence[Shot], watch: Watch, begin_s: float, first: int) -> tuple[Window, ...]:
    """Ends with the last answer; after `window_s` nothing more is sent. `first`: the number of the first request."""
    load = sender.load
    sender.enter_window(0, len(shots))
    sender.clock.until(begin_s)
    waiting = iter(shots)

    def client() -> None:
        for shot in waiting:
            if now() >= begin_s + load.window_s or sender.send(shot, first + shot.place).error == "censored":
                return

    for _ in range(load.max_in_flight):
        greenlet = gevent.Greenlet(client)
        greenlet.link_exception(sender.abort)
        sender.flights.start(greenlet)
    sender.flights.join()  # every request has a time-out of its own
    start_s = begin_s - sender.origin_s
    return (watch.window(0, start_s, now() - sender.origin_s),)
