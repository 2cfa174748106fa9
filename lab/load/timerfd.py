"""A kernel timer that an event loop can wait for with microseconds, where the loop's own timers round up to whole milliseconds."""

from __future__ import annotations

import ctypes
import os
import sys

_MONOTONIC, _ABSOLUTE = 1, 1


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Moment), ("value", _Moment))


class TimerFd:
    """`fd` becomes readable at the time that was armed. Linux only: `available` says so. (os.timerfd_create comes with Python 3.13.)"""

    available = sys.platform == "linux"

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._setting = _Setting()

    def arm(self, at_s: float) -> None:
        """`at_s`: time.monotonic; a time that has passed fires at once."""
        seconds = int(at_s)
        self._setting.value.seconds = seconds
        self._setting.value.nanoseconds = max(1, int((at_s - seconds) * 1e9))
        if self._libc.timerfd_settime(self.fd, _ABSOLUTE, ctypes.byref(self._setting), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self) -> None:
        """Takes the expiry, so that `fd` is no longer readable."""
        os.read(self.fd, 8)

    def close(self) -> None:
        os.close(self.fd)
