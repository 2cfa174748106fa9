"""The stores behind a service's stages: S3 and PostgreSQL, their twins in memory, and the clocks that time each operation."""

from __future__ import annotations

import functools
import hashlib
import io
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import msgspec

from lab.contracts import Database, ObjectStore, Tools
from lab.errors import MachineError
from lab.model import Stage
from lab.runtime.config import DatabaseAddress, ModelAddress, ServiceConfig, StoreAddress
from lab.runtime.timing import record

CONNECT_S: Final = 2.0
ANSWER_S: Final = 10.0
TRIES_AGAIN: Final = 2
CONNECTIONS: Final = 16  # per process and schema, and of the pool to the object store


class StoreKeys(msgspec.Struct):
    access_key: str
    secret_key: str


class DatabaseKeys(msgspec.Struct):
    user: str
    password: str


def read_keys(path: str, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise MachineError(f"the credentials {path} cannot be read: {error}", "the provider writes them; is the Lab up?") from error


# ---- object stores ---------------------------------------------------------------------------------------------------


class S3Store:
    """One bucket of any S3 endpoint. The region is given, which saves a round trip per bucket. Operations are tried again on connection
    errors and 5xx, TRIES_AGAIN times at most."""

    def __init__(self, address: StoreAddress) -> None:
        import urllib3  # here, as the two take 0.3 s of CPU that a process without an object store need not spend
        from minio import Minio

        keys: StoreKeys = read_keys(address.credentials_path, StoreKeys)
        pool = urllib3.PoolManager(
            maxsize=CONNECTIONS,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S),
            retries=urllib3.Retry(total=TRIES_AGAIN, backoff_factor=0.05, status_forcelist=(500, 502, 503, 504), raise_on_status=False),
        )
        self._address, self._bucket = address, address.bucket
        self._client = Minio(
            address.endpoint,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            secure=address.secure,
            region="us-east-1",
            http_client=pool,
        )

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        with self._errors(key):
            self._client.put_object(self._bucket, key, io.BytesIO(data), len(data), content_type=content_type)

    def get(self, key: str) -> bytes:
        with self._errors(key):
            response = self._client.get_object(self._bucket, key)
            try:
                data: bytes = response.read()
                return data
            finally:
                response.close()
                response.release_conn()

    def keys(self, prefix: str = "") -> list[str]:
        with self._errors(prefix):
            return [found.object_name for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True)]

    def delete(self, key: str) -> None:
        with self._errors(key):
            self._client.remove_object(self._bucket, key)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        from minio.error import MinioException, S3Error
        from urllib3.exceptions import HTTPError

        where = f"the object store at {self._address.endpoint}"
        try:
            yield
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchObject"):
                raise KeyError(key) from error
            if error.code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
                hint = f"the keys in {self._address.credentials_path} are not (or no longer) its keys"
                raise MachineError(f"{where} refuses the bucket {self._bucket}: {error.code}", hint) from error
            what = f"{where} answered {error.code} for {self._bucket}/{key}"
            raise MachineError(what, "its log says why: `lab logs object_store`") from error
        except (HTTPError, MinioException, OSError) as error:
            raise MachineError(f"{where} cannot be reached: {error}", "is it running? `lab status`") from error


class MemoryStore:
    """A bucket in this process."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        self._objects[key] = bytes(data)

    def get(self, key: str) -> bytes:
        return self._objects[key]

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in list(self._objects) if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)


class TimedStore:
    """Records a span of kind `store` per operation, failed ones too."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        began = perf_counter()
        try:
            self._store.put(key, data, content_type)
        finally:
            record("put", "store", began, len(data))

    def get(self, key: str) -> bytes:
        began, data = perf_counter(), b""
        try:
            data = self._store.get(key)
            return data
        finally:
            record("get", "store", began, len(data))

    def keys(self, prefix: str = "") -> list[str]:
        began = perf_counter()
        try:
            return self._store.keys(prefix)
        finally:
            record("list", "store", began)

    def delete(self, key: str) -> None:
        began = perf_counter()
        try:
            self._store.delete(key)
        finally:
            record("delete", "store", began)


# ---- databases -------------------------------------------------------------------------------------------------------


