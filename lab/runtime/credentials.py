"""From a credentials file that the provider wrote to the keys in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lab.errors import MachineError


class StoreKeys(msgspec.Struct):
    access_key: str
    secret_key: str


class DatabaseKeys(msgspec.Struct):
    user: str
    password: str


def read_keys(path: str, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise MachineError(f"the credentials {path} cannot be read: {error}", "the provider writes them; is the Lab up?") from error
