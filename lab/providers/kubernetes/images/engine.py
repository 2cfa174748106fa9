"""From targets to images in a Docker engine, by its classic builder; what exists already is taken as it is."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import MachineError
from lab.providers.kubernetes.images.context import TARGETS, Context, context
from lab.settings import Settings

if TYPE_CHECKING:
    from docker import DockerClient

DISK_WANTED_MIB = 5000  # the four images take 1,400, building them for the first time twice as much for a while
LAST_LINES = 15
TIMEOUT_S = 1200  # between two signs of life: a step may be silent for minutes


@dataclass(frozen=True, kw_only=True)
class Built:
    """`references`: target -> full reference of its image, of which `built` are new and `reused` were there."""

    references: Mapping[str, str]
    built: tuple[str, ...]
    reused: tuple[str, ...]


def build(settings: Settings, targets: Collection[str], report: Callable[[str], None]) -> Built:
    """Raises MachineError with the step and the last lines of a build that fails, or when there is no engine."""
    contexts = {target: context(target, settings) for target in TARGETS if target in targets}
    engine = connect()
    try:
        reused = tuple(target for target, wanted in contexts.items() if _exists(engine, wanted.tag))
        built = tuple(target for target in contexts if target not in reused)
        for target in built:
            _build(engine, contexts[target], report)
    finally:
        engine.close()
    if reused:
        report(f"images reused, as nothing that they are made of has changed: {', '.join(reused)}")
    return Built(references={target: wanted.tag for target, wanted in contexts.items()}, built=built, reused=reused)


def connect() -> DockerClient:
    """The engine that the docker command talks to: DOCKER_HOST, else its current context. Raises MachineError."""
    import docker
    from docker.context import ContextAPI
    from docker.errors import DockerException

    try:
        named = os.environ.get("DOCKER_HOST", "")
        chosen = None if named else ContextAPI.get_current_context()
        _knock(named if chosen is None else chosen.Host or "")
        if chosen is None:
            engine = docker.DockerClient.from_env(timeout=TIMEOUT_S)
        else:
            engine = docker.DockerClient(base_url=chosen.Host, tls=chosen.TLSConfig or False, timeout=TIMEOUT_S)
        engine.ping()
    except (DockerException, OSError) as error:
        raise MachineError(*_unreachable(error)) from error
    return engine


def _knock(host: str) -> None:
    """Raises the OSError that tells why a local socket does not open; the SDK hides it."""
    scheme, _, path = host.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)


def _unreachable(error: Exception) -> tuple[str, str]:
    if isinstance(error, PermissionError):
        return (
            "the Docker engine's socket may not be used by this user",
            "sudo usermod -aG docker $USER and log in again, or set up rootless Docker (https://docs.docker.com/engine/security/rootless/)",
        )
    if isinstance(error, FileNotFoundError):
        return "no Docker engine runs here", "install Docker and start it (https://docs.docker.com/engine/install/), or set DOCKER_HOST"
    return f"the Docker engine does not answer: {error}", "is it started, and is DOCKER_HOST (or `docker context`) right?"


def problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """(what is wrong, next step) for everything that `build` would fail over."""
    try:
        engine = connect()
    except MachineError as error:
        yield error.what, error.hint
        return
    try:
        info = engine.info()
        missing = [t for t in TARGETS if not _exists(engine, context(t, settings).tag)]
    finally:
        engine.close()
    if info.get("OSType") != "linux":
        yield f"the Docker engine runs {info.get('OSType')} containers", "switch it to Linux containers"
    root = Path(str(info.get("DockerRootDir") or "/"))
    if missing and root.is_dir():  # else the engine is on another machine, or in a virtual one
        free_mib = shutil.disk_usage(root).free // 2**20
        if free_mib < DISK_WANTED_MIB:
            yield f"disk: {free_mib} MiB free below {root}, {DISK_WANTED_MIB} wanted to build images", "docker system prune, or free space"


def _exists(engine: DockerClient, reference: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        engine.images.get(reference)
    except ImageNotFound:
        return False
    return True


def _build(engine: DockerClient, wanted: Context, report: Callable[[str], None]) -> None:
    from docker.errors import DockerException

    try:
        lines = engine.api.build(
            fileobj=wanted.opened(),
            custom_context=True,
            target=wanted.target,
            tag=wanted.tag,
            buildargs=dict(wanted.args),
            labels={"lab.image": wanted.target},
            rm=True,
            forcerm=True,
            decode=True,
        )
        follow(lines, wanted.target, report)
    except (DockerException, OSError) as error:
        raise MachineError(f"image {wanted.target} cannot be built: {error}", "does the Docker engine still run?") from error


def follow(lines: Iterable[Mapping[str, object]], target: str, report: Callable[[str], None]) -> None:
    """Tells the steps that may take long as they begin; raises MachineError with the failing one, when all has been read."""
    step, last, failed = "before its first step", deque[str](maxlen=LAST_LINES), ""
    for line in lines:
        failed = failed or str(line.get("error", ""))
        for text in _clean(str(line.get("stream", ""))):
            if found := re.match(r"Step (\d+)/(\d+) : (.*)", text):
                step = f"step {found[1]} of {found[2]}: {found[3]}"
                last.clear()
                if found[3].startswith(("FROM", "RUN")):
                    report(f"image {target}, {step[:100]}")
            else:
                last.append(text)
    if failed:
        said = "".join(f"\n  {text}" for text in last)
        raise MachineError(f"image {target} cannot be built: {failed}\n  in {step}{said}", _hint(f"{failed} {said}"))


def _clean(text: str) -> list[str]:
    """Lines without colours."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]


HINTS = {
    r"no space left": "docker system prune, or free space on the engine's disk",
    r"Temporary failure|name resolution|Could not fetch|Connection|timed? ?out|dial tcp|No matching distribution": "a build needs PyPI and "
    "the Go module proxy: give docker a proxy (~/.docker/config.json), or name images that know a mirror (images.python, images.golang)",
    r"manifest|pull access denied|repository does not exist|TLS handshake|registry": "can the engine pull it? images.python and "
    "images.golang choose others",
}


def _hint(said: str) -> str:
    found = (hint for pattern, hint in HINTS.items() if re.search(pattern, said, re.IGNORECASE))
    return next(found, "the last lines say why; images.python and images.golang choose what it is built from")
