"""What a deployment has said: lines of logs and events, from the files that its witness wrote, also of pods that are gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from lab.model import Event
from lab.runtime.config import EVENT_MARK


@dataclass(frozen=True, kw_only=True)
class Source:
    """One pod's log: its file in logs/, and the clock that its events name."""

    file: str
    pod: str
    clock: str


def logs(folder: Path, service: str) -> Iterator[str]:
    """Lines as "instance | line", of one service or of all."""
    for path in sorted((folder / "logs").glob("*.log")):
        if not service or path.stem.rpartition("-")[0] == service:
            with path.open(errors="replace") as file:
                yield from (f"{path.stem} | {line.rstrip()}" for line in file)


def events(folder: Path) -> tuple[Event, ...]:
    """In order of time."""
    found = list(_lines(folder / "events.jsonl", ""))
    for source in _sources(folder):
        found += (replace(event, clock=source.clock) for event in _lines(folder / "logs" / source.file, EVENT_MARK))
    return tuple(sorted(found, key=lambda event: event.at_s))


def _sources(folder: Path) -> Iterator[Source]:
    path = folder / "pods.jsonl"
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        yield msgspec.json.decode(line, type=Source)


def _lines(path: Path, mark: str) -> Iterator[Event]:
    """A last line without its end is being written right now: left out."""
    if path.is_file():
        with path.open(errors="replace") as file:
            for line in file:
                if line.startswith(mark) and line.endswith("\n"):
                    yield msgspec.json.decode(line[len(mark) :], type=Event)
