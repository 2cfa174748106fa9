"""The token of a Lab, random, in a file: who sends it in TOKEN_HEADER may ask the meters and the agent."""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from typing import Final

from lab.errors import MachineError
from lab.runtime.config import TOKEN_HEADER

TOKEN_VARIABLE: Final = "LAB_TOKEN_FILE"  # the file's path, in the environment of a pod's processes that check it
REFUSAL: Final = {
    "error": f"the token in the header {TOKEN_HEADER} is missing, or not this Lab's",
    "hint": "the provider that made the Lab keeps it with the Lab's credentials",
}


def from_environment() -> str:
    path = os.environ.get(TOKEN_VARIABLE)
    if not path:
        raise MachineError(f"{TOKEN_VARIABLE} is not set", "it is the path of the file with the Lab's token")
    return read(Path(path))


def read(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise MachineError(f"the token {path} cannot be read: {error.strerror}", "the provider mounts it as a secret") from error
    if not token:
        raise MachineError(f"the token {path} is empty, so anybody would be let in", "the provider mounts it as a secret")
    return token


def same(sent: str, token: str) -> bool:
    """In a time that tells nothing about the token."""
    return hmac.compare_digest(sent.encode(), token.encode())
