"""What a service process tells its provider: events in, marked lines of standard output out."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import msgspec

from lab.model import Event
from lab.model.workload import Scalar
from lab.runtime.config import EVENT_MARK


def event(kind: str, service: str, values: Mapping[str, Scalar]) -> Event:
    """Something that happened now, by time.monotonic of this machine."""
    return Event(at_s=time.monotonic(), clock="monotonic", kind=kind, service=service, values=values)


def print_events(*events: Event) -> None:
    """In one write."""
    sys.stdout.write("".join(f"{EVENT_MARK}{msgspec.json.encode(each).decode()}\n" for each in events))
    sys.stdout.flush()
