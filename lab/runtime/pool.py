"""The instances of one function as a pure state machine: requests, starts and the time go in, what to do comes out.

Policy, after AWS Lambda: an instance works on `concurrency` = 1 request at a time. A request takes the instance that became free last, so
that the others can stay idle and be stopped; without a free one it waits in one queue, first come, first served, and an instance is started
for every waiting request that none is starting for, up to `max_instances` in all and `max_concurrent_starts` at once. Unlike Lambda a
waiting request is not bound to its start: whatever instance is free first takes the head of the queue. A request that waited
`queue_deadline_s` is refused. A free instance is stopped after `idle_timeout_s`. A start that fails takes the head of the queue with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from lab.model import Service


@dataclass(frozen=True, slots=True)
class Start:
    """Start one more instance, then tell `started` or `start_failed` with this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop this free instance, then tell `stopped`."""

    instance: str


@dataclass(frozen=True, slots=True)
class Assign:
    """Send the request to the instance, then tell `finished` or `died`. `cold_s` of the wait passed while that instance started."""

    request: int
    instance: str
    queue_s: float
    cold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refuse:
    """`failed_start` when the instance that was started for it could not; else its deadline passed."""

    request: int
    waited_s: float
    failed_start: bool = False


Action = Start | Stop | Assign | Refuse


@dataclass(frozen=True, slots=True)
class _Waiting:
    request: int
    since_s: float


@dataclass(slots=True)
class Pool:
    """Times are seconds on one monotonic clock. Every method returns what is to be done now, in order."""

    service: Service
    idle: list[tuple[str, float]] = field(default_factory=list)  # (instance, free since), the last is the next to be used
    busy: dict[str, int] = field(default_factory=dict)  # instance -> request
    starting: dict[int, float] = field(default_factory=dict)  # number of the start -> when it began
    stopping: set[str] = field(default_factory=set)
    waiting: deque[_Waiting] = field(default_factory=deque)
    floor: int = 0  # instances wanted by `fill`, until they are there
    draining: bool = False
    starts: int = 0

    @property
    def instances(self) -> int:
        """Those that take memory: free, busy, starting and stopping."""
        return len(self.idle) + len(self.busy) + len(self.starting) + len(self.stopping)

    @property
    def ready(self) -> int:
        return len(self.idle) + len(self.busy)

    def counts(self) -> dict[str, int]:
        sets = {"idle": self.idle, "busy": self.busy, "starting": self.starting, "stopping": self.stopping, "waiting": self.waiting}
        return {name: len(members) for name, members in sets.items()}

    @property
    def _live(self) -> int:
        return self.instances - len(self.stopping)

    def arrive(self, request: int, now_s: float) -> list[Action]:
        self.draining = False
        if self.idle and not self.waiting:
            instance, _ = self.idle.pop()
            self.busy[instance] = request
            return [Assign(request, instance, 0.0)]
        self.waiting.append(_Waiting(request, now_s))
        return list(self._starts(now_s))

    def return_unsent(self, instance: str, since_s: float, now_s: float) -> list[Action]:
        """`instance` could not be reached with its request, which never left: it is gone, and the request goes to the head of the queue."""
        request = self.busy.pop(instance)
        self.waiting.appendleft(_Waiting(request, since_s))
        if self.idle:
            free, _ = self.idle.pop()
            return self._free(free, now_s)
        return list(self._starts(now_s))

    def withdraw(self, request: int) -> None:
        """Its client hung up while it waited."""
        self.waiting = deque(w for w in self.waiting if w.request != request)

    def finished(self, instance: str, now_s: float) -> list[Action]:
        del self.busy[instance]
        return self._free(instance, now_s)

    def died(self, instance: str, now_s: float) -> list[Action]:
        self.busy.pop(instance, None)
        self.idle = [(i, since) for i, since in self.idle if i != instance]
        return list(self._starts(now_s))

    def started(self, number: int, instance: str, now_s: float) -> list[Action]:
        began_s = self.starting.pop(number)
        actions = self._free(instance, now_s, began_s)
        if self.ready >= self.floor:
            self.floor = 0
        return [*actions, *self._starts(now_s)]

    def start_failed(self, number: int, now_s: float) -> list[Action]:
        del self.starting[number]
        self.floor = 0
        refused: list[Action] = []
        if self.waiting:
            head = self.waiting.popleft()
            refused.append(Refuse(head.request, now_s - head.since_s, failed_start=True))
        return [*refused, *self._starts(now_s)]

    def stopped(self, instance: str, now_s: float) -> list[Action]:
        self.stopping.discard(instance)
        return list(self._starts(now_s))

    def adopt(self, instance: str, now_s: float) -> list[Action]:
        """An instance that stood before this pool."""
        return self._free(instance, now_s)

    def fill(self, count: int, now_s: float) -> list[Action]:
        """Starts instances until there are `count`, within the service's limits; nobody needs to wait for them."""
        self.draining = False
        wanted = min(count, self.service.max_instances)
        self.floor = wanted if wanted > self.ready else 0
        return list(self._starts(now_s))

    def drain(self, now_s: float) -> list[Action]:
        """Stops every free instance now, and those that become free as soon as they do, until the next request arrives."""
        self.draining, self.floor = True, 0
        return [self._stop(instance) for instance in self._taken_idle(len(self.idle))]

    def expire(self, now_s: float) -> list[Action]:
        """What the passing of time decides; to be called at `next_s`."""
        actions: list[Action] = []
        while self.waiting and self.waiting[0].since_s + self.service.queue_deadline_s <= now_s:
            late = self.waiting.popleft()
            actions.append(Refuse(late.request, now_s - late.since_s))
        count = sum(since_s + self.service.idle_timeout_s <= now_s for _, since_s in self.idle)
        actions.extend(self._stop(instance) for instance in self._taken_idle(count))
        return actions

    def next_s(self) -> float | None:
        """When time alone will decide something; None when nothing is pending. The longest free instance is the first in `idle`."""
        times = [self.waiting[0].since_s + self.service.queue_deadline_s] if self.waiting else []
        if self.idle:
            times.append(self.idle[0][1] + self.service.idle_timeout_s)
        return min(times, default=None)

    def _free(self, instance: str, now_s: float, began_s: float | None = None) -> list[Action]:
        """To the head of the queue, else to rest. `began_s`: when its start began, if it was just started."""
        if self.waiting:
            head = self.waiting.popleft()
            self.busy[instance] = head.request
            cold_s = 0.0 if began_s is None else now_s - max(began_s, head.since_s)
            return [Assign(head.request, instance, now_s - head.since_s - cold_s, cold_s)]
        if self.draining:
            return [self._stop(instance)]
        self.idle.append((instance, now_s))
        return []

    def _starts(self, now_s: float) -> Iterator[Start]:
        s = self.service
        while len(self.starting) < s.max_concurrent_starts and self.instances < s.max_instances:
            if len(self.waiting) <= len(self.starting) and self._live >= self.floor:
                return
            self.starts += 1
            self.starting[self.starts] = now_s
            yield Start(self.starts)

    def _stop(self, instance: str) -> Stop:
        self.stopping.add(instance)
        return Stop(instance)

    def _taken_idle(self, count: int) -> list[str]:
        """Takes the `count` that have been free for longest out of `idle`."""
        taken, self.idle = self.idle[:count], self.idle[count:]
        return [instance for instance, _ in taken]
