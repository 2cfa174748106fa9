"""Every object store that the lab starts: what it promises to stages, and that nobody gets in without its keys."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio.versioningconfig import ENABLED, VersioningConfig

from lab import spawn
from lab.errors import MachineError
from lab.providers.embedded import leftovers, object_store, ports, programs, seaweed
from lab.providers.embedded.layout import Layout
from lab.providers.embedded.object_store import Store
from lab.rundir import write_secret
from lab.runtime.config import StoreAddress
from lab.runtime.object_stores import S3Store
from lab.spawn import Command, Record
from tests.extras import need_command

KINDS = ("seaweedfs", "minio")
START_S = 30.0
BUCKET = "d-contract"


class Running:
    """A store in a folder of its own, which can be started again on the same data."""

    def __init__(self, kind: str, state: Path) -> None:
        self.kind = kind
        self.layout = Layout(state)
        self.layout.make()
        self.record = Record(path=self.layout.processes, lab_id=spawn.new_lab_id(state))
        self.store = self.start()

    def start(self) -> Store:
        self.store = object_store.run(self.kind, self.layout, self.record, time.monotonic() + START_S)
        return self.store

    def bucket(self, name: str = BUCKET) -> S3Store:
        return S3Store(self.store.address(name))


@pytest.fixture(scope="module", params=KINDS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    if request.param == "minio":
        need_command("minio", "go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c")
    found = Running(request.param, tmp_path_factory.mktemp(request.param) / "lab")
    try:
        found.store.make_bucket(BUCKET, {})
        yield found
    finally:
        leftovers.sweep(found.layout, grace_s=0)


@pytest.mark.parametrize("size", [0, 1, 8 * 2**20])
def test_what_is_put_can_be_got(running: Running, size: int) -> None:
    store, data = running.bucket(), bytes(i % 251 for i in range(size))
    store.put(f"sizes/{size}", data)
    assert store.get(f"sizes/{size}") == data


def test_the_last_put_wins(running: Running) -> None:
    store = running.bucket()
    store.put("twice", b"first, and longer")
    store.put("twice", b"second")
    assert store.get("twice") == b"second"


def test_keys_are_those_below_a_prefix(running: Running) -> None:
    store = running.bucket()
    for key in ("list/a/1", "list/a/2", "list/b/1", "lost"):
        store.put(key, b"x")
    assert sorted(store.keys("list/a/")) == ["list/a/1", "list/a/2"]
    assert sorted(store.keys("list/")) == ["list/a/1", "list/a/2", "list/b/1"]
    assert store.keys("nothing/here") == []


def test_a_missing_key_is_a_key_error(running: Running) -> None:
    with pytest.raises(KeyError):
        running.bucket().get("never/put")


def test_what_is_deleted_is_gone_and_may_be_deleted_again(running: Running) -> None:
    store = running.bucket()
    store.put("soon/gone", b"x")
    store.delete("soon/gone")
    store.delete("soon/gone")
    with pytest.raises(KeyError):
        store.get("soon/gone")
    assert store.keys("soon/") == []


def test_a_bucket_goes_with_its_contents_and_may_go_twice(running: Running) -> None:
    running.store.make_bucket("d-goes", {"models/m.onnx": b"model", "b": b""})
    assert sorted(running.bucket("d-goes").keys()) == ["b", "models/m.onnx"]
    running.store.remove_bucket("d-goes")
    running.store.remove_bucket("d-goes")
    assert not running.store.client().bucket_exists(bucket_name="d-goes")


def test_a_bucket_goes_with_older_versions_and_delete_markers(running: Running) -> None:
    running.store.make_bucket("d-versions", {})
    client = running.store.client()
    client.set_bucket_versioning(bucket_name="d-versions", config=VersioningConfig(ENABLED))
    store = running.bucket("d-versions")
    for key in ("twice", "twice", "gone"):
        store.put(key, b"x")
    store.delete("gone")
    assert len(list(client.list_objects(bucket_name="d-versions", recursive=True, include_version=True))) == 4
    running.store.remove_bucket("d-versions")
    assert not client.bucket_exists(bucket_name="d-versions")


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
def test_wrong_credentials_are_refused(running: Running, tmp_path: Path, wrong: str) -> None:
    running.bucket().put("private", b"x")
    right = running.store.address(BUCKET)
    keys = json.loads(Path(right.credentials_path).read_text()) | {wrong: "notthekey123456"}
    write_secret(tmp_path / "keys.json", json.dumps(keys))
    stranger = S3Store(StoreAddress(endpoint=right.endpoint, bucket=BUCKET, credentials_path=str(tmp_path / "keys.json")))
    for attempt in (lambda: stranger.get("private"), lambda: stranger.put("private", b"y"), lambda: stranger.delete("private")):
        with pytest.raises(MachineError, match="refuses"):
            attempt()
    assert running.bucket().get("private") == b"x"


def test_nobody_gets_in_without_credentials(running: Running) -> None:
    """Bare HTTP on every port that it listens on: no read, no write, no listing of what is stored."""
    running.bucket().put("secret/thing", b"the secret")
    assert running.store.process is not None
    numbers = sorted(ports.listening(running.store.process))
    assert numbers
    for number in numbers:
        for path in (f"/{BUCKET}/secret/thing", f"/buckets/{BUCKET}/secret/thing", f"/buckets/{BUCKET}/", f"/{BUCKET}/", "/dir/assign"):
            for method in ("GET", "PUT", "POST", "DELETE"):
                status, body = bare(number, method, path)
                assert status is None or status >= 400, f"{method} {path} on port {number} is answered with {status}"
                assert b"the secret" not in body
                assert b"secret/thing" not in body or b"<Resource>" in body, body
    assert running.bucket().get("secret/thing") == b"the secret"


def bare(port: int, method: str, path: str) -> tuple[int | None, bytes]:
    """Status None: it does not even speak HTTP/1.1 with us (gRPC behind TLS)."""
    connection = http.client.HTTPConnection(ports.LOOPBACK, port, timeout=5)
    try:
        connection.request(method, path, b"intruder" if method in ("PUT", "POST") else None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None, b""
    finally:
        connection.close()


def test_acknowledged_objects_survive_kill_9(running: Running) -> None:
    store = running.bucket()
    written = {f"kept/{i:03d}": f"object {i}".encode() * 50 for i in range(150)}
    for key, data in written.items():
        store.put(key, data)
    assert running.store.process is not None
    running.store.process.psutil.kill()
    running.store.process.wait(10)
    running.start()
    again = running.bucket()
    assert sorted(again.keys("kept/")) == sorted(written)
    assert {key: again.get(key) for key in written} == written


# ---- what only SeaweedFS needs ------------------------------------------------------------------------------------------


def test_an_uncredentialed_weed_shell_fails(tmp_path: Path) -> None:
    """With the throw-away certificate it lists the bucket (so the question is asked right), without it never."""
    running = Running("seaweedfs", tmp_path / "lab")
    try:
        running.store.make_bucket(BUCKET, {"secret": b"the secret"})
        allowed = shell(running, running.layout.run / "weed", tmp_path / "allowed.log")
        began = time.monotonic()
        assert allowed.wait(START_S) == 0
        took_s = time.monotonic() - began
        assert BUCKET in allowed.command.log.read_text()
        stranger = shell(running, tmp_path, tmp_path / "stranger.log")
        code = stranger.wait(2 + 3 * took_s)
        stranger.stop(0)
        assert code != 0, "it ended as if all were well"
        assert BUCKET not in stranger.command.log.read_text()
    finally:
        leftovers.sweep(running.layout, grace_s=0)


def shell(running: Running, home: Path, log: Path) -> spawn.Process:
    """`weed shell` that lists the buckets, with `home`/.seaweedfs as its security."""
    assert running.store.process is not None
    flags = dict(re.findall(r"-(\S+?)=(\S+)", " ".join(running.store.process.command.argv)))
    master = f"{ports.LOOPBACK}:{flags['master.port']}.{flags['master.port.grpc']}"
    filer = f"{ports.LOOPBACK}:{flags['filer.port']}.{flags['filer.port.grpc']}"
    script = f"echo 'fs.ls /buckets' | {programs.wanted('weed')} -logtostderr shell -master={master} -filer={filer}"
    own = {"HOME": str(home), "TMPDIR": str(log.parent)}  # it leaves a log file in TMPDIR
    return spawn.start(Command(argv=["/bin/sh", "-c", script], service="shell", log=log, env=own, cwd=log.parent))


def test_its_secrets_are_ours_alone_and_new_every_time(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        seaweed.lock_down(tmp_path / "home")
        files = [p for p in (tmp_path / "home").rglob("*") if p.is_file()]
        assert {p.stat().st_mode & 0o777 for p in files} == {0o600}
        texts.append((tmp_path / "home" / ".seaweedfs" / "security.toml").read_text())
    assert texts[0] != texts[1]
    assert all(f"[{name}]" in texts[0] for name in seaweed.JWT_KEYS)


def test_a_url_that_is_no_store_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "lab")
    layout.make()
    monkeypatch.setenv("S3_ACCESS_KEY", "a")
    monkeypatch.setenv("S3_SECRET_KEY", "b")
    [nobody] = ports.free(1)
    record = Record(path=layout.processes, lab_id="x")
    with pytest.raises(MachineError, match=f"http://127.0.0.1:{nobody}"):
        object_store.run(f"http://127.0.0.1:{nobody}", layout, record, time.monotonic() + START_S)


def test_an_endpoint_that_already_runs_is_used_and_left_clean(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = json.loads(Path(running.store.endpoint.credentials).read_text())
    monkeypatch.setenv("S3_ACCESS_KEY", keys["access_key"])
    monkeypatch.setenv("S3_SECRET_KEY", keys["secret_key"])
    layout = Layout(tmp_path / "lab")
    layout.make()
    found = object_store.run(running.store.endpoint.url, layout, Record(path=layout.processes, lab_id="x"), time.monotonic() + START_S)
    assert found.process is None
    assert urlsplit(found.endpoint.url).netloc == found.address(BUCKET).endpoint
    S3Store(found.address(BUCKET)).put("through/url", b"x")
    assert running.bucket().get("through/url") == b"x"
