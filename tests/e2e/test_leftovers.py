"""kill -9 of anything at any moment: afterwards `destroy` leaves no process, socket, shared memory or file of the Lab."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lab import registry, spawn
from lab.errors import MachineError
from lab.model import Budget, Shape
from lab.providers.embedded import Provider, leftovers, postgres
from lab.providers.embedded.layout import Layout
from lab.settings import Settings
from lab.spawn import Command, Process, Record

DEADLINE_S = 30.0
UP = """
import os, sys, time
from lab.providers.embedded import Provider
from lab.settings import Settings
Provider(Settings(home=sys.argv[1], name="left")).up(lambda text: print(text, flush=True), owner_pid=os.getpid())
print("stands", flush=True)
time.sleep(600)
"""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


class Scene:
    """A Lab, and what it may leave on the machine."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=str(home), name="left")
        self.layout = Layout(self.settings.state)
        self.provider = Provider(self.settings)
        self.before = unused_memory()

    def pids(self) -> dict[str, int]:
        """service -> pid of those that the record knows."""
        lines = list(Record.lines(self.layout.processes))
        services = {line["intent"]: line["service"] for line in lines if "service" in line}
        return {str(services[line["intent"]]): int(str(line["pid"])) for line in lines if "pid" in line}

    def sockets(self) -> list[Path]:
        lines = Record.lines(self.layout.processes)
        return [Path(str(path)) for line in lines for path in list(line.get("leaves", []))]  # type: ignore[call-overload]

    def kill(self, service: str) -> None:
        os.kill(self.pids()[service], signal.SIGKILL)

    def deploy(self) -> str:
        workload, placing = registry.workload("noop"), registry.architecture("three_tier")
        shape = Shape(name="noop", model_size="S", stages=workload.stages, operations=workload.operations)
        self.provider.deploy(placing.place(shape, Budget(), placing.Options()), "c-1", seed=1)
        return "c-1"

    def destroy(self) -> tuple[str, ...]:
        """And proof that nothing is left."""
        pids = set(self.pids().values())
        sockets = self.sockets()
        removed = self.provider.destroy()
        assert spawn.of_lab(self.settings.state) == []
        assert [p for p in map(still, pids) if p is not None] == []
        assert unused_memory() <= self.before
        assert [p for p in sockets if p.exists()] == []
        assert [p for p in (self.layout.state, self.layout.run, self.layout.outside, self.layout.short_run) if p.exists()] == []
        assert self.provider.destroy() == ()
        return removed


def still(pid: int) -> psutil.Process | None:
    """It, if it has not ended."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def unused_memory() -> set[str]:
    """Segments that nobody uses and whose maker has ended, and Postgres's files in /dev/shm."""
    files = set(map(str, Path("/dev/shm").glob("PostgreSQL.*"))) if Path("/dev/shm").is_dir() else set()
    return files | {f"segment {s.id}" for s in postgres.segments() if not s.attached and still(s.maker) is None}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "home")
    try:
        yield made
    finally:
        made.provider.destroy()


def owner(scene: Scene, tmp_path: Path) -> Process:
    """A command line that makes a Lab of its own and keeps it."""
    return spawn.start(Command(argv=[sys.executable, "-c", UP, scene.settings.home], service="owner", log=tmp_path / "owner.log"))


@pytest.mark.parametrize("services", [("supervisor",), ("database",), ("object_store", "gateway", "app")])
def test_kill_9_of_processes_of_a_standing_lab(scene: Scene, services: tuple[str, ...]) -> None:
    scene.provider.up()
    scene.deploy()
    for service in services:
        scene.kill(service)
        wait_for(lambda service=service: still(scene.pids()[service]) is None, f"the end of {service}")  # type: ignore[misc]
    assert scene.destroy()


def test_kill_9_of_everything_at_once_without_its_record(scene: Scene) -> None:
    """Shared memory is then found through the data folder."""
    scene.provider.up()
    for process in spawn.of_lab(scene.settings.state):
        process.kill()
    record = scene.layout.processes.read_bytes()
    segments = {s.id for s in postgres.segments() if s.maker == scene.pids()["database"]}
    assert segments
    scene.layout.processes.unlink()
    scene.provider.destroy()
    assert spawn.of_lab(scene.settings.state) == []
    assert not segments & {s.id for s in postgres.segments()}
    scene.layout.state.mkdir(parents=True)
    scene.layout.processes.write_bytes(record)
    scene.destroy()


def test_processes_without_a_record_are_found_by_their_tag(scene: Scene) -> None:
    scene.provider.up()
    scene.deploy()
    known, sockets = scene.pids(), scene.sockets()
    scene.layout.processes.unlink()
    os.kill(known["supervisor"], signal.SIGKILL)
    scene.provider.destroy()
    assert [path for path in sockets if path.exists()] == []
    assert [service for service, pid in known.items() if still(pid) is not None] == []


