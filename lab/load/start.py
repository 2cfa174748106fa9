"""When the windows of a driver begin: at once, or, for one of several, at the moment that all are told once all are ready."""

from __future__ import annotations

import time
from collections.abc import Callable

from gevent.event import AsyncResult

from lab.load.job import Line

LEAD_S = 0.02  # from the decision to begin a phase to its 0
now = time.monotonic


class Start:
    def __init__(self, say: Callable[[Line], None], together: bool) -> None:
        self._say, self._together = say, together
        self._told: AsyncResult[float] = AsyncResult()

    def tell(self, at_s: float) -> None:
        self._told.set(at_s)

    def ready(self) -> bool:
        """Whether warm-up may end here; one of several goes on with it until the moment is near."""
        if self._together:
            self._say(Line(ready=True))
        return not self._together

    def reached(self, at_s: float) -> bool:
        return bool(self._told.ready() and at_s >= self._told.get())

    def moment(self) -> float:
        return self._told.get() if self._together else now() + LEAD_S
