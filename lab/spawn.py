"""Starts, records, tags, pins and ends processes; takes commands, gives Process objects; the only module that creates processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lab.errors import MachineError
from lab.processes import descent, over
from lab.processes import end as end
from lab.processes import running as running

LAB_ID_VARIABLE = "LAB_ID"
# What another user may read; all else of our environment may be a secret.
FOR_ANYONE = (LAB_ID_VARIABLE, "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")


def lab_key(state: Path) -> str:
    """What LAB_ID begins with in every process of the Lab in the folder `state`; known without any record."""
    return hashlib.sha256(str(state.expanduser().resolve()).encode()).hexdigest()[:12]


def new_lab_id(state: Path) -> str:
    """The key and a random part: one incarnation of the Lab."""
    return f"{lab_key(state)}-{secrets.token_hex(4)}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to start. `env` is laid over this process's environment, None removes a variable. `cpus` are CPU numbers (all if empty).
    `user` is a uid to switch to, its gid is the same number; of this process's environment it gets only FOR_ANYONE. `leaves` names files
    that the process does not remove when it is killed."""

    argv: Sequence[str]
    service: str
    log: Path
    env: Mapping[str, str | None] = field(default_factory=dict)
    cwd: Path | None = None
    pass_fds: tuple[int, ...] = ()
    user: int | None = None
    cpus: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    leaves: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record:
    """`processes.jsonl`: what will be started, then its pid and start time; a kill of ours in between loses neither."""

    path: Path
    lab_id: str

    def intend(self, command: Command) -> str:
        intent = secrets.token_hex(6)
        self._append({"intent": intent, "service": command.service, "argv0": command.argv[0], "leaves": list(command.leaves)})
        return intent

    def started(self, intent: str, pid: int, created: float) -> None:
        self._append({"intent": intent, "pid": pid, "created": created})

    def _append(self, line: Mapping[str, object]) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise MachineError(f"cannot write {self.path}: {error.strerror}", "free some space or set `home` to another folder") from error

    @staticmethod
    def lines(path: Path) -> Iterator[dict[str, object]]:
        """Whole lines only: the last one may have been cut off by a kill."""
        if path.is_file():
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    yield dict(json.loads(line))


class Process:
    """One process that we started. A thread of ours reaps it, so that its CPU time is known to the end."""

    def __init__(self, popen: subprocess.Popen[bytes], command: Command, on_end: Callable[[Process], None] | None) -> None:
        self.command = command
        self.pid = popen.pid
        self.returncode: int | None = None
        self.cpu_s = 0.0  # of the whole process, known once it has ended
        self.psutil = psutil.Process(popen.pid)
        self.created = self.psutil.create_time()
        self._popen = popen
        self._on_end = on_end
        self._ended = threading.Event()
        threading.Thread(target=self._reap, name=f"reap-{command.service}", daemon=True).start()

    def _reap(self) -> None:
        _, status, usage = os.wait4(self.pid, 0)
        self.returncode = self._popen.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self._ended.set()
        if self._on_end is not None:
            self._on_end(self)

    @property
    def alive(self) -> bool:
        return not self._ended.is_set()

    def wait(self, timeout_s: float) -> int | None:
        """The exit code (negative: the signal), or None when it still runs after `timeout_s`."""
        self._ended.wait(timeout_s)
        return self.returncode

    def tree(self) -> list[psutil.Process]:
        """Itself, if alive, and all its living descendants."""
        return descent([self.psutil]) if self.alive else []

    def stop(self, grace_s: float = 5.0) -> None:
        """Its stop signal, then after `grace_s` SIGKILL, for it and its descent; returns when all have ended."""
        tree = self.tree()
        if self.alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.psutil.send_signal(self.command.stop_signal)
            self._ended.wait(grace_s)
        end(tree, grace_s=0)
        self._ended.wait(grace_s + 10)

    def failure(self, lines: int = 12) -> str:
        """How it ended, and the last lines of its log."""
        how = "still runs" if self.returncode is None else f"ended with {exit_text(self.returncode)}"
        said = "".join(f"\n  {line}" for line in tail(self.command.log, lines))
        return f"{self.command.service} {how}; its last lines ({self.command.log}):{said}"


