"""Every seam of the lab on one page: what a workload, an architecture, a provider and the stores that stages see must offer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from lab.model import Budget, Event, Message, Operation, Request, Response, Shape, Stage, Topology, Usage
from lab.model.workload import ModelSize

# ---- what stages see -------------------------------------------------------------------------------------------------


class ObjectStore(Protocol):
    """One bucket. Errors: MachineError when the store cannot be reached, KeyError for a missing key. `aput` is `put` for coroutines."""

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None: ...
    async def aput(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None: ...
    def get(self, key: str) -> bytes: ...
    def keys(self, prefix: str = "") -> list[str]: ...
    def delete(self, key: str) -> None: ...


class Database(Protocol):
    """One schema that is this deployment's own; statements use unqualified table names and %s parameters, and commit by themselves.
    `aexecute` is `execute` for coroutines."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...
    async def aexecute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...


async def _nothing() -> None: ...


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a service hands to the stages it holds. `model()` gives the served model's bytes, fetched from the object store and
    checked against its digest. `threads` is the number of threads that one inference may use. `aclose` ends what
    they hold open, in the event loop of the coroutines that used it."""

    store: ObjectStore
    database: Callable[[str], Database]
    model: Callable[[], bytes]
    model_size: ModelSize
    threads: int = 1
    aclose: Callable[[], Awaitable[None]] = _nothing


Handler = Callable[[Message], Message]
AsyncHandler = Callable[[Message], Awaitable[Message]]
BatchHandler = Callable[[Sequence[Message]], Sequence[Message]]


@dataclass(frozen=True, kw_only=True)
class Handlers:
    """The code of some stages, ready to run in one process. A coroutine function runs in the service's event loop, which it must not hold
    up for longer than about a millisecond; any other handler runs in a thread, which costs about 0.05 ms of CPU more. `batch` holds
    handlers of batchable stages (also in `single`, where they are no coroutines)."""

    single: Mapping[str, Handler | AsyncHandler]
    batch: Mapping[str, BatchHandler] = field(default_factory=dict)


class Workload(Protocol):
    """One file in workloads/ with a class `Workload` that takes no arguments.

    A handler refuses a bad request with lab.errors.InputError (HTTP 400; 413 when `what` starts with "too large"; KeyError gives 404).
    The first stage of an operation gets the request's body, and its path and query parameters as fields; what the last stage returns is
    the answer: its body if there is one (fields["content_type"] names the type), else its fields as a JSON object.
    """

    name: str
    stages: tuple[Stage, ...]
    operations: tuple[Operation, ...]
    model_sizes: tuple[ModelSize, ...]

    def wrong_rate_limit(self, model_size: ModelSize) -> float:
        """The share of wrong answers above which a cell is INVALID (the model's own error, plus a margin)."""

    def preload(self, seed: int) -> Sequence[Request]:
        """Requests sent one by one and acknowledged before warm-up; reads may refer to what they made."""

    def payload(self, seed: int, index: int, operation: str) -> Request:
        """The same arguments give the same bytes."""

    def check(self, request: Request, response: Response) -> bool:
        """Whether a successful answer is the right one."""

    def model_name(self, model_size: ModelSize) -> str | None:
        """The name of the model file served at that size; None for a workload without a model."""

    def model_bytes(self, model_size: ModelSize) -> tuple[bytes, str]:
        """The shipped model and its sha256 digest (hex)."""

    def handlers(self, stages: Collection[str], tools: Tools) -> Handlers:
        """Opens what the stages need (connections, tables, the model); called once per process, inside it."""


class Architecture(Protocol):
    """One file in architectures/: a frozen dataclass `Options` and the pure function `place`."""

    Options: type[Any]

    def place(self, shape: Shape, budget: Budget, options: Any) -> Topology: ...


# ---- the provider seam -----------------------------------------------------------------------------------------------


Fault = Literal["kill", "pause"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """`system_cpus` and `driver_cpus` are the CPU numbers that the architecture and everything else get; equal when they share.

    `driver`: where load comes from; inside, the provider runs it as a Job (it has `run_job`). `other_driver`: where else it could come
    from; the floors are measured from there too. `scaler`: what scales services with
    scaling `on_cpu` ("hpa"), empty where nothing does. `up_s`: what `up` takes about, with everything it needs already there."""

    isolation: Literal["pinned", "limits", "none"]
    enforcement: Literal["enforced", "affinity", "none"]
    deploys: bool = True
    scales_to_zero: bool = False
    measures_usage: bool = False
    system_cpus: tuple[int, ...] = ()
    driver_cpus: tuple[int, ...] = ()
    faults: tuple[Fault, ...] = ()
    driver: Literal["outside", "inside"] = "outside"
    other_driver: Literal["", "outside", "inside"] = ""
    scaler: str = ""
    up_s: float = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One platform service as a user sees it. `credentials` is the path of a 0600 file, empty where none are needed."""

    service: str
    kind: str
    url: str
    ready_s: float
    credentials: str = ""
    version: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """One topology that stands: where its clients send requests, and how long each service took to be ready. `control_url` is the
    activator's own address, for filling and draining pools; empty where nothing scales to zero. Both are for clients on this machine;
    `inside_url` and `inside_control_url` are the same for clients in the provider's own network, where that is another."""

    id: str
    url: str
    ready_s: Mapping[str, float]
    control_url: str = ""
    inside_url: str = ""
    inside_control_url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """`python -m MODULE FOLDER` in a process (a pod) of its own, apart from the architecture; FOLDER holds `files`. It serves HTTP on
    `port`, GET /readyz when it can answer. `image`: which of the provider's images has what it imports. Ended after `deadline_s`."""

    name: str
    module: str
    files: Mapping[str, bytes]
    port: int
    deadline_s: float
    image: Literal["serving", "driver"] = "serving"
    cpus: float = 1.0
    memory_mib: int = 512


class RunningJob(Protocol):
    """A Job that was ready once. Its calls raise MachineError, with its last lines, when it is gone."""

    def call(self, method: str, path: str, body: bytes = b"", timeout_s: float = 30.0) -> bytes:
        """The answer's body; raises MachineError for any status but 2xx."""

    def logs(self) -> Iterator[str]: ...

    def end(self) -> None:
        """Stops and removes it; twice is fine."""


@runtime_checkable
class JobRunner(Protocol):
    """What a provider with `driver: inside` offers beside Provider."""

    def run_job(self, job: Job) -> RunningJob: ...


@runtime_checkable
class Clocked(Protocol):
    """What a provider offers beside Provider whose events or usage name clocks that are not this machine's."""

    def clocks(self) -> Mapping[str, Callable[[], tuple[float, str]]]:
        """Each such clock by its name; called, it is read in one round trip: its time.monotonic and its kernel's boot id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A workload's model at one size, as a file."""

    name: str
    sha256: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """One side of a gate: `folder` is the user's project there, `python` the interpreter that runs its code (empty: ours)."""

    folder: Path
    python: str = ""
    models: Mapping[ModelSize, ServedModel] = field(default_factory=dict)


@runtime_checkable
class RunsCode(Protocol):
    """What a provider offers beside Provider that runs services of other trees than the one that `lab` is called in."""

    def run_code(self, sides: Mapping[str, Code]) -> None:
        """From now on `deploy` takes a side's code for a topology whose option `code_ref` names it."""


class Replicas(Protocol):
    """How many instances a service has; what the activator and a scaler hold in their own processes."""

    def get(self, service: str) -> tuple[str, ...]:
        """The base URLs of the ready instances."""

    def set(self, service: str, count: int) -> None: ...

    def add(self, service: str) -> tuple[str, Mapping[str, float]]:
        """Starts one more and waits until it is ready: its URL and its start phases in ms. Raises MachineError when it dies."""

    def remove(self, service: str, url: str) -> None: ...


class Provider(Protocol):
    """One file or package in providers/ with a class `Provider(settings: Settings)`; a Lab is named by settings.name.

    `up` is all or nothing and may be called on a Lab that stands (then it returns its endpoints). `destroy` may be called twice.
    """

    name: str

    def capabilities(self, cpus: float = 1.0) -> Capabilities:
        """For architectures with a budget of `cpus`."""

    def prepare(self) -> None:
        """Raises MachineError with every reason why `up` cannot work here."""

    def up(self, report: Callable[[str], None] = ..., *, owner_pid: int | None = None) -> tuple[Endpoint, ...]:
        """A Lab with an owner is destroyed when that process ends, however it does."""

    def find(self) -> tuple[Endpoint, ...] | None:
        """The Lab's endpoints if it stands, else None."""

    def deploy(self, topology: Topology, deployment: str, seed: int) -> Deployment:
        """Starts every process of the architecture with a fresh bucket and schema; returns when all are ready."""

    def retire(self, deployment: str) -> None:
        """Stops it and removes its bucket, schema and routes; twice is fine."""

    def endpoints(self) -> tuple[Endpoint, ...]: ...
    def logs(self, service: str = "", deployment: str = "") -> Iterator[str]: ...
    def events(self, deployment: str) -> Sequence[Event]: ...
    def usage(self) -> tuple[Usage, ...]: ...

    def inject(self, deployment: str, service: str, fault: Fault, duration_s: float = 0.0) -> None:
        """Breaks one instance of a service: `kill` ends it without a warning; `pause` stops it, and after `duration_s` it goes on by
        itself. Returns when it has begun; events of kind `fault` tell begin and end. Raises InputError for a fault that is not in
        `capabilities().faults`."""

    def down(self) -> None:
        """Stops everything and keeps the data."""

    def destroy(self) -> tuple[str, ...]:
        """Stops everything, deletes the Lab's data and whatever a killed process left; returns what it removed, by name."""
