"""Breaks instances on purpose: from an instance and a fault to signals, and to events that tell when it began and ended."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import psutil

from lab.contracts import Fault
from lab.errors import InputError
from lab.providers.embedded.instances import Instance
from lab.spawn import Process

FAULTS: tuple[Fault, ...] = ("kill", "pause")
END_S = 10.0


class Tell(Protocol):
    """`at_s`: when it happened, of time.monotonic; now if not given."""

    def __call__(self, kind: str, service: str, values: Mapping[str, str | int | float | None], at_s: float | None = None) -> None: ...


@dataclass(frozen=True, kw_only=True)
class _Paused:
    """`tree`: the processes that stand still, so that they go on without a search, which takes ten milliseconds."""

    instance: Instance
    tree: Sequence[psutil.Process]
    timer: threading.Timer


class Faults:
    """Those of one deployment. An instance that was killed is not started again: a fixed service has one less from then on (Kubernetes
    would restart it), a function is started by the activator for the next request."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._paused: dict[int, _Paused] = {}

    def inject(self, instance: Instance, fault: Fault, duration_s: float) -> None:
        if fault == "kill":
            self._kill(instance)
        elif duration_s > 0:
            self._pause(instance, duration_s)
        else:
            raise InputError(f"duration_s: found {duration_s:g}, wanted more than 0", "say how long the instance stands still")

    def _kill(self, instance: Instance) -> None:
        tree = instance.process.tree()
        self._say(instance, "kill", "begin", time.monotonic())
        _send(tree, signal.SIGKILL)
        instance.process.wait(END_S)
        self._say(instance, "kill", "end", time.monotonic())

    def _pause(self, instance: Instance, duration_s: float) -> None:
        """A second pause while the first lasts is refused: they would end each other."""
        tree = instance.process.tree()
        with self._lock:
            if instance.process.pid in self._paused:
                raise InputError(f"instance {instance.number} of {instance.service} is paused already", "wait until it goes on")
            began_s = _send(tree, signal.SIGSTOP)
            timer = threading.Timer(began_s + duration_s - time.monotonic(), self.resume, [instance.process])
            timer.daemon = True
            self._paused[instance.process.pid] = _Paused(instance=instance, tree=tree, timer=timer)
            timer.start()
        self._say(instance, "pause", "begin", began_s)

    def resume(self, process: Process) -> None:
        """It goes on now, also before its time; nothing where it is not paused. Before a stop, since a process that stands still does not
        see SIGTERM."""
        with self._lock:
            found = self._paused.pop(process.pid, None)
            if found is None:
                return
            found.timer.cancel()
            ended_s = _send(found.tree, signal.SIGCONT)
        self._say(found.instance, "pause", "end", ended_s)

    def _say(self, instance: Instance, fault: Fault, phase: str, at_s: float) -> None:
        self._tell("fault", instance.service, {"fault": fault, "phase": phase, "instance": instance.number}, at_s)


def _send(tree: Sequence[psutil.Process], number: signal.Signals) -> float:
    """To a process and all below it; when the first had it, of time.monotonic."""
    sent_s = 0.0
    for each in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.send_signal(number)
        sent_s = sent_s or time.monotonic()
    return sent_s or time.monotonic()