class PostgresDatabase:
    """One schema, made if it is not there (by one of many processes that may try at once). Each `execute` is one round trip."""

    def __init__(self, address: DatabaseAddress, schema: str, connections: int = CONNECTIONS) -> None:
        import psycopg  # here, for the same reason as above
        from psycopg import sql
        from psycopg_pool import ConnectionPool, PoolTimeout

        self._where = f"the database {address.name} at {address.host}:{address.port}"
        self._failures = (psycopg.OperationalError, PoolTimeout)
        self._exists = (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject, psycopg.errors.DuplicateTable)
        keys: DatabaseKeys = read_keys(address.credentials_path, DatabaseKeys)
        parameters: dict[str, Any] = {
            "host": address.host,
            "port": address.port,
            "dbname": address.name,
            "user": keys.user,
            "password": keys.password,
            "connect_timeout": int(CONNECT_S),
            "options": f"-c search_path={schema} -c statement_timeout={int(ANSWER_S * 1e3)}",
            "autocommit": True,
        }
        with self._errors(), psycopg.connect(**parameters) as connection, connection.transaction():
            connection.execute("select pg_advisory_xact_lock(hashtext(%s))", (schema,))
            connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
        self._pool = ConnectionPool(kwargs=parameters, min_size=1, max_size=connections, timeout=CONNECT_S, open=True, num_workers=1)
        with self._errors():
            self._pool.wait(CONNECT_S)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._errors():
                return self._execute(statement, parameters)
        except MachineError:
            self._pool.check()  # after a restart of the server all idle connections are dead, not just this one
            raise

    def _execute(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._pool.connection() as connection:
            try:
                cursor = connection.execute(statement, parameters)
            except self._exists as error:
                if error.diag.schema_name not in (None, "pg_catalog"):
                    raise
                cursor = connection.execute(statement, parameters)  # CREATE ... IF NOT EXISTS lost a race against another process
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise MachineError(f"{self._where} cannot be used: {str(error).strip()}", "is it running? `lab status`") from error


class SqliteDatabase:
    """One schema in this process's memory, for statements that both databases understand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            cursor = self._connection.execute(_question_marks(statement), tuple(parameters))
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._connection.close()


@functools.lru_cache(maxsize=256)
def _question_marks(statement: str) -> str:
    """%s -> ? and %% -> %, outside of quoted text; psycopg reads %% everywhere, so inside too."""
    quoted = re.split(r"('(?:[^']|'')*')", statement)
    outside = (re.sub(r"%s", "?", part) if i % 2 == 0 else part for i, part in enumerate(quoted))
    return "".join(outside).replace("%%", "%")


class TimedDatabase:
    """Records a span of kind `database` per round trip, failed ones too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        began = perf_counter()
        try:
            return self._database.execute(statement, parameters)
        finally:
            record("execute", "database", began)


# ---- what a service hands to its stages ------------------------------------------------------------------------------


def tools(config: ServiceConfig, stages: Sequence[Stage]) -> Tools:
    """The real stores of the config, for the stages that the service holds; what those did not ask for raises MachineError when used."""
    service = config.topology.service(config.service)
    wanted = any(stage.stores or (stage.uses_model and config.model) for stage in stages)
    store: ObjectStore = TimedStore(S3Store(config.store)) if config.store and wanted else _AbsentStore()

    @functools.cache
    def database(owner: str) -> Database:
        if config.database is None:
            raise MachineError(f"{config.service} has no database", "the topology's `needs` must name it")
        return TimedDatabase(PostgresDatabase(config.database, f"{config.schema_prefix}_{owner}", min(CONNECTIONS, service.concurrency)))

    return Tools(
        store=store,
        database=database,
        model=lambda: fetch_model(store, config.model),
        model_size=config.topology.model_size,
        threads=max(1, int(service.cpus)),
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


class _AbsentStore:
    def _refuse(self) -> MachineError:
        hint = "the topology's `needs` must name it, and a stage of the service say `stores`"
        return MachineError("this service has no object store", hint)

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        raise self._refuse()

    def get(self, key: str) -> bytes:
        raise self._refuse()

    def keys(self, prefix: str = "") -> list[str]:
        raise self._refuse()

    def delete(self, key: str) -> None:
        raise self._refuse()
