"""The images as an engine builds them: every program in them runs as an ordinary user on a read-only root, keeps its data, and pushes."""

from __future__ import annotations

import contextlib
import io
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from minio import Minio
from minio.error import S3Error
from urllib3 import PoolManager, Retry
from urllib3.exceptions import HTTPError

from lab.errors import MachineError
from lab.providers.kubernetes import images
from lab.providers.kubernetes.images import engine, handing
from lab.providers.kubernetes.images.context import TARGETS, context
from lab.settings import Settings
from tests.extras import need_command

SETTINGS = Settings(object_store="seaweedfs")  # its program is then in the image `platform`
USER, PASSWORD = "lab", "a-long-enough-password"
STORES = {"store": ["server", "--address", ":9000", "/data"], "platform": ["lab-seaweed", "/data"]}
PROGRAMS = """
import importlib, sys
from lab import registry
for name in ("host", "activator", "agent", "meter"):
    importlib.import_module(f"lab.runtime.{name}")
for name in ("lab.providers.kubernetes", *sys.argv[1:]):
    importlib.import_module(name)
import httptools, uvloop
from lab.workloads import models
import onnxruntime, pathlib
for path in pathlib.Path(models.__file__).parent.glob("*.onnx"):
    onnxruntime.InferenceSession(str(path))
registry.workload("vision")
print(*sorted({m.partition(".")[0] for m in sys.modules} & {"torch", "scipy", "pandas", "matplotlib", "locust"}))
"""


@pytest.fixture(scope="module")
def built() -> images.Built:
    """All of them; minutes where the engine has none of their layers."""
    try:
        engine.connect().close()
    except MachineError as error:
        pytest.skip(f"{error.what}: {error.hint}")
    try:
        return images.build(SETTINGS, TARGETS, print)
    except MachineError as error:
        if not {"proxy", "pull"} & set(error.hint.replace("(", " ").split()):
            raise
        pytest.skip(f"{error.what.splitlines()[0]}: {error.hint}")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name, text in (("access_key", USER), ("secret_key", PASSWORD)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    return tmp_path


Run = Callable[..., Any]


@pytest.fixture
def run(built: images.Built, keys: Path) -> Iterator[Run]:
    """Starts a container as a pod would be: no capability, nothing writable but /tmp and its volume /data."""
    with contextlib.closing(engine.connect()) as client, contextlib.ExitStack() as after:

        def start(target: str, command: list[str], port: int = 0, volume: str = "", env: Mapping[str, str] = {}) -> Any:
            container = client.containers.run(
                built.references[target],
                command,
                detach=True,
                user="10001:10001",
                read_only=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                tmpfs={"/tmp": "mode=1777"} | ({} if volume else {"/data": "mode=1777"}),
                volumes={str(keys): {"bind": "/keys", "mode": "ro"}} | ({volume: {"bind": "/data"}} if volume else {}),
                environment={"MINIO_ROOT_USER_FILE": "/keys/access_key", "MINIO_ROOT_PASSWORD_FILE": "/keys/secret_key", **env},
                ports={f"{port}/tcp": ("127.0.0.1", None)} if port else {},
            )
            after.callback(container.remove, force=True)
            return container

        yield start


@pytest.fixture
def volume() -> Iterator[str]:
    """As a cluster gives one: its folder is everybody's. Named before `run` in a test, so that its containers go first."""
    with contextlib.closing(engine.connect()) as client:
        made = client.volumes.create()
        client.containers.run(
            context("platform", SETTINGS).tag, ["chmod", "1777", "/data"], user="0", remove=True, volumes={made.name: {"bind": "/data"}}
        )
        yield str(made.name)
        made.remove(force=True)


def published(container: Any, port: int) -> int:
    container.reload()
    return int(container.ports[f"{port}/tcp"][0]["HostPort"])


def eventually(ask: Callable[[], Any], *failures: type[Exception], container: Any, timeout_s: float = 30) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except failures as error:
            if time.monotonic() > deadline:
                raise AssertionError(container.logs().decode()[-3000:]) from error
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "more", "loaded"), [("serving", [], ""), ("driver", ["lab.load.inside", "lab.load.record"], "pandas")])
def test_pods_find_all_they_import(run: Run, target: str, more: list[str], loaded: str) -> None:
    container = run(target, ["python", "-c", PROGRAMS, *more])
    code = container.wait(timeout=120)["StatusCode"]
    said = container.logs().decode()
    assert code == 0, said
    assert set(said.split()) <= set(loaded.split()), said


@pytest.mark.slow
def test_a_cold_start_compiles_nothing(run: Run) -> None:
    container = run(
        "serving", ["python", "-v", "-c", "import lab.runtime.host, lab.runtime.activator, onnxruntime, minio, psycopg, aiohttp"]
    )
    assert container.wait(timeout=120)["StatusCode"] == 0
    said = container.logs().decode().splitlines()
    assert [line for line in said if "matches /opt/lab/code/" in line]
    assert not [line for line in said if line.startswith("# code object from '/opt/lab") and not line.endswith(".pyc'")]


@pytest.mark.slow
def test_the_digits_are_in_the_drivers_image(run: Run) -> None:
    container = run("driver", ["python", "-c", "from lab.ml import digits; print(digits.data_file().stat().st_size)"])
    assert container.wait(timeout=60)["StatusCode"] == 0, container.logs()
    assert int(container.logs()) > 100_000


