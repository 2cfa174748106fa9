"""Where a scenario runs: defaults, then lab.toml in the folder, then in $LAB_HOME, then LAB_* variables, then the command line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import urlsplit

from lab.errors import InputError

# How to get the `minio` command: its last commit, as the project ships source only and no RELEASE tag resolves.
MINIO_COMMAND = "go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    # Which provider stands up the cloud; name of a file in lab/providers/. Default embedded: needs nothing but this package.
    provider: str = "embedded"
    # The Lab's name: its state lives in home/name; two names are two clouds. Default: default.
    name: str = "default"
    # Folder of all Labs' state and learned figures. Default ~/.lab; set it where the home is small or read-only.
    home: str = "~/.lab"
    # seaweedfs (comes with the package), minio (a `minio` command on PATH), or the http(s) URL of any S3 endpoint,
    # whose keys are read from S3_ACCESS_KEY and S3_SECRET_KEY.
    object_store: str = "seaweedfs"
    # Address of the service under test, for provider external only.
    url: str = ""
    # Seconds that everything together may take to be ready before `up` or a deployment is given up. Default 60.
    start_timeout_s: float = 60.0
    # Folder of run directories, relative to the folder that `lab` is called in. Default reports/runs.
    runs: str = "reports/runs"

    @property
    def state(self) -> Path:
        """The Lab's own folder."""
        return Path(self.home).expanduser().absolute() / self.name


def resolve(options: Mapping[str, str | float | None] | None = None, folder: Path | None = None) -> Settings:
    """All layers applied, in rising order. Raises InputError that lists every unknown key and wrong type at once."""
    problems: list[str] = []
    settings = Settings()
    environment = {k[4:].lower(): v for k, v in os.environ.items() if k.startswith("LAB_") and k[4:].lower() in _types()}
    given = {k: v for k, v in (options or {}).items() if v is not None}
    home = Path(str(given.get("home") or environment.get("home") or settings.home)).expanduser()
    for source, values in (
        ("lab.toml", _toml((folder or Path.cwd()) / "lab.toml")),
        (str(home / "lab.toml"), _toml(home / "lab.toml")),
        ("environment", environment),
        ("command line", given),
    ):
        settings = _apply(settings, values, source, problems)
    if not settings.name.replace("-", "").replace("_", "").isalnum():
        problems.append(f"name: found {settings.name!r}, wanted letters, digits, - and _")
    problems += [f"{name}: {why}" for name in ("url", "object_store") if (why := _address_problem(getattr(settings, name)))]
    if problems:
        raise InputError("settings cannot be used", "lab/settings.py says what each is for", problems)
    return settings


def _address_problem(value: str) -> str:
    """Settings stand in plan.json and in reports, so no secret may be in them."""
    if "://" not in value:
        return ""
    try:
        parts = urlsplit(value)
        if parts.username or parts.password:
            return "found a user or password in the URL, wanted none: it would be published with the report"
        if parts.hostname and parts.port != 0:  # reading the port raises for one out of range
            return ""
    except ValueError as error:
        return f"found {value!r}, wanted http(s)://host:port ({error})"
    return f"found {value!r}, wanted http(s)://host:port"


def _types() -> dict[str, type]:
    return {f.name: (float if f.type == "float" else str) for f in fields(Settings)}


def _toml(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}", "mend that line or delete the file") from error


def _apply(settings: Settings, values: Mapping[str, object], source: str, problems: list[str]) -> Settings:
    types = _types()
    for key, value in values.items():
        if key not in types:
            problems.append(f"{source}: unknown setting {key!r}; there are {', '.join(types)}")
            continue
        try:
            if isinstance(value, (dict, list, bool)):
                raise ValueError
            settings = replace(settings, **{key: types[key](value)})
        except ValueError:
            problems.append(f"{source}: {key}: found {value!r}, wanted a {'number' if types[key] is float else 'string'}")
    return settings
