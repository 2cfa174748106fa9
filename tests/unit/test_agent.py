"""The agent over real HTTP, in front of the real stores: what it makes and removes there, whom it refuses, and what it reads of others."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.model import Response
from lab.rundir import encode
from lab.runtime import clock, provisioning
from lab.runtime.agent import AgentConfig
from lab.runtime.config import TOKEN_HEADER, DatabaseAddress, StoreAddress
from lab.runtime.databases import PostgresDatabase
from lab.runtime.object_stores import S3Store
from tests.unit.serving import LIMIT_S, ask, chain, echo

Stores = tuple[StoreAddress, DatabaseAddress]
TOKEN = {TOKEN_HEADER: "secret"}


@contextmanager
def agent(folder: Path, store: StoreAddress | None, database: DatabaseAddress | None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    reading, writing = os.pipe()
    token = folder / "token"
    token.write_text("secret\n")
    made = AgentConfig(token_path=str(token), store=store, database=database, host="127.0.0.1", port=0, ready_fd=writing)
    (folder / "config.json").write_bytes(encode(made))
    command = [sys.executable, "-m", "lab.runtime.agent", str(folder)]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        with os.fdopen(reading) as ready:
            told = ready.readline()
        assert told, process.communicate()[1]
        try:
            yield f"http://127.0.0.1:{json.loads(told)['port']}", process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url(servers: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with agent(tmp_path_factory.mktemp("agent"), *servers) as (found, _):
        yield found


def send(url: str, method: str, path: str, body: bytes = b"", status: int = 200) -> Response:
    answer = ask(url, method, path, body, TOKEN)
    assert answer.status == status, answer.body
    return answer


# ---- buckets and schemas ---------------------------------------------------------------------------------------------


def test_a_bucket_is_made_filled_and_removed_with_what_is_in_it(url: str, servers: Stores) -> None:
    data = os.urandom(12 << 20)
    send(url, "POST", "/buckets/d-one-1")
    send(url, "PUT", "/buckets/d-one-1/models/a%20b.onnx", data)
    bucket = S3Store(replace(servers[0], bucket="d-one-1"))
    assert bucket.get("models/a b.onnx") == data
    send(url, "DELETE", "/buckets/d-one-1")
    assert not provisioning.store_client(servers[0]).bucket_exists(bucket_name="d-one-1")
    send(url, "DELETE", "/buckets/d-one-1")


def test_a_bucket_that_is_there_already_is_no_fresh_one(url: str) -> None:
    send(url, "POST", "/buckets/d-two-1")
    try:
        told = json.loads(send(url, "POST", "/buckets/d-two-1", status=503).body)
        assert "d-two-1" in told["error"] and "BucketAlready" in told["error"] and told["hint"]
    finally:
        send(url, "DELETE", "/buckets/d-two-1")


def test_only_the_schemas_of_the_deployment_are_dropped(url: str, servers: Stores) -> None:
    for schema in ("d_x_1_results", "d_x_1_users", "d_x_10_results"):
        with closing(PostgresDatabase(servers[1], schema)) as database:
            database.execute("CREATE TABLE things (id TEXT)")
    send(url, "DELETE", "/schemas/d_x_1")
    send(url, "DELETE", "/schemas/d_x_1")
    with closing(PostgresDatabase(servers[1], "looking")) as database:
        left = database.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'd_x_%%' ORDER BY 1")
    assert left == [("d_x_10_results",)]
    send(url, "DELETE", "/schemas/d_x_10")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/schemas/pg", 400),
        ("DELETE", "/schemas/pg_x", 400),
        ("DELETE", "/schemas/%22", 400),
        ("DELETE", "/schemas/", 404),
        ("POST", "/buckets/Up", 400),
        ("POST", "/buckets/..", 400),
        ("DELETE", "/buckets/a/b", 405),
        ("POST", "/usage", 400),
        ("GET", "/nothing", 404),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_hint(url: str, method: str, path: str, status: int) -> None:
    told = json.loads(send(url, method, path, b"{", status).body)
    assert told.keys() == {"error", "hint"} and all(told.values())


# ---- who may ask -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "secre", "secret2", "gehe\u00efm"])
def test_without_the_token_nothing_is_done(url: str, servers: Stores, token: str | None) -> None:
    headers = {} if token is None else {TOKEN_HEADER: token}
    for method, path in [("POST", "/buckets/d-refused"), ("DELETE", "/schemas/d_x"), ("GET", "/clock"), ("POST", "/usage"), ("GET", "/x")]:
        answer = ask(url, method, path, b"", headers)
        assert answer.status == 401 and json.loads(answer.body).keys() == {"error", "hint"}
    assert not provisioning.store_client(servers[0]).bucket_exists(bucket_name="d-refused")
    assert ask(url, "GET", "/healthz").status == 200


# ---- usage and clock -------------------------------------------------------------------------------------------------


def test_usage_of_targets_and_null_for_those_that_do_not_answer(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, chain({"echo": echo}) as service:
        targets = {
            "host": f"{service}/-/usage",
            "silent": f"http://127.0.0.1:{silent.getsockname()[1]}/usage",
            "wrong path": f"{service}/-/other",
            "not a reading": f"{service}/healthz",
            "refused": "http://127.0.0.1:1/usage",
            "no url": "::",
            "no such name": "http://no-such-name.invalid/usage",
        }
        began = time.monotonic()
        told = json.loads(send(url, "POST", "/usage", json.dumps({"targets": targets}).encode()).body)
        ended = time.monotonic()
    reading = told.pop("host")
    assert told == dict.fromkeys(targets.keys() - {"host"})
    assert reading["cpu_s"] > 0 and reading["memory_mib"] > 0 and reading["boot_id"] == clock.boot_id()
    assert began <= reading["at_s"] <= ended


def test_the_clock_is_that_of_this_kernel(url: str) -> None:
    began = time.monotonic()
    told = json.loads(send(url, "GET", "/clock").body)
    assert began <= told["monotonic_s"] <= time.monotonic() and told["boot_id"] == clock.boot_id()


# ---- life ------------------------------------------------------------------------------------------------------------


def test_ready_when_both_stores_are(servers: Stores, tmp_path: Path) -> None:
    with agent(tmp_path, *servers) as (url, process):
        for _ in range(2):
            assert ask(url, "GET", "/readyz").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize("which", ["store", "database"])
def test_not_ready_while_one_of_them_does_not_answer(servers: Stores, tmp_path: Path, which: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        store = replace(servers[0], endpoint=f"127.0.0.1:{port}") if which == "store" else servers[0]
        database = replace(servers[1], port=port) if which == "database" else servers[1]
        with agent(tmp_path, store, database) as (url, _):
            answer = ask(url, "GET", "/readyz")
    told = json.loads(answer.body)
    assert answer.status == 503 and str(port) in told["error"] and told["hint"]


def test_a_lab_without_stores_has_an_agent_that_says_so(tmp_path: Path) -> None:
    with agent(tmp_path, None, None) as (url, _):
        assert ask(url, "GET", "/readyz").status == 200
        for path in ("/buckets/d-one", "/schemas/d_one"):
            assert "has no" in json.loads(send(url, "DELETE", path, status=503).body)["error"]


def test_an_agent_that_cannot_start_says_why(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "lab.runtime.agent", str(tmp_path)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ended.returncode == 3 and "config.json" in ended.stderr and "Traceback" not in ended.stderr
