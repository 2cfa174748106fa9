"""What a Lab has said: lines of logs and events, read from its files, so that they can be had when everything is dead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from lab.model import Event
from lab.providers.embedded.layout import Layout
from lab.runtime.config import EVENT_MARK


def logs(layout: Layout, service: str, deployment: str) -> Iterator[str]:
    """Lines as "file | line": of one deployment, or of the platform and then every deployment; of one service, or of all."""
    folders = [] if deployment else [layout.logs]
    folders += [layout.deployment(deployment) / "logs"] if deployment else sorted((layout.state / "deployments").glob("*/logs"))
    for folder in folders:
        for path in sorted(folder.glob("*.log")):
            if not service or path.stem == service or path.stem.rpartition("-")[0] == service:
                with path.open(errors="replace") as file:
                    yield from (f"{path.stem} | {line.rstrip()}" for line in file)


def events(layout: Layout, deployment: str) -> tuple[Event, ...]:
    """The supervisor's and those that services print, of instances that are gone too, in order of time."""
    folder = layout.deployment(deployment)
    found = list(_lines(folder / "events.jsonl", ""))
    for path in sorted(folder.glob("logs/*.log")):
        found += _lines(path, EVENT_MARK)
    return tuple(sorted(found, key=lambda event: event.at_s))


def _lines(path: Path, mark: str) -> Iterator[Event]:
    """A last line without its end is being written right now: left out."""
    if path.is_file():
        with path.open(errors="replace") as file:
            for line in file:
                if line.startswith(mark) and line.endswith("\n"):
                    yield msgspec.json.decode(line[len(mark) :], type=Event)
