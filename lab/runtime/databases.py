"""One schema as stages see it: of PostgreSQL, its twin in memory, and the clock that times each round trip."""

from __future__ import annotations

import asyncio
import functools
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

from lab.contracts import Database
from lab.errors import MachineError
from lab.runtime.config import DatabaseAddress
from lab.runtime.credentials import DatabaseKeys, read_keys
from lab.runtime.timing import record

CONNECT_S: Final = 2.0
ANSWER_S: Final = 10.0
CONNECTIONS: Final = 16  # per process and schema, for coroutines and for threads each


class PostgresDatabase:
    """One schema, made if it is not there (by one of many processes that may try at once). Each `execute` is one round trip."""

    def __init__(self, address: DatabaseAddress, schema: str, connections: int = CONNECTIONS) -> None:
        import psycopg  # here, as it takes 0.1 s of CPU that a process without a database need not spend
        from psycopg import sql
        from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

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
        self._apool = AsyncConnectionPool(kwargs=parameters, min_size=1, max_size=connections, timeout=CONNECT_S, open=False, num_workers=1)
        self._opened: asyncio.Task[None] | None = None

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

    async def aexecute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if self._opened is None:  # of this event loop
            self._opened = asyncio.create_task(self._apool.open())
        if not self._opened.done():
            await asyncio.shield(self._opened)
        try:
            with self._errors():
                async with self._apool.connection() as connection:
                    cursor = await connection.execute(statement, parameters)
                    return await cursor.fetchall() if cursor.description else []
        except MachineError:
            await self._apool.check()  # for the same reason
            raise

    def close(self) -> None:
        self._pool.close()

    async def aclose(self) -> None:
        """What `aexecute` opened."""
        if self._opened is not None:
            await self._apool.close()

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

    async def aexecute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.execute(statement, parameters)

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

    async def aexecute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        began = perf_counter()
        try:
            return await self._database.aexecute(statement, parameters)
        finally:
            record("execute", "database", began)
