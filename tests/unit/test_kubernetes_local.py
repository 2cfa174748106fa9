"""What the provider keeps and finds on this machine: kubeconfigs that do not work, a Lab's folder, what pods said, and who kept a Lab."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import psutil
import pytest

from lab import ownership, spawn
from lab.errors import InputError, LabError, MachineError
from lab.model import Event
from lab.providers.kubernetes import keeping, telling
from lab.providers.kubernetes.connection import connection
from lab.providers.kubernetes.state import Known, State
from lab.providers.kubernetes.telling import Source
from lab.rundir import append
from lab.runtime.config import EVENT_MARK
from lab.settings import Settings

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts:
- {name: here, context: {cluster: c, user: u}}
- {name: lost, context: {cluster: gone, user: u}}
- {name: nobody, context: {cluster: c}}
"""

# ---- kubeconfig --------------------------------------------------------------------------------------------------------------


def test_a_context_leads_to_its_cluster(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    assert connection(path, "").cluster.server == connection(path, "here").cluster.server == "https://127.0.0.1:1"


@pytest.mark.parametrize(
    ("content", "context", "words"),
    [
        (None, "", "no kubeconfig"),
        ("just words", "", "not a kubeconfig"),
        ("a: [", "", "not a kubeconfig"),
        ("contexts: []", "", "not a kubeconfig"),
        (KUBECONFIG, "there", "no context 'there'; it has here, lost, nobody"),
        (KUBECONFIG, "lost", "gone"),
        (KUBECONFIG, "nobody", "no user"),
        (KUBECONFIG.replace("current-context: here", ""), "", "names no current context"),
    ],
)
def test_a_kubeconfig_that_does_not_work_says_why(tmp_path: Path, content: str | None, context: str, words: str) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises((InputError, MachineError), match=words) as raised:
        connection(path, context)
    assert raised.value.hint


def test_the_users_own_kubeconfig_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "mine"))
    with pytest.raises(LabError, match="mine"):
        connection(None, "")


# ---- the Lab's folder --------------------------------------------------------------------------------------------------------


def test_secrets_are_random_private_and_stay(tmp_path: Path) -> None:
    first, other = State(tmp_path / "a"), State(tmp_path / "b")
    for state in (first, other):
        state.make("kubernetes")
    found = first.secrets(Settings(object_store="minio"))
    assert found == first.secrets(Settings(object_store="minio"))
    assert found["store"]["secret_key"] != other.secrets(Settings(object_store="minio"))["store"]["secret_key"]
    assert first.token() == found["agent"]["token"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in first.credentials.iterdir())


def test_keys_of_somebody_elses_store_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ACCESS_KEY", "theirs")
    monkeypatch.setenv("S3_SECRET_KEY", "hush")
    state = State(tmp_path / "a")
    state.make("kubernetes")
    assert state.secrets(Settings(object_store="https://s3.example.com"))["store"] == {"access_key": "theirs", "secret_key": "hush"}


def test_two_folders_are_two_labs_also_of_one_name(tmp_path: Path) -> None:
    assert State(tmp_path / "a" / "default").key != State(tmp_path / "b" / "default").key
    assert State(tmp_path / "a").key == State(tmp_path / "x" / ".." / "a").key


def test_what_is_known_is_read_back_and_erased(tmp_path: Path) -> None:
    state = State(tmp_path / "a")
    assert state.known() is None
    state.make("kubernetes")
    known = Known(namespace="lab-a", server="https://x", built={"serving": "lab/serving:1"})
    state.remember(known)
    assert state.known() == known
    assert state.erase()
    assert not state.folder.exists()
    assert state.erase() == ()


def test_a_folder_that_is_no_lab_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(MachineError, match="not a Lab"):
        State(tmp_path).make("kubernetes")
    assert State(tmp_path).erase() == ()
    assert (tmp_path / "thesis.txt").exists()


# ---- what pods said ----------------------------------------------------------------------------------------------------------


def test_events_of_pods_name_the_clock_of_their_node(tmp_path: Path) -> None:
    def line(at_s: float) -> bytes:
        event = Event(at_s=at_s, clock="monotonic", kind="cold_start", service="intake", values={})
        return EVENT_MARK.encode() + msgspec.json.encode(event) + b"\n"

    for pod, clock, at_s in (("x1", "monotonic", 2.0), ("y2", "monotonic@far", 1.0)):
        source = Source(file=f"intake-{pod}.log", pod=f"c-1-intake-{pod}", clock=clock)
        append(tmp_path / "pods.jsonl", msgspec.json.encode(source) + b"\n")
        append(tmp_path / "logs" / source.file, b"hello\n" + line(at_s))
    append(tmp_path / "events.jsonl", line(3.0).removeprefix(EVENT_MARK.encode()))
    append(tmp_path / "logs" / "intake-x1.log", line(9.0)[:-1])  # being written right now
    assert [(e.at_s, e.clock) for e in telling.events(tmp_path)] == [(1.0, "monotonic@far"), (2.0, "monotonic"), (3.0, "monotonic")]
    assert "intake-y2 | hello" in list(telling.logs(tmp_path, "intake"))
    assert list(telling.logs(tmp_path, "take")) == []


# ---- the keeper --------------------------------------------------------------------------------------------------------------


def test_the_keeper_sleeps_until_its_owner_has_ended(tmp_path: Path) -> None:
    owner = spawn.start(spawn.Command(argv=["sleep", "600"], service="owner", log=tmp_path / "log"))
    woken = threading.Event()
    kept = keeping.Kept(settings=Settings(), owner_pid=owner.pid, owner_created=owner.created)

    def keep() -> None:
        keeping.wait(kept)
        woken.set()

    thread = threading.Thread(target=keep)
    thread.start()
    assert not woken.wait(0.3)
    owner.stop(grace_s=0)
    assert woken.wait(10.0)
    thread.join()


def test_a_later_process_with_the_same_pid_is_not_the_owner() -> None:
    keeping.wait(keeping.Kept(settings=Settings(), owner_pid=os.getpid(), owner_created=psutil.Process().create_time() - 100))


def test_the_keeper_of_a_lab_is_found_and_ended(tmp_path: Path) -> None:
    state = State(tmp_path / "a")
    state.make("kubernetes")
    keeping.start(Settings(provider="kubernetes", home=str(tmp_path), name="a"), state, os.getpid())
    assert len(keeping.end(state)) == 1
    assert keeping.end(state) == ()
    assert ownership.is_lab(state.folder)
