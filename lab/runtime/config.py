"""What a provider hands to a service process (`python -m lab.runtime.host|activator CONFIG.json`), and how that process answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.model import Topology

FIELDS_HEADER = "x-lab-fields"  # a message's fields as JSON, beside its body, on POST /stages/NAME,NAME between services
STAGES_PATH = "/stages"
FUNCTIONS_PATH = "/functions"  # the activator serves /functions/NAME/REST and forwards /REST to an instance of NAME
READY_PATH = "/readyz"
LIVE_PATH = "/healthz"
OWN_PATH = "/-/"  # what a service process tells the lab, or does for it; no gateway routes it
USAGE_PATH = OWN_PATH + "usage"
TOKEN_HEADER = "x-lab-token"  # see lab.runtime.guard
METER_PORT = 9101


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreAddress:
    """`credentials_path` is a 0600 JSON file with access_key and secret_key."""

    endpoint: str
    bucket: str
    credentials_path: str
    secure: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseAddress:
    """`credentials_path` is a 0600 JSON file with user and password. `host` may be a folder that holds a Unix socket."""

    host: str
    port: int
    name: str
    credentials_path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelAddress:
    """The model's key in the bucket and the digest that it must have."""

    key: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceConfig:
    """`addresses_path` is a JSON file, replaced atomically: service name -> base URLs (functions: below the activator's URL).

    The process listens on the inherited socket `listen_fd` if given, else on `host`:`port`. When it can answer it writes one JSON line to
    `ready_fd` (if given): {"phases": {"import_ms": ..., "open_ms": ..., "model_ms": ...}}; if it cannot start it prints why and exits 3.
    `schema_prefix`: the database schema of a stage that `owns` X is <schema_prefix>_X; the service creates it if it is not there.
    Events are lines of its standard output that begin with EVENT_MARK, followed by lab.model.Event as JSON.
    `drain_s`: after SIGTERM it still takes requests for so long, answering each with `connection: close`, so that clients with kept
    connections leave by themselves; where clients learn late, as in a cluster, that it goes.
    `replicas_handle` is what `registry.replicas(provider, handle)` needs, for the activator.
    """

    provider: str
    deployment: str
    service: str
    instance: int
    topology: Topology
    addresses_path: str
    schema_prefix: str
    store: StoreAddress | None = None
    database: DatabaseAddress | None = None
    model: ModelAddress | None = None
    listen_fd: int | None = None
    host: str = "127.0.0.1"
    port: int = 0
    ready_fd: int | None = None
    replicas_handle: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    drain_s: float = 0.0


EVENT_MARK = "@event "
