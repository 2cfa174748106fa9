"""What a user does with a standing Lab: up, status, logs, down, clean."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab import ownership, refs, registry
from lab.contracts import Endpoint, Provider
from lab.errors import InputError, MachineError
from lab.model import Usage
from lab.progress import Mode, progress
from lab.settings import Settings


def provider(settings: Settings) -> Provider:
    """The one that made the Lab of that name, whatever the settings say now; that of the settings where there is none."""
    name = ownership.provider_of(settings.state) or settings.provider
    return registry.provider(name)(replace(settings, provider=name))


def up(settings: Settings, mode: Mode) -> tuple[tuple[Endpoint, ...], float]:
    """The endpoints, and the seconds it took."""
    began = time.monotonic()
    standing = provider(settings)
    if standing.name != settings.provider:
        what = f"the Lab {settings.name} is one of provider {standing.name}, wanted {settings.provider}"
        raise InputError(what, "give the new one another --name, or delete that one with `lab clean`")
    standing.prepare()
    with progress(mode, standing.capabilities().up_s) as shown:
        endpoints = standing.up(shown.phase)
    return endpoints, time.monotonic() - began


def status(settings: Settings) -> tuple[tuple[Endpoint, ...], tuple[Usage, ...]]:
    standing = provider(settings)
    endpoints = standing.find()
    if endpoints is None:
        raise MachineError(f"no Lab called {settings.name!r} stands below {settings.home}", "`lab up` makes one")
    return endpoints, standing.usage()


def logs(settings: Settings, service: str, lines: int) -> Iterator[str]:
    yield from deque(provider(settings).logs(service), maxlen=lines)


def down(settings: Settings) -> str:
    standing = provider(settings)
    stood = standing.find() is not None
    standing.down()  # also what a killed supervisor left
    if not stood:
        return f"no Lab called {settings.name} stands"
    return f"Lab {settings.name} is stopped; its data is in {settings.state}. `lab up` brings it back, `lab clean` deletes it."


def clean(settings: Settings, *, dry_run: bool, everything: bool) -> tuple[str, ...]:
    """Names what is (or would be) deleted. Labs that a killed run left behind are always included; those of living runs never."""
    names = _labs(settings) if everything else [settings.name, *(n for n in _labs(settings) if n.startswith(ownership.PREFIX))]
    chosen = [n for n in dict.fromkeys(names) if not ownership.owned(replace(settings, name=n).state)]
    removed: list[str] = []
    for name in chosen:
        own = replace(settings, name=name)
        if dry_run:
            removed += [f"Lab {name}: its processes and {own.state}"] if own.state.exists() else []
        else:
            worktrees = refs.of_lab(own.state)  # named before the folder goes
            removed += provider(own).destroy()
            removed += worktrees.remove()
            ownership.release(own)
    return tuple(removed)


def _labs(settings: Settings) -> list[str]:
    home = Path(settings.home).expanduser()
    return sorted(p.name for p in home.iterdir() if ownership.is_lab(p)) if home.is_dir() else []