def start(command: Command, record: Record | None = None, on_end: Callable[[Process], None] | None = None) -> Process:
    """Raises MachineError when it cannot be started. `on_end` is called in a thread when it has ended, however it did."""
    env = {**_inherited(command.user), **command.env}
    if record is not None:
        env[LAB_ID_VARIABLE] = record.lab_id
        intent = record.intend(command)
    try:
        with command.log.open("ab") as log, _pinned(command.cpus):
            popen = subprocess.Popen(
                list(command.argv),
                env={name: value for name, value in env.items() if value is not None},
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=command.pass_fds,
                start_new_session=True,
                user=command.user,
                group=command.user,
                extra_groups=None if command.user is None else [],
            )
    except OSError as error:
        raise MachineError(f"cannot start {command.service}: {error}", f"is {command.argv[0]} there and executable?") from error
    process = Process(popen, command, on_end)
    if record is not None:
        try:
            record.started(intent, process.pid, process.created)
        except BaseException:
            process.stop(grace_s=0)
            raise
    return process


def _inherited(user: int | None) -> dict[str, str | None]:
    return dict(os.environ) if user is None else {name: os.environ[name] for name in FOR_ANYONE if name in os.environ}


@contextlib.contextmanager
def _pinned(cpus: tuple[int, ...]) -> Iterator[None]:
    """On Linux the affinity belongs to the calling thread and a child inherits it: no moment on a wrong CPU, no code after the fork."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(processes: Iterable[psutil.Process], cpus: tuple[int, ...]) -> None:
    """Moves every thread of processes that already run; nothing on systems without affinity."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, cpus)


@dataclass(frozen=True, kw_only=True)
class Captured:
    """`output` is `stdout` and then what it wrote to its standard error."""

    code: int
    output: str
    stdout: str = ""


def capture(argv: Sequence[str], *, timeout_s: float, cwd: Path | None = None, user: int | None = None, stdin: str = "") -> Captured:
    """Runs a short command to its end: its exit code, and standard output and error together.

    Raises MachineError if it cannot start or takes too long."""
    try:
        done = subprocess.run(
            list(argv),
            env={name: value for name, value in _inherited(user).items() if value is not None},
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            cwd=cwd,
            check=False,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"cannot run {argv[0]}: {error}", "is it there, executable, and the machine not overloaded?") from error
    return Captured(code=done.returncode, output=done.stdout + done.stderr, stdout=done.stdout)


def exit_text(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    names = {s.value: s.name for s in signal.Signals}
    return names.get(-code, f"signal {-code}")


def tail(log: Path, n: int) -> list[str]:
    """The last `n` lines; none if there is no such file."""
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 400 * n))
        return file.read().decode(errors="replace").splitlines()[-n:]


# ---- processes of a Lab, by its record and its tag ---------------------------------------------------------------------


def of_lab(state: Path) -> list[psutil.Process]:
    """Every living process of the Lab in `state`: by its record, by its tag, and their descent. Never this process or one above it."""
    found = [p for p in map(_recorded, Record.lines(state / "processes.jsonl")) if p is not None]
    found += [p for p in psutil.process_iter() if _tagged(p, lab_key(state))]
    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    return [p for p in descent(found) if p.pid not in own and not over(p)]


def tagged(lab_id: str) -> list[psutil.Process]:
    """Every living process that was started with exactly this LAB_ID, and their descent; never this one or one above it."""
    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    found = [p for p in psutil.process_iter() if p.pid not in own and _lab_id(p) == lab_id and not over(p)]
    return [p for p in descent(found) if not over(p)]


def name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return "ended"


def _recorded(line: Mapping[str, object]) -> psutil.Process | None:
    pid, created = line.get("pid"), line.get("created")
    return running(pid, created) if isinstance(pid, int) and isinstance(created, float) else None


def _tagged(process: psutil.Process, key: str) -> bool:
    return _lab_id(process).partition("-")[0] == key and not over(process)


def _lab_id(process: psutil.Process) -> str:
    """Empty where it has none, or is not ours to read."""
    try:
        return process.environ().get(LAB_ID_VARIABLE, "")
    except (psutil.Error, OSError):
        return ""
