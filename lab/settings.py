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
    # seaweedfs (comes with the package), minio (embedded: a `minio` command on PATH; Kubernetes: built into an image), or the http(s) URL
    # of any S3 endpoint, whose keys are read from S3_ACCESS_KEY and S3_SECRET_KEY. Default: seaweedfs on embedded, minio on Kubernetes.
    object_store: str = ""
    # Address of the service under test, for provider external only.
    url: str = ""
    # Seconds that everything together may take to be ready before `up` or a deployment is given up. Default 60.
    start_timeout_s: float = 60.0
    # Folder of run directories, relative to the folder that `lab` is called in. Default reports/runs.
    runs: str = "reports/runs"
    # Where the load driver runs on Kubernetes: inside (a Job in the cluster), or outside (on this machine, through kind's mapped port).
    driver: str = "inside"
    # Load drivers at the same time, each with its share of one schedule. 0: as many as the highest rate needs.
    driver_processes: int = 0
    # Node image of kind. Default: the one that the installed kind was released with.
    kind_image: str = ""
    # Worker nodes of kind beside the control plane: the first ones hold the architecture, the control plane holds platform and driver.
    # 0: one node for all, which cannot keep driver and system apart.
    kind_workers: int = 1
    # Context of the kubeconfig for provider kubernetes. Default: its current context.
    kubernetes_context: str = ""
    # Where images are pushed for provider kubernetes, e.g. registry.example.com/team. Default: none, the nodes must have them already.
    kubernetes_registry: str = ""
    # Storage class of the platform's volumes. Default: the cluster's own default class.
    kubernetes_storage_class: str = ""
    # What to do when the cluster has no metrics API, which autoscaling needs: refuse (say so), or install (metrics-server).
    kubernetes_metrics: str = "refuse"
    # Base image of what the lab builds.
    images_python: str = "python:3.11-slim"
    # Image in which MinIO is built from its Go module.
    images_golang: str = "golang:1.26-bookworm"
    # PostgreSQL on Kubernetes: an official image such as postgres:18. Default: the lab's own image.
    images_postgres: str = ""
    # Gateway on Kubernetes: an official image such as traefik:v3.7. Default: the lab's own image.
    images_gateway: str = ""

    @property
    def state(self) -> Path:
        """The Lab's own folder."""
        return Path(self.home).expanduser().absolute() / self.name


TABLES = ("kind", "kubernetes", "images")  # kind.image (in TOML a table) is the field kind_image


def key(field: str) -> str:
    """What a user calls the setting of that field."""
    table, _, rest = field.partition("_")
    return f"{table}.{rest}" if table in TABLES and rest else field


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
    for name, wanted in (("driver", ("inside", "outside")), ("kubernetes_metrics", ("refuse", "install"))):
        if getattr(settings, name) not in wanted:
            problems.append(f"{key(name)}: found {getattr(settings, name)!r}, wanted {' or '.join(wanted)}")
    problems += [
        f"{key(name)}: found {value}, wanted 0 or more"
        for name in ("kind_workers", "driver_processes")
        if (value := getattr(settings, name)) < 0
    ]
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
    return {f.name: {"float": float, "int": int}.get(str(f.type), str) for f in fields(Settings)}


def _toml(path: Path) -> Mapping[str, object]:
    """Tables are flattened: [kind] image is kind_image."""
    if not path.is_file():
        return {}
    try:
        found = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}", "mend that line or delete the file") from error
    flat: dict[str, object] = {}
    for name, value in found.items():
        flat |= {f"{name}.{inner}": given for inner, given in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _apply(settings: Settings, values: Mapping[str, object], source: str, problems: list[str]) -> Settings:
    types = _types()
    fields_of = {key(name): name for name in types} | {name: name for name in types}
    for given, value in values.items():
        name = fields_of.get(given)
        if name is None:
            problems.append(f"{source}: unknown setting {given!r}; there are {', '.join(map(key, types))}")
            continue
        try:
            if isinstance(value, (list, bool)) or (types[name] is int and isinstance(value, float)):
                raise ValueError
            settings = replace(settings, **{name: types[name](value)})
        except ValueError:
            wanted = {float: "a number", int: "a whole number"}.get(types[name], "a string")
            problems.append(f"{source}: {key(name)}: found {value!r}, wanted {wanted}")
    return settings
