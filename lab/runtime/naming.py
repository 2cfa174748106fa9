"""From a deployment's name to what is its own in the platform: its bucket and its schemas."""

from __future__ import annotations

import re

from lab.errors import InputError


def check_name(deployment: str) -> None:
    """It becomes a folder or a label, a bucket (at most 63 characters) and the beginning of schema names (at most 63 with the owner's)."""
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,39}", deployment):
        raise InputError(
            f"deployment {deployment!r} cannot be used as a name", "up to 40 letters, digits, - _ and . beginning with a letter or digit"
        )


def bucket(deployment: str) -> str:
    return "d-" + re.sub(r"[^a-z0-9]+", "-", deployment.lower()).strip("-")


def schema_prefix(deployment: str) -> str:
    return "d_" + re.sub(r"[^a-z0-9]+", "_", deployment.lower()).strip("_")
