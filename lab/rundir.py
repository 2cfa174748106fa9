"""A run directory: its paths, appending, atomic writing and reading of typed JSON."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from lab.errors import InputError, MachineError
from lab.model import ClockOffset, Probe

T = TypeVar("T")
Status = Literal["planned", "running", "done", "broken", "skipped"]  # skipped: a gate was decided before


@dataclass(frozen=True, kw_only=True, slots=True)
class CellStatus:
    """`origin_s` is time.monotonic at which the driver's clock read 0; `windows` are (step, start_s, end_s) on the driver's clock.
    `clocks`: every other clock that events and usage name, and those of drivers elsewhere (driver-0 ...), measured at both ends.
    `probes`: of a search, one for each window; they tell the windows' rates, which the plan cannot know."""

    cell: str
    status: Status
    reason: str = ""
    deployment: str = ""
    origin_s: float | None = None
    ready_s: dict[str, float] | None = None
    windows: tuple[tuple[int, float, float], ...] = ()
    warmup_stable: bool | None = None
    driver: dict[str, float] | None = None
    clocks: dict[str, ClockOffset] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    schema_version: int = 1

    def rates_per_s(self, planned: Sequence[float]) -> tuple[float, ...]:
        """Of every window, by step; `planned` are the load's."""
        return tuple(p.rate_per_s for p in self.probes) or tuple(planned)


def encode(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1)


def decode(data: bytes, kind: type[T], where: str) -> T:
    """Raises InputError that names the file and the field."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise InputError(f"{where} cannot be read: {error}", "it was written by another version, or cut off; make it again") from error


def write(path: Path, data: bytes) -> None:
    """Atomic: readers see the old file or the new one. A full disk is a MachineError and leaves the old file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _disk(path, error) from error


def write_secret(path: Path, text: str, uid: int | None = None) -> None:
    """0600 from its first byte. `uid`: whose it then is, with the group of the same number; else our own."""
    try:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        if uid is not None:
            os.chown(path, uid, uid)
    except OSError as error:
        raise _disk(path, error) from error


def append(path: Path, data: bytes) -> None:
    """Raises MachineError when the disk is full; what was appended before stays readable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise _disk(path, error) from error


def _disk(path: Path, error: OSError) -> MachineError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MachineError(f"no space left for {path}", "free some space, then `lab run --resume RUN` goes on")
    return MachineError(f"cannot write {path}: {error.strerror}", "check the folder's owner and mode, or set `runs`")


@dataclass(frozen=True)
class RunDir:
    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def environment(self) -> Path:
        return self.root / "environment.json"

    @property
    def summary(self) -> Path:
        return self.root / "summary.json"

    @property
    def comparison(self) -> Path:
        return self.root / "comparison.json"

    @property
    def html(self) -> Path:
        return self.root / "report.html"

    @property
    def markdown(self) -> Path:
        return self.root / "report.md"

    def cell(self, cell_id: str) -> CellDir:
        return CellDir(self.root / "cells" / cell_id)

    def read(self, path: Path, kind: type[T]) -> T:
        if not path.is_file():
            raise InputError(f"{self.root} has no {path.name}", "is this a run directory? `lab runs` lists them")
        return decode(path.read_bytes(), kind, str(path))


@dataclass(frozen=True)
class CellDir:
    root: Path

    @property
    def status_path(self) -> Path:
        return self.root / "status.json"

    @property
    def topology(self) -> Path:
        return self.root / "topology.json"

    @property
    def stream(self) -> Path:
        """Arrow IPC stream that the driver appends to; readable after kill -9."""
        return self.root / "samples.arrows"

    @property
    def samples(self) -> Path:
        return self.root / "samples.parquet"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def usage(self) -> Path:
        return self.root / "usage.jsonl"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def status(self) -> CellStatus | None:
        return decode(self.status_path.read_bytes(), CellStatus, str(self.status_path)) if self.status_path.is_file() else None

    def mark(self, status: CellStatus) -> None:
        write(self.status_path, encode(status))

    def lines(self, path: Path, kind: type[T]) -> Iterator[T]:
        """Typed lines of a .jsonl file; a last line that was cut off by a kill is left out."""
        if path.is_file():
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    yield decode(line, kind, str(path))
