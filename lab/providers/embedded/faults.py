"""Breaks instances on purpose: from an instance and a fault to signals, and to events that tell when it began and ended."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial

import psutil

from lab.contracts import Fault
from lab.errors import InputError
from lab.providers.embedded.instances import Instance
from lab.spawn import Process

FAULTS: tuple[Fault, ...] = ("kill", "pause")
END_S = 10.0
Tell = Callable[[str, str, Mapping[str, str | int | float | None]], None]


class Faults:
    """Those of one deployment. An instance that was killed is not started again: a fixed service has one less from then on (Kubernetes
    would restart it), a function is started by the activator for the next request."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._paused: dict[int, tuple[Instance, threading.Timer]] = {}

    def inject(self, instance: Instance, fault: Fault, duration_s: float) -> None:
        if fault == "pause" and duration_s <= 0:
            raise InputError(f"duration_s: found {duration_s:g}, wanted more than 0", "say how long the instance stands still")
        (self._kill if fault == "kill" else partial(self._pause, duration_s=duration_s))(instance)

    def _kill(self, instance: Instance) -> None:
        self._say(instance, "kill", "begin")
        _send(instance.process, signal.SIGKILL)
        instance.process.wait(END_S)
        self._say(instance, "kill", "end")

    def _pause(self, instance: Instance, duration_s: float) -> None:
        """A second pause while the first lasts is refused: they would end each other."""
        timer = threading.Timer(duration_s, self.resume, [instance.process])
        timer.daemon = True
        with self._lock:
            if instance.process.pid in self._paused:
                raise InputError(f"instance {instance.number} of {instance.service} is paused already", "wait until it goes on")
            self._paused[instance.process.pid] = (instance, timer)
            self._say(instance, "pause", "begin")
            _send(instance.process, signal.SIGSTOP)
            timer.start()

    def resume(self, process: Process) -> None:
        """It goes on now, also before its time; nothing where it is not paused. Before a stop, since a process that stands still does not
        see SIGTERM."""
        with self._lock:
            found = self._paused.pop(process.pid, None)
            if found is None:
                return
            instance, timer = found
            timer.cancel()
            _send(process, signal.SIGCONT)
            self._say(instance, "pause", "end")

    def _say(self, instance: Instance, fault: Fault, phase: str) -> None:
        self._tell("fault", instance.service, {"fault": fault, "phase": phase, "instance": instance.number})


def _send(process: Process, number: signal.Signals) -> None:
    """To the process, and to all below it."""
    for each in process.tree():
        with contextlib.suppress(psutil.NoSuchProcess):
            each.send_signal(number)
