"""How one Lab reaches its cluster: a kubeconfig context, how images get to its nodes, and what of it is mapped to this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.providers.kubernetes.images import Built

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Access:
    """`kubeconfig` None is the user's own, `context` "" its current one. `load` brings images to the nodes and returns target -> reference
    as pods name them; None: they are pushed to the registry of the settings, or the nodes have them already. `local_ports`: service
    (gateway, object_store, database, activator) -> port of 127.0.0.1 that leads to its `node_ports`. `system_cpus` and `driver_cpus`: CPU
    numbers of this machine that the nodes of either role are pinned to."""

    kubeconfig: Path | None = None
    context: str = ""
    local_ports: Mapping[str, int] = field(default_factory=dict)
    node_ports: Mapping[str, int] = field(default_factory=dict)
    load: Callable[[Built, Report], Mapping[str, str]] | None = None
    system_cpus: tuple[int, ...] = ()
    driver_cpus: tuple[int, ...] = ()
