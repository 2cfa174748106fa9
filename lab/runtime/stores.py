"""What a service hands to its stages: the real stores of its configuration, timed, and its model with the digest checked."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from contextlib import AsyncExitStack

from lab.contracts import Database, ObjectStore, Tools
from lab.errors import MachineError
from lab.model import Stage
from lab.runtime.config import ModelAddress, ServiceConfig
from lab.runtime.databases import CONNECTIONS, PostgresDatabase, TimedDatabase
from lab.runtime.object_stores import AbsentStore, S3Store, TimedStore


def tools(config: ServiceConfig, stages: Sequence[Stage]) -> Tools:
    """The real stores of the config, for the stages that the service holds; what those did not ask for raises MachineError when used."""
    service = config.topology.service(config.service)
    wanted = any(stage.stores or (stage.uses_model and config.model) for stage in stages)
    opened = AsyncExitStack()
    store: ObjectStore = AbsentStore()
    if config.store and wanted:
        bucket = S3Store(config.store)
        opened.push_async_callback(bucket.aclose)
        store = TimedStore(bucket)

    @functools.cache
    def database(owner: str) -> Database:
        if config.database is None:
            raise MachineError(f"{config.service} has no database", "the topology's `needs` must name it")
        schema = PostgresDatabase(config.database, f"{config.schema_prefix}_{owner}", min(CONNECTIONS, service.concurrency))
        opened.callback(schema.close)
        opened.push_async_callback(schema.aclose)
        return TimedDatabase(schema)

    return Tools(
        store=store,
        database=database,
        model=lambda: fetch_model(store, config.model),
        model_size=config.topology.model_size,
        threads=max(1, int(service.cpus)),
        aclose=opened.aclose,
    )


def fetch_model(store: ObjectStore, address: ModelAddress | None) -> bytes:
    if address is None:
        raise MachineError("this service was given no model", "the topology's `needs` must name it")
    data = store.get(address.key)
    found = hashlib.sha256(data).hexdigest()
    if found != address.sha256:
        what = f"the model {address.key} has the digest {found[:12]}..., wanted {address.sha256[:12]}...: it was changed or damaged"
        raise MachineError(what, "deploy again, which uploads the shipped one; `lab train` makes a new one with its digest")
    return data