def test_after_kill_9_of_the_supervisor_up_starts_anew_with_the_data(scene: Scene) -> None:
    scene.provider.up()
    scene.deploy()
    before = scene.pids()
    data = {p.name for p in scene.layout.data.iterdir()}
    scene.kill("supervisor")
    wait_for(lambda: scene.provider.find() is None, "the end of the supervisor")
    scene.provider.up()
    assert [service for service, pid in before.items() if still(pid) is not None] == []
    assert {p.name for p in scene.layout.data.iterdir()} == data
    assert not (scene.layout.state / "deployments" / "c-1").exists(), "what a killed supervisor had deployed is cleaned up"
    assert [u.service for u in scene.provider.usage() if u.tier == "architecture"] == []
    scene.destroy()


def test_a_lab_whose_owner_is_killed_ends_by_itself(scene: Scene, tmp_path: Path) -> None:
    running = owner(scene, tmp_path)
    wait_for(lambda: "stands" in running.command.log.read_text(), "the Lab")
    assert scene.provider.find() is not None
    running.psutil.kill()
    wait_for(lambda: spawn.of_lab(scene.settings.state) == [], "the Lab's own end")
    layout = scene.layout
    assert [p for p in (layout.state, layout.run, layout.outside, layout.short_run) if p.exists()] == [], "nobody else will delete its data"
    assert unused_memory() <= scene.before
    assert scene.provider.find() is None
    scene.destroy()


@pytest.mark.parametrize("moment", ["supervisor", "gateway", "database", "object_store (seaweedfs) ready"])
def test_kill_9_of_the_command_line_while_the_lab_starts(scene: Scene, tmp_path: Path, moment: str) -> None:
    running = owner(scene, tmp_path)
    said = running.command.log
    wait_for(lambda: moment in scene.pids() or moment in said.read_text() or not running.alive, moment)
    assert running.alive, running.failure()
    running.psutil.kill()
    running.wait(DEADLINE_S)
    scene.destroy()


@pytest.mark.parametrize("moment", ["gateway", "database"])
def test_kill_9_of_the_supervisor_while_the_lab_starts(scene: Scene, tmp_path: Path, moment: str) -> None:
    """`up` says so, and leaves nothing running."""
    running = owner(scene, tmp_path)
    wait_for(lambda: moment in scene.pids() or not running.alive, moment)
    scene.kill("supervisor")
    assert running.wait(DEADLINE_S) == 1
    assert "supervisor ended with SIGKILL" in running.command.log.read_text()
    assert spawn.of_lab(scene.settings.state) == []
    scene.destroy()


def test_sigterm_of_the_supervisor_is_an_orderly_end(scene: Scene) -> None:
    scene.provider.up()
    scene.deploy()
    known = scene.pids()
    os.kill(known["supervisor"], signal.SIGTERM)
    wait_for(lambda: spawn.of_lab(scene.settings.state) == [], "the end of the Lab")
    assert "database system is shut down" in scene.layout.log("database").read_text()
    scene.destroy()


@pytest.mark.parametrize("verb", ["destroy", "down"])
def test_a_folder_that_is_no_lab_is_left_alone(scene: Scene, verb: str) -> None:
    """`name` and `home` may be any: a home of "/" with the name "home" is a folder full of somebody's work."""
    state = scene.settings.state
    (state / "run").mkdir(parents=True)
    (state / "work.txt").write_text("mine")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(state / "run" / "own.sock"))
    getattr(scene.provider, verb)()
    with pytest.raises(MachineError, match="is not a Lab"):
        scene.provider.up()
    assert leftovers.erase(scene.layout) == ()
    assert {str(p.relative_to(state)) for p in state.rglob("*")} == {"work.txt", "run", "run/own.sock"}


@pytest.mark.parametrize("known_by", ["lab", "owner.json", "processes.jsonl"])
def test_a_lab_is_known_by_its_mark_or_by_what_older_versions_wrote(scene: Scene, known_by: str) -> None:
    state = scene.settings.state
    (state / "data").mkdir(parents=True)
    (state / known_by).touch()
    assert f"folder {state}" in scene.destroy()


def test_a_lab_that_another_command_deletes_meanwhile_is_nobodys_error(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.layout.make()
    monkeypatch.setattr(Layout, "known", lambda _: True)
    shutil.rmtree(scene.layout.state)
    scene.provider.down()
    assert not scene.layout.state.exists()


def test_a_lab_whose_folder_is_deleted_ends_by_itself(scene: Scene) -> None:
    scene.provider.up()
    scene.layout.control.unlink()
    wait_for(lambda: spawn.of_lab(scene.settings.state) == [], "the Lab's own end")
    scene.destroy()