@pytest.mark.slow
def test_the_database_keeps_its_rows_and_wants_its_password(volume: str, run: Run) -> None:
    env = {
        "POSTGRES_USER": USER,
        "POSTGRES_PASSWORD_FILE": "/keys/secret_key",
        "POSTGRES_DB": "rows",
        "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C --no-sync",
        "PGDATA": "/data/postgres",
    }
    options = ["-c", "listen_addresses=*", "-c", "unix_socket_directories=/tmp", "-c", "dynamic_shared_memory_type=mmap"]

    def serve() -> tuple[Any, str]:
        container = run("platform", ["lab-postgres", *options], 5432, volume, env)
        return container, f"host=127.0.0.1 port={published(container, 5432)} dbname=rows user={USER} connect_timeout=5"

    first, to = serve()
    with eventually(lambda: psycopg.connect(f"{to} password={PASSWORD}"), psycopg.OperationalError, container=first) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"{to} password=wrong")
    held = psycopg.connect(f"{to} password={PASSWORD}")  # a client that stays must not keep it from stopping
    first.stop(timeout=20)
    held.close()
    assert first.wait()["StatusCode"] == 0, first.logs().decode()[-2000:]
    second, to = serve()
    with eventually(lambda: psycopg.connect(f"{to} password={PASSWORD}"), psycopg.OperationalError, container=second) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]


def client_of(container: Any, secret: str) -> Minio:
    http = PoolManager(timeout=5, retries=Retry(0))
    return Minio(f"127.0.0.1:{published(container, 9000)}", USER, secret, secure=False, http_client=http)


@pytest.mark.slow
@pytest.mark.parametrize("target", STORES)
def test_a_store_keeps_objects_wants_its_keys_and_stops(volume: str, run: Run, target: str) -> None:
    command = STORES[target] if target == "platform" else ["lab-minio", *STORES[target]][1:]
    first = run(target, command, 9000, volume)
    eventually(lambda: client_of(first, PASSWORD).make_bucket(bucket_name="kept"), HTTPError, S3Error, container=first)
    client_of(first, PASSWORD).put_object(bucket_name="kept", object_name="k", data=io.BytesIO(b"here"), length=4)
    with pytest.raises(S3Error, match="Signature"):
        client_of(first, "wrong-password").list_buckets()
    first.stop(timeout=20)
    assert first.wait()["StatusCode"] != 137, "it had to be killed"
    second = run(target, command, 9000, volume)
    answer = eventually(
        lambda: client_of(second, PASSWORD).get_object(bucket_name="kept", object_name="k"), HTTPError, S3Error, container=second
    )
    with answer:
        assert answer.read() == b"here"


@pytest.mark.slow
def test_the_gateway_answers(run: Run) -> None:
    arguments = ["--entrypoints.web.address=:8080", "--ping=true", "--ping.entrypoint=web", "--global.checknewversion=false"]
    container = run("platform", ["lab-traefik", *arguments], 8080)
    url = f"http://127.0.0.1:{published(container, 8080)}/ping"
    with PoolManager(timeout=5, retries=Retry(0)) as http:

        def ping() -> None:
            assert http.request("GET", url).status == 200

        eventually(ping, HTTPError, AssertionError, container=container)


@pytest.mark.slow
def test_what_exists_is_taken_as_it_is(built: images.Built) -> None:
    told: list[str] = []
    again = images.build(SETTINGS, ["platform", "store"], told.append)
    assert again == replace(built, references={t: built.references[t] for t in ("platform", "store")}, built=(), reused=again.reused)
    assert set(again.reused) == {"platform", "store"} and "reused" in told[0]


@pytest.mark.slow
def test_a_base_image_that_cannot_be_had_is_named(built: images.Built) -> None:
    with pytest.raises(MachineError, match=r"step 2 of .* FROM") as found:
        images.build(replace(SETTINGS, images_python="127.0.0.1:9/no-such-image:1"), ["platform"], lambda line: None)
    assert "images.python" in found.value.hint


@pytest.mark.slow
def test_images_are_pushed_to_a_real_registry(built: images.Built, tmp_path: Path) -> None:
    need_command("registry", "go install github.com/distribution/distribution/v3/cmd/registry@v3.0.0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {tmp_path}/registry\nhttp:\n  addr: 127.0.0.1:{port}\n"
    )
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen(["registry", "serve", str(tmp_path / "registry.yml")], stdout=log, stderr=log)
    only = replace(built, references={"store": built.references["store"]})
    try:
        with PoolManager(timeout=5, retries=Retry(20, backoff_factor=0.1)) as http:
            http.request("GET", f"http://127.0.0.1:{port}/v2/")
            pushed = images.push(only, f"127.0.0.1:{port}/team", lambda line: None)
            repository, _, tag = pushed["store"].removeprefix(f"127.0.0.1:{port}/").rpartition(":")
            assert repository == "team/lab-store"
            assert http.request("GET", f"http://127.0.0.1:{port}/v2/{repository}/tags/list").json()["tags"] == [tag]
    finally:
        process.terminate()
        process.wait(10)
        with contextlib.closing(engine.connect()) as client:
            client.images.remove(f"127.0.0.1:{port}/team/lab-{built.references['store'].removeprefix('lab/')}")


@pytest.mark.slow
def test_a_registry_that_is_not_there_is_told(built: images.Built) -> None:
    only = replace(built, references={"store": built.references["store"]})
    try:
        with pytest.raises(MachineError, match="cannot be pushed") as found:
            images.push(only, "127.0.0.1:9", lambda line: None)
    finally:
        with contextlib.closing(engine.connect()) as client:
            client.images.remove(f"127.0.0.1:9/lab-{built.references['store'].removeprefix('lab/')}")
    assert "kubernetes.registry" in found.value.hint


@pytest.mark.slow
def test_a_node_that_is_not_there_is_told(built: images.Built) -> None:
    with pytest.raises(MachineError, match="cannot be loaded"):
        handing.load(built, ["no-such-node"], lambda line: None)
