"""Why `kind` failed: from what it printed to an error with its telling lines and the next step; pure."""

from __future__ import annotations

import re

from lab.errors import MachineError

OLDEST = (0, 27)
LINES = 8
KNOWN_ISSUES = "https://kind.sigs.k8s.io/docs/user/known-issues"
INSTALL = "install kind 0.27 or newer: https://kind.sigs.k8s.io/docs/user/quick-start#installation"


class PortTaken(MachineError):
    """Somebody took a port between our asking for it and the engine's binding it: try again with new ones."""


def version(printed: str) -> tuple[int, int] | None:
    """Of what `kind version` prints."""
    found = re.search(r"\bv(\d+)\.(\d+)", printed)
    return (int(found[1]), int(found[2])) if found else None


def version_problem(printed: str) -> tuple[str, str] | None:
    """(what is wrong, next step), or None for a kind that will do."""
    found = version(printed)
    if found is None:
        return f"kind: `kind version` printed {printed.strip()[:80]!r}, wanted a version", INSTALL
    if found < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return f"kind: found version {found[0]}.{found[1]}, wanted {wanted} or newer", INSTALL
    return None


def telling(printed: str, lines: int = LINES) -> list[str]:
    """The lines that say what went wrong: from the first ERROR on, without the steps that went well."""
    found = [line.rstrip() for line in printed.splitlines() if line.strip() and not line.lstrip().startswith(("•", "✓", "✗"))]
    first = next((i for i, line in enumerate(found) if line.startswith("ERROR")), max(0, len(found) - lines))
    said = found[first:]
    return said if len(said) <= lines else [*said[:2], "...", *said[-(lines - 3) :]]


def failure(printed: str, image: str) -> MachineError:
    """`image`: the setting kind.image, empty for kind's own."""
    text = printed.lower()
    for words, kind, what, hint in _CAUSES:
        if any(word in text for word in words):
            named = what.format(image=image or "that kind was released with")
            return kind(f"{named}:{_said(printed)}", hint)
    return MachineError(f"kind could not make the cluster:{_said(printed)}", f"its log says more; {KNOWN_ISSUES}")


def _said(printed: str) -> str:
    return "".join(f"\n  {line}" for line in telling(printed))


# First match wins: words of the output -> error, what is wrong, next step.
_CAUSES: tuple[tuple[tuple[str, ...], type[MachineError], str, str], ...] = (
    (
        ("port is already allocated", "address already in use", "failed to bind host port", "ports are not available"),
        PortTaken,
        "a port that the cluster needs is taken by another program",
        "try again; `docker ps` and `ss -ltnp` show who has it",
    ),
    (
        ("no space left on device", "disk quota exceeded"),
        MachineError,
        "the disk is full",
        "`docker system df` shows what takes the space, `docker system prune` frees it",
    ),
    (
        ("permission denied while trying to connect",),
        MachineError,
        "this user may not use the Docker engine",
        "add the user to the group docker, or use rootless Docker",
    ),
    (
        ("cannot connect to the docker daemon", "is the docker daemon running"),
        MachineError,
        "the Docker engine does not answer",
        "start it: `systemctl start docker`, or Docker Desktop",
    ),
    (
        ("failed to pull image", "pull access denied", "manifest unknown", "no such image", "unable to find image"),
        MachineError,
        "the node image {image} is neither on this machine nor can it be pulled",
        "set kind.image to one that you have (`docker images kindest/node`), or connect to its registry",
    ),
    (
        ("node(s) already exist", "is already in use by container"),
        MachineError,
        "nodes of this cluster are still there",
        "`lab clean` removes them",
    ),
    (
        ("could not find a log line that matches", "failed to init node", "failed to join node", "kubelet is not healthy"),
        MachineError,
        "a node of the cluster does not get ready",
        f"is there enough memory and disk, and are fs.inotify limits high enough? {KNOWN_ISSUES}",
    ),
)
