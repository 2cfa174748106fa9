"""What killed processes leave: finds and removes it, and names it."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil

from lab import ownership, spawn
from lab.providers.embedded import postgres
from lab.providers.embedded.layout import Layout, remove_tree
from lab.spawn import Record


def sweep(layout: Layout, grace_s: float) -> tuple[str, ...]:
    """Ends every process of the Lab, then removes sockets and shared memory; the data stays. Names what it removed."""
    pids = {pid for line in Record.lines(layout.processes) if isinstance(pid := line.get("pid"), int)}
    removed: list[str] = []
    bound: set[Path] = set()
    while found := [*spawn.of_lab(layout.state), *_stray_postgres(layout)]:  # again, for those that were just being started
        removed += [f"process {p.pid} ({_name(p)})" for p in dict.fromkeys(found)]
        bound |= {path for process in found for path in _bound(process)}
        spawn.end(list(dict.fromkeys(found)), grace_s)
    removed += postgres.remove_leftovers(layout, pids)
    removed += _sockets(layout, bound)
    layout.processes.unlink(missing_ok=True)
    return tuple(removed)


def erase(layout: Layout) -> tuple[str, ...]:
    """The Lab's folders, wherever they are; nothing where `state` is something else. The mark goes last, so that a Lab that was erased by
    half is still known."""
    removed = [f"folder {folder}" for folder in (layout.short_run, layout.outside) if remove_tree(folder)]
    if layout.known() and not layout.state.is_symlink():
        ownership.mark(layout.state)
        last = (layout.lock.name, ownership.MARKER)
        for path in layout.state.iterdir():
            if path.name not in last and not remove_tree(path):
                path.unlink()
        for name in last:
            (layout.state / name).unlink(missing_ok=True)
        layout.state.rmdir()
        removed.insert(0, f"folder {layout.state}")
    return tuple(removed)


def _stray_postgres(layout: Layout) -> Iterator[psutil.Process]:
    """Children of a killed server: they have overwritten their environment and lost their parent, but they still sit in its data folder."""
    homes = {str((folder / "postgres").resolve()) for folder in (layout.data, layout.outside)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name().startswith("postgres") and process.cwd() in homes and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return "ended"


def _bound(process: psutil.Process) -> Iterator[Path]:
    """Unix sockets that it listens on: a kill leaves them, wherever they are."""
    with contextlib.suppress(psutil.Error, OSError):
        yield from (Path(str(c.laddr)) for c in process.net_connections("unix") if str(c.laddr).startswith("/"))


def _sockets(layout: Layout, bound: set[Path]) -> Iterator[str]:
    named = [Path(str(path)) for line in Record.lines(layout.processes) for path in _leaves(line)]
    inside = list(layout.run.glob("*.sock")) if layout.run.is_dir() else []
    for path in dict.fromkeys([*named, *inside, *sorted(bound)]):
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
                yield f"socket {path}"


def _leaves(line: dict[str, object]) -> list[object]:
    leaves = line.get("leaves")
    return leaves if isinstance(leaves, list) else []
