"""One line of what was found on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """`needed`: without it the chosen provider cannot work; else it is an extra. `next_step` is empty when all is well."""

    name: str
    state: Literal["ok", "missing", "limited"]
    says: str
    needed: bool = False
    next_step: str = ""


def ok(name: str, says: str) -> Finding:
    return Finding(name=name, state="ok", says=says)


def missing(name: str, says: str, next_step: str) -> Finding:
    """An extra that is not there."""
    return Finding(name=name, state="missing", says=says, next_step=next_step)


def limited(name: str, says: str, next_step: str) -> Finding:
    """There, but not all of it."""
    return Finding(name=name, state="limited", says=says, next_step=next_step)
