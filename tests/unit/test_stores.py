"""The stores behind a service: in memory here, S3 and PostgreSQL as real servers, and what is said when they cannot be used."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lab.contracts import Database, ObjectStore
from lab.errors import MachineError
from lab.model import Service, Stage
from lab.runtime.config import DatabaseAddress, ModelAddress, StoreAddress
from lab.runtime.databases import PostgresDatabase, SqliteDatabase, TimedDatabase
from lab.runtime.object_stores import MemoryStore, S3Store, TimedStore
from lab.runtime.stores import fetch_model, tools
from lab.runtime.timing import CURRENT, Recorder, Span, parse
from tests.unit.conftest import BUCKET
from tests.unit.serving import config, topology

END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = current_user"


@pytest.fixture
def nowhere(tmp_path: Path) -> Iterator[tuple[StoreAddress, DatabaseAddress]]:
    """Addresses at which nobody listens."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"access_key": "a", "secret_key": "b", "user": "u", "password": "p"}))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        yield (
            StoreAddress(endpoint=f"127.0.0.1:{port}", bucket=BUCKET, credentials_path=str(keys)),
            DatabaseAddress(host="127.0.0.1", port=port, name="postgres", credentials_path=str(keys)),
        )


# ---- object stores ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    return MemoryStore() if request.param == "memory" else S3Store(request.getfixturevalue("servers")[0])


def test_objects_are_kept_listed_and_deleted(store: ObjectStore) -> None:
    data = bytes(range(256)) * 100
    for key in ("a/1", "a/2", "b/1"):
        store.put(key, data, "image/x")
    store.put("a/1", b"")
    assert store.get("a/1") == b"" and store.get("a/2") == data
    assert store.keys("a/") == ["a/1", "a/2"] and store.keys("c") == [] and len(store.keys()) == 3
    for key in ("a/1", "a/1", "a/2", "b/1"):
        store.delete(key)
    assert store.keys() == []


def test_coroutines_keep_objects_too(store: ObjectStore) -> None:
    async def keep() -> None:
        try:
            await asyncio.gather(*(store.aput(f"a/{i} & +%2F", bytes([i]) * 20_000, "image/x") for i in range(40)))
        finally:
            if isinstance(store, S3Store):
                await store.aclose()

    asyncio.run(keep())
    assert store.get("a/7 & +%2F") == bytes([7]) * 20_000 and len(store.keys("a/")) == 40


def test_what_a_coroutine_cannot_keep_is_told_as_by_put(servers: tuple[StoreAddress, DatabaseAddress], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({**json.loads(Path(servers[0].credentials_path).read_text()), "secret_key": "wrong"}))

    async def keep() -> None:
        store = S3Store(replace(servers[0], credentials_path=str(keys)))
        try:
            await store.aput("x", b"x")
        finally:
            await store.aclose()

    with pytest.raises(MachineError, match="refuses") as raised:
        asyncio.run(keep())
    assert raised.value.hint


def test_a_missing_object_is_a_key_error(store: ObjectStore) -> None:
    with pytest.raises(KeyError, match="never/was"):
        store.get("never/was")


def test_wrong_keys_are_refused_with_a_hint(servers: tuple[StoreAddress, DatabaseAddress], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({**json.loads(Path(servers[0].credentials_path).read_text()), "secret_key": "wrong"}))
    with pytest.raises(MachineError, match="refuses") as raised:
        S3Store(replace(servers[0], credentials_path=str(keys))).get("x")
    assert str(keys) in raised.value.hint


def test_an_object_store_that_is_not_there(nowhere: tuple[StoreAddress, DatabaseAddress]) -> None:
    with pytest.raises(MachineError, match=nowhere[0].endpoint) as raised:
        S3Store(nowhere[0]).put("x", b"")
    assert raised.value.hint


# ---- databases -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    made = SqliteDatabase() if request.param == "sqlite" else PostgresDatabase(request.getfixturevalue("servers")[1], "one_results")
    with closing(made):
        yield made
        made.execute("DROP TABLE IF EXISTS things")


def test_statements_commit_by_themselves_and_give_rows(database: Database) -> None:
    assert database.execute("CREATE TABLE things (id TEXT PRIMARY KEY, n INTEGER)") == []
    assert database.execute("INSERT INTO things VALUES (%s, %s), (%s, %s) RETURNING id", ("a", 1, "b%s", 2)) == [("a",), ("b%s",)]
    assert database.execute("SELECT n FROM things WHERE id = %s AND id LIKE '%%s'", ("b%s",)) == [(2,)]
    assert database.execute("SELECT COUNT(*) FROM things WHERE n %% 2 = 1") == [(1,)]


def test_coroutines_may_share_it(database: Database) -> None:
    database.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")

    async def insert() -> list[tuple[int]]:
        try:
            await asyncio.gather(*(database.aexecute("INSERT INTO things VALUES (%s)", (i,)) for i in range(200)))
            return await database.aexecute("SELECT COUNT(*) FROM things WHERE id >= %s", (100,))
        finally:
            if isinstance(database, PostgresDatabase):
                await database.aclose()

    assert asyncio.run(insert()) == [(100,)]
    if isinstance(database, SqliteDatabase):
        assert database.execute("SELECT COUNT(*) FROM things") == [(200,)]


def test_threads_may_share_it(database: Database) -> None:
    database.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda i: database.execute("INSERT INTO things VALUES (%s)", (i,)), range(200)))
    assert database.execute("SELECT COUNT(*) FROM things") == [(200,)]


