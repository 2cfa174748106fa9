"""Shell commands of the user's own: from a text to a Command whose environment is free of the lab's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from lab.spawn import Command

# What would lead a checkout's programs to another tree's code: the venv that the lab runs in, and the hook that it may be called by.
OURS = ("LAB_", "GIT_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")


def command(
    text: str, *, service: str, log: Path, cwd: Path, env: Mapping[str, str], unset: tuple[str, ...] = (), cpus: tuple[int, ...] = ()
) -> Command:
    """`env` is laid over ours, less OURS."""
    ours = {name: None for name in os.environ if name.startswith(OURS)}
    laid = {**ours, **dict.fromkeys(unset), "PATH": _path(), **env}
    return Command(argv=["/bin/sh", "-c", text], service=service, log=log, cwd=cwd, env=laid, cpus=cpus)


def _path() -> str:
    """Ours; in the place of our venv the Python that it was made from."""
    ours = {str(Path(prefix) / "bin") for prefix in (sys.prefix, os.environ.get("VIRTUAL_ENV")) if prefix}
    base = str(Path(sys.base_prefix) / "bin")
    parts = [base if part in ours else part for part in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(parts))
