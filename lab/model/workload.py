"""What a workload is made of: stages that run in services, operations that a client asks for, and the messages between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ModelSize = Literal["S", "M", "L"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One step of the workload's graph.

    `after` names the stages whose result it takes. `deferrable` stages may run after the answer went out.
    `owns` names the database schema that the stage reads and writes; stages with the same `owns` share it.
    `batchable` stages have a handler that takes many messages at once. `stores` stages read or write the object store: a service without
    one (and without a model) is given none, which spares its cold start the client.
    """

    name: str
    after: tuple[str, ...] = ()
    mode: Literal["sync", "deferrable"] = "sync"
    owns: str = ""
    uses_model: bool = False
    batchable: bool = False
    stores: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One thing that a client can ask for: `method` and `path` (with {name} for path parameters) and the stages that serve it, in order.

    `weight` is its share of the traffic (weights add up to 1 over a workload). Headline figures are those of `headline` operations.
    `parameters` documents query parameters: name -> description. `accepts` and `example` go into the OpenAPI page.
    """

    name: str
    kind: Literal["write", "read"]
    method: Literal["GET", "POST"]
    path: str
    stages: tuple[str, ...] = ()  # none where a service of the user's own serves it
    weight: float = 1.0
    headline: bool = False
    accepts: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What goes from stage to stage: bytes and flat named values. It crosses processes unchanged."""

    body: bytes = b""
    fields: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the driver sends. `expected` is what `check` needs to judge the answer; it never leaves the driver."""

    operation: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    expected: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What an architecture may know of a workload: its graph, not its code."""

    name: str
    model_size: ModelSize
    stages: tuple[Stage, ...]
    operations: tuple[Operation, ...]
