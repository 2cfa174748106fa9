"""Processes are known before they exist, run where they should, and end with all their children."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lab import spawn
from lab.errors import MachineError
from lab.spawn import Command, Process, Record

DEADLINE_S = 10.0
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; print('child', flush=True); time.sleep(60)"], start_new_session=True)
child.wait()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def record(state: Path) -> Record:
    return Record(path=state / "processes.jsonl", lab_id=spawn.new_lab_id(state))


def python(state: Path, code: str, **options: object) -> Command:
    return Command(argv=[sys.executable, "-c", code], service="thing", log=state / "thing.log", **options)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def said(process: Process, text: str) -> bool:
    return text in process.command.log.read_text()


def test_intent_is_recorded_even_if_nothing_gets_started(state: Path, record: Record) -> None:
    command = Command(argv=["/nowhere/at-all", "x"], service="ghost", log=state / "log", leaves=("/tmp/ghost.sock",))
    with pytest.raises(MachineError, match="ghost"):
        spawn.start(command, record)
    [line] = [json.loads(text) for text in record.path.read_text().splitlines()]
    assert line["service"] == "ghost"
    assert line["argv0"] == "/nowhere/at-all"
    assert line["leaves"] == ["/tmp/ghost.sock"]
    assert "pid" not in line


def test_record_holds_pid_and_start_time_and_the_child_carries_the_tag(state: Path, record: Record) -> None:
    process = spawn.start(python(state, "import time; time.sleep(60)"), record)
    try:
        intent, started = Record.lines(record.path)
        assert started["intent"] == intent["intent"]
        assert (started["pid"], started["created"]) == (process.pid, process.created)
        wait_for(lambda: psutil.Process(process.pid).environ().get("LAB_ID") == record.lab_id)
        assert record.lab_id.startswith(spawn.lab_key(state))
    finally:
        process.stop(0)


def test_a_line_that_was_cut_off_is_left_out(record: Record) -> None:
    record.path.write_bytes(b'{"intent": "a", "pid": 1, "created": 1.0}\n{"intent": "b", "pi')
    assert [line["intent"] for line in Record.lines(record.path)] == ["a"]


def test_environment_can_be_set_and_unset(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOES", "1")
    code = "import os; print(os.environ.get('GOES'), os.environ['COMES'])"
    process = spawn.start(python(state, code, env={"GOES": None, "COMES": "2"}))
    assert process.wait(DEADLINE_S) == 0
    assert spawn.tail(process.command.log, 1) == ["None 2"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no CPU affinity")
def test_cpus_hold_from_the_first_instruction_and_only_for_the_child(state: Path) -> None:
    before = os.sched_getaffinity(0)
    one = max(before)
    process = spawn.start(python(state, "import os; print(sorted(os.sched_getaffinity(0)))", cpus=(one,)))
    assert os.sched_getaffinity(0) == before
    assert process.wait(DEADLINE_S) == 0
    assert spawn.tail(process.command.log, 1) == [f"[{one}]"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no CPU affinity")
def test_pin_moves_every_thread(state: Path) -> None:
    code = "import threading, time; [threading.Thread(target=time.sleep, args=(60,)).start() for _ in range(3)]; print('ready', flush=True)"
    one = min(os.sched_getaffinity(0))
    process = spawn.start(python(state, code))
    try:
        wait_for(lambda: said(process, "ready"))
        spawn.pin(process.tree(), (one,))
        threads = [thread.id for thread in process.psutil.threads()]
        assert len(threads) == 4
        assert [os.sched_getaffinity(thread) for thread in threads] == [{one}] * 4
    finally:
        process.stop(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_user_switches_uid_and_gid_and_drops_groups(state: Path) -> None:
    code = "import os; print(os.getuid(), os.getgid(), os.getgroups())"
    command = Command(argv=["/bin/sh", "-c", "id -u; id -g; id -G"], service="other", log=state / "log", cwd=Path("/"), user=65534)
    assert spawn.start(command).wait(DEADLINE_S) == 0, code
    assert spawn.tail(command.log, 3) == ["65534", "65534", "65534"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="this system does not show environments")
def test_another_user_sees_none_of_our_secrets(state: Path, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SECRET_KEY", "ours")
    command = Command(
        argv=["/bin/sh", "-c", "echo ready; sleep 60"], service="other", log=state / "log", cwd=Path("/"), user=65534, env={"GIVEN": "1"}
    )
    process = spawn.start(command, record)
    try:
        wait_for(lambda: said(process, "ready"))
        names = {line.partition(b"=")[0].decode() for line in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0") if line}
        assert {"GIVEN", "LAB_ID", "PATH"} <= names <= {"GIVEN", *spawn.FOR_ANYONE}
    finally:
        process.stop(0)
    shown = ["/bin/sh", "-c", "tr '\\0' '\\n' < /proc/self/environ"]
    monkeypatch.setenv("LAB_ID", record.lab_id)
    assert record.lab_id in spawn.capture(shown, timeout_s=DEADLINE_S, cwd=Path("/"), user=65534).output, "of_lab finds it by its tag"
    assert "S3_SECRET_KEY" not in spawn.capture(shown, timeout_s=DEADLINE_S, cwd=Path("/"), user=65534).output
    assert "S3_SECRET_KEY=ours" in spawn.capture(shown, timeout_s=DEADLINE_S, cwd=Path("/")).output


def test_stop_is_grace_first(state: Path) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('ready', flush=True); time.sleep(60)"
    process = spawn.start(python(state, code))
    wait_for(lambda: said(process, "ready"))
    process.stop(DEADLINE_S)
    assert process.returncode == 7


def test_stop_kills_what_ignores_the_signal(state: Path) -> None:
    process = spawn.start(python(state, STUBBORN))
    wait_for(lambda: said(process, "ready"))
    process.stop(0.1)
    assert process.returncode == -signal.SIGKILL


def test_stop_uses_the_signal_it_was_told(state: Path) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(5)); print('ready', flush=True); time.sleep(60)"
    process = spawn.start(python(state, code, stop_signal=signal.SIGINT))
    wait_for(lambda: said(process, "ready"))
    process.stop(DEADLINE_S)
    assert process.returncode == 5


def test_stop_ends_children_in_sessions_of_their_own(state: Path) -> None:
    process = spawn.start(python(state, PARENT))
    wait_for(lambda: said(process, "child"))
    [child] = process.psutil.children(recursive=True)
    process.stop(0.5)
    wait_for(lambda: not child.is_running())


def test_end_is_told_with_code_and_cpu_time(state: Path) -> None:
    ended: list[Process] = []
    code = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('no part', flush=True); sys.exit(9)"
    process = spawn.start(python(state, code), on_end=ended.append)
    assert process.wait(DEADLINE_S) == 9
    wait_for(lambda: ended == [process])
    assert process.cpu_s >= 0.3
    assert not process.alive
    assert "exit code 9" in process.failure()
    assert "no part" in process.failure()


def test_a_process_that_still_runs_has_no_code(state: Path) -> None:
    process = spawn.start(python(state, "import time; time.sleep(60)"))
    try:
        assert process.wait(0.05) is None
        assert process.alive
    finally:
        process.stop(0)
    assert "SIGTERM" in process.failure() or "SIGKILL" in process.failure()


def test_of_lab_finds_by_tag_when_the_record_is_lost(state: Path, record: Record) -> None:
    process = spawn.start(python(state, PARENT), record)
    try:
        wait_for(lambda: said(process, "child"))
        record.path.unlink()
        assert process.pid in {p.pid for p in spawn.of_lab(state)}
        assert len(spawn.of_lab(state)) == 2, "the process and its child"
        assert spawn.of_lab(state / "other") == []
    finally:
        process.stop(0)
    assert spawn.of_lab(state) == []


def test_of_lab_finds_by_record_what_lost_its_tag(state: Path, record: Record) -> None:
    code = f"import os, sys; os.environ.pop('LAB_ID', None); os.execv(sys.executable, [sys.executable, '-c', {STUBBORN!r}])"
    process = spawn.start(python(state, code), record)
    try:
        wait_for(lambda: said(process, "ready"))
        assert "LAB_ID" not in psutil.Process(process.pid).environ()
        assert [p.pid for p in spawn.of_lab(state)] == [process.pid]
    finally:
        process.stop(0)


def test_of_lab_is_never_ourselves_or_above(state: Path, record: Record) -> None:
    for process in (psutil.Process(), psutil.Process().parent()):
        assert process is not None
        record.started("x", process.pid, process.create_time())
    assert os.getpid() not in {p.pid for p in spawn.of_lab(state)}
    assert os.getppid() not in {p.pid for p in spawn.of_lab(state)}


def test_a_pid_that_was_given_away_again_is_somebody_else() -> None:
    me = psutil.Process()
    assert spawn.running(me.pid, me.create_time()) is not None
    assert spawn.running(me.pid, me.create_time() - 5) is None


def test_end_kills_after_grace_and_accepts_what_is_gone(state: Path) -> None:
    stubborn = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    known = [psutil.Process(stubborn.pid), psutil.Process(gone.pid)]
    assert stubborn.stdout is not None
    assert stubborn.stdout.readline() == b"ready\n"
    gone.wait()
    spawn.end(known, grace_s=0.1)
    assert stubborn.wait(DEADLINE_S) == -signal.SIGKILL
    stubborn.stdout.close()


def test_tail_is_the_end_of_a_large_file_and_nothing_of_none(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert spawn.tail(log, 3) == []
    log.write_text("".join(f"line {i}\n" for i in range(100_000)))
    assert spawn.tail(log, 3) == ["line 99997", "line 99998", "line 99999"]


def test_capture_gives_code_and_both_outputs(tmp_path: Path) -> None:
    done = spawn.capture(["/bin/sh", "-c", "cat; echo out; echo err >&2; pwd; exit 3"], timeout_s=DEADLINE_S, cwd=tmp_path, stdin="in\n")
    assert done.code == 3
    assert done.output.split() == ["in", "out", str(tmp_path), "err"]


@pytest.mark.parametrize("argv", [["/nowhere/at-all"], ["/bin/sh", "-c", "sleep 60"]])
def test_capture_refuses_what_is_missing_or_hangs(argv: list[str]) -> None:
    with pytest.raises(MachineError, match=argv[0]):
        spawn.capture(argv, timeout_s=0.2)