def test_services_that_start_at_once_make_schema_and_tables_once(servers: tuple[StoreAddress, DatabaseAddress]) -> None:
    def start(_: int) -> int:
        with closing(PostgresDatabase(servers[1], "race_results")) as database:
            database.execute("CREATE TABLE IF NOT EXISTS things (id TEXT PRIMARY KEY)")
            database.execute("CREATE INDEX IF NOT EXISTS things_id ON things (id)")
            return len(database.execute("SELECT * FROM things"))

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(start, range(12))) == [0] * 12


def test_schemas_do_not_see_each_other(servers: tuple[StoreAddress, DatabaseAddress]) -> None:
    with closing(PostgresDatabase(servers[1], "mine_a")) as mine, closing(PostgresDatabase(servers[1], "mine_b")) as other:
        mine.execute("CREATE TABLE secret (id TEXT)")
        assert other.execute("SELECT to_regclass('secret')") == [(None,)]


def test_a_lost_connection_fails_one_statement_not_the_service(servers: tuple[StoreAddress, DatabaseAddress]) -> None:
    """As after a restart of the server."""
    with closing(PostgresDatabase(servers[1], "lost")) as database, closing(PostgresDatabase(servers[1], "killer")) as killer:
        database.execute("SELECT 1")
        killer.execute(END_OTHERS)
        with pytest.raises(MachineError) as raised:
            database.execute("SELECT 1")
        assert raised.value.hint
        assert [database.execute("SELECT 1") for _ in range(5)] == [[(1,)]] * 5


def test_a_lost_connection_fails_one_statement_of_a_coroutine(servers: tuple[StoreAddress, DatabaseAddress]) -> None:
    async def lose(database: PostgresDatabase, killer: PostgresDatabase) -> None:
        try:
            await database.aexecute("SELECT 1")
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = current_user"
            )
            with pytest.raises(MachineError):
                await database.aexecute("SELECT 1")
            assert [await database.aexecute("SELECT 1") for _ in range(5)] == [[(1,)]] * 5
        finally:
            await database.aclose()

    with closing(PostgresDatabase(servers[1], "alost")) as database, closing(PostgresDatabase(servers[1], "akiller")) as killer:
        asyncio.run(lose(database, killer))


def test_a_database_that_is_not_there(nowhere: tuple[StoreAddress, DatabaseAddress]) -> None:
    with pytest.raises(MachineError, match=str(nowhere[1].port)) as raised:
        PostgresDatabase(nowhere[1], "x")
    assert raised.value.hint


# ---- the clocks, and what a service hands to its stages --------------------------------------------------------------


def recorded(work: object) -> Sequence[Span]:
    recorder = Recorder("app")
    token = CURRENT.set(recorder)
    try:
        work()  # type: ignore[operator]
    finally:
        CURRENT.reset(token)
    return parse(recorder.header())[1:]


def test_every_operation_is_a_span_failed_ones_too() -> None:
    store, database = TimedStore(MemoryStore()), TimedDatabase(SqliteDatabase())

    def work() -> None:
        store.put("k", b"12345")
        store.get("k")
        store.keys()
        store.delete("k")
        with pytest.raises(KeyError):
            store.get("k")
        database.execute("SELECT 1")
        database.execute("SELECT 2")

    spans = [(s.kind, s.name, s.count, s.units) for s in recorded(work)]
    assert spans == [
        ("store", "put", 1.0, 5),
        ("store", "get", 2.0, 5),
        ("store", "list", 1.0, 0),
        ("store", "delete", 1.0, 0),
        ("database", "execute", 2.0, 0),
    ]


def test_a_model_with_another_digest_is_refused() -> None:
    store = MemoryStore()
    store.put("m", b"weights")
    good = ModelAddress(key="m", sha256=hashlib.sha256(b"weights").hexdigest())
    assert fetch_model(store, good) == b"weights"
    store.put("m", b"Weights")
    with pytest.raises(MachineError, match="digest") as raised:
        fetch_model(store, good)
    assert raised.value.hint


def test_what_the_topology_did_not_ask_for_is_missing_with_a_hint(tmp_path: Path) -> None:
    of = topology(Service(name="one", stages=("a",), cpus=2.5))
    made = tools(config(of, "one", tmp_path), [Stage(name="a", stores=True)])
    assert made.threads == 2
    for use in (lambda: made.store.put("k", b""), lambda: made.store.get("k"), lambda: made.database("x"), made.model):
        with pytest.raises(MachineError) as raised:
            use()
        assert "needs" in raised.value.hint


def test_only_a_service_whose_stages_say_so_opens_the_object_store(servers: tuple[StoreAddress, DatabaseAddress], tmp_path: Path) -> None:
    of = topology(Service(name="one", stages=("a",)))
    given = replace(config(of, "one", tmp_path), store=servers[0])
    model = replace(given, model=ModelAddress(key="m", sha256="0"))
    opened = [
        (given, Stage(name="a", stores=True), True),
        (model, Stage(name="a", uses_model=True), True),
        (given, Stage(name="a", uses_model=True), False),  # there is no model to fetch
        (model, Stage(name="a", owns="results"), False),
    ]
    for service, stage, wanted in opened:
        assert isinstance(tools(service, [stage]).store, TimedStore) == wanted, stage


def test_stages_that_own_the_same_schema_share_its_connections(servers: tuple[StoreAddress, DatabaseAddress], tmp_path: Path) -> None:
    of = topology(Service(name="one", stages=("a",)))
    made = tools(replace(config(of, "one", tmp_path), store=servers[0], database=servers[1]), [Stage(name="a", stores=True)])
    database = made.database("results")
    assert made.database("results") is database
    assert database.execute("SELECT current_schema()") == [("p_results",)]
    made.store.put("k", b"v")
    assert made.store.get("k") == b"v"
