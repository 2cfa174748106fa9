"""Builds of the sides, one after the other, each in its own folder: they end well, or an error says which did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab import shell, spawn
from lab.errors import InputError
from lab.progress import Progress
from lab.spawn import Process

STOP_S = 5.0
SAID_LINES = 8


@dataclass(frozen=True, kw_only=True)
class Build:
    """The shell command `text`. `bound` is what in the scenario says `timeout_s`."""

    text: str
    folder: Path
    timeout_s: float
    bound: str
    env: Mapping[str, str] = field(default_factory=dict)


def run(builds: Mapping[str, Build], logs: Path, record: spawn.Record, shown: Progress) -> None:
    """By side ("" where there is one tree only). Raises InputError with the last lines of those that failed."""
    logs.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    for side, build in builds.items():
        called = side or "the service"
        shown.phase(f"building {called}: {build.text}")
        log = logs / f"{side or 'service'}.log"
        log.unlink(missing_ok=True)
        process = spawn.start(shell.command(build.text, service=f"build of {called}", log=log, cwd=build.folder, env=build.env), record)
        try:
            code = process.wait(build.timeout_s)
        finally:
            process.stop(STOP_S)
        if code != 0:
            failed[side] = _failure(process, code, build)
    if failed:
        only = " only" if len(failed) == 1 else ""
        sides = " and ".join(failed)
        what = f"the build fails on {sides}{only}, so nothing was measured" if sides else "the build fails, so nothing was measured"
        raise InputError(what, f"the whole logs are in {logs}", list(failed.values()))


def _failure(process: Process, code: int | None, build: Build) -> str:
    if code is None:
        return f"{process.command.service} took more than {build.bound}, {build.timeout_s:g} s"
    return process.failure(SAID_LINES)
