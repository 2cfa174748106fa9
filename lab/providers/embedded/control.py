"""How other processes talk to the supervisor: typed requests and answers as JSON lines over its Unix socket."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from lab import errors
from lab.contracts import Endpoint, Fault
from lab.model import Operation, Topology, Usage
from lab.runtime.config import ModelAddress

T = TypeVar("T")
ANSWER_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Nothing:
    pass


@dataclass(frozen=True, kw_only=True)
class DeployRequest:
    """`operations`: those of the workload; the supervisor runs no code of workloads. `model_path` is the file that becomes `model` in
    the bucket. `project` is the user's folder, where the services look for workloads of their own. `python`: the interpreter that the
    services run in; empty: the supervisor's."""

    topology: Topology
    deployment: str
    seed: int
    operations: tuple[Operation, ...]
    project: str
    model: ModelAddress | None = None
    model_path: str = ""
    python: str = ""


@dataclass(frozen=True, kw_only=True)
class RetireRequest:
    deployment: str


@dataclass(frozen=True, kw_only=True)
class ReplicaRequest:
    deployment: str
    service: str
    url: str = ""
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class FaultRequest:
    deployment: str
    service: str
    fault: Fault
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class ShutdownRequest:
    """Without `keep_data` the platform is killed, which is faster."""

    keep_data: bool


@dataclass(frozen=True, kw_only=True)
class Standing:
    """`down` names platform services that have died, with how. `runs_code`: whether it heeds a request's `python`; one of an older lab does
    not."""

    lab_id: str
    pid: int
    created: float
    endpoints: tuple[Endpoint, ...]
    down: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    runs_code: bool = False


@dataclass(frozen=True, kw_only=True)
class Urls:
    urls: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Added:
    url: str
    phases_ms: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Usages:
    usages: tuple[Usage, ...]


REQUESTS: Mapping[str, type] = {
    "status": Nothing,
    "deploy": DeployRequest,
    "retire": RetireRequest,
    "usage": Nothing,
    "get": ReplicaRequest,
    "set": ReplicaRequest,
    "add": ReplicaRequest,
    "remove": ReplicaRequest,
    "inject": FaultRequest,
    "shutdown": ShutdownRequest,
}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    verb: str
    request: msgspec.Raw


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A LabError on its way to another process; `kind` is its class."""

    kind: str
    what: str
    hint: str

    @staticmethod
    def of(error: errors.LabError) -> Failure:
        kind = next(c.__name__ for c in type(error).__mro__ if c.__module__ == errors.__name__)
        return Failure(kind=kind, what=error.what, hint=error.hint)

    def error(self) -> errors.LabError:
        made: errors.LabError = getattr(errors, self.kind)(self.what, self.hint)
        return made


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    failure: Failure | None = None


class NotStanding(errors.MachineError):
    """No supervisor answers on the socket."""


@dataclass(frozen=True)
class Client:
    path: Path

    def call(self, verb: str, request: object, reply: type[T], timeout_s: float = ANSWER_S) -> T:
        """Raises NotStanding, or the LabError that the supervisor answered with."""
        line = msgspec.json.encode(Call(verb=verb, request=msgspec.Raw(msgspec.json.encode(request))))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            try:
                connection.connect(str(self.path))
            except OSError as error:
                raise NotStanding(
                    f"no Lab answers at {self.path}", "`lab up` makes one; `lab clean` removes what a killed one left"
                ) from error
            try:
                connection.sendall(line + b"\n")
                with connection.makefile("rb") as answers:
                    data = answers.readline()
            except TimeoutError as error:
                raise errors.MachineError(
                    f"the Lab's supervisor gave no answer to {verb!r} in {timeout_s:.0f} s", "see `lab logs`"
                ) from error
            except OSError as error:
                raise _gone(verb) from error
        if not data.endswith(b"\n"):
            raise _gone(verb)
        answer = msgspec.json.decode(data, type=Answer)
        if answer.failure is not None:
            raise answer.failure.error()
        return msgspec.json.decode(answer.result, type=reply)


def _gone(verb: str) -> NotStanding:
    return NotStanding(f"the Lab's supervisor ended while it was asked to {verb}", "`lab clean` removes what is left, then `lab up`")


@dataclass(frozen=True)
class SupervisedReplicas:
    """lab.contracts.Replicas of one deployment."""

    client: Client
    deployment: str
    start_timeout_s: float = 60.0

    def get(self, service: str) -> tuple[str, ...]:
        return self.client.call("get", ReplicaRequest(deployment=self.deployment, service=service), Urls).urls

    def set(self, service: str, count: int) -> None:
        request = ReplicaRequest(deployment=self.deployment, service=service, count=count)
        self.client.call("set", request, Nothing, self.start_timeout_s * max(1, count))

    def add(self, service: str) -> tuple[str, Mapping[str, float]]:
        added = self.client.call("add", ReplicaRequest(deployment=self.deployment, service=service), Added, self.start_timeout_s)
        return added.url, added.phases_ms

    def remove(self, service: str, url: str) -> None:
        self.client.call("remove", ReplicaRequest(deployment=self.deployment, service=service, url=url), Nothing)


def handle(control: Path, deployment: str) -> str:
    return f"{deployment}@{control}"


def replicas(text: str) -> SupervisedReplicas:
    deployment, _, control = text.partition("@")
    return SupervisedReplicas(Client(Path(control)), deployment)
