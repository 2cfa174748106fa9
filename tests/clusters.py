"""One kind cluster for the whole test session, made at its first use: a Lab of provider kind, which provider kubernetes can use too."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import spawn
from lab.contracts import Provider
from lab.errors import MachineError
from lab.settings import Settings, resolve

if TYPE_CHECKING:
    from lab.providers.kind import Provider as Kind

START_TIMEOUT_S = 240.0
ON_CLUSTERS = ("kind", "kubernetes")


@functools.cache
def engine() -> str:
    """Why there is no engine to make a cluster with; empty where there is."""
    from lab.providers.kind import diagnosis
    from lab.providers.kubernetes.images.engine import connect

    for command in ("docker", "kind"):
        if shutil.which(command) is None:
            return f"the command {command} is not installed"
    try:
        connect().close()
        problem = diagnosis.version_problem(spawn.capture(["kind", "version"], timeout_s=20).output)
    except MachineError as error:
        return error.what
    return problem[0] if problem else ""


def node_image() -> str:
    """Why the node image would have to be downloaded; empty where it is here."""
    from lab.providers.kubernetes.images.engine import connect

    wanted = resolve().kind_image
    with contextlib.closing(connect()) as client:
        there = [tag for image in client.images.list(name="kindest/node") for tag in image.tags]
    if wanted in there:
        return ""
    return f"kind.image is {wanted!r}, and here is {', '.join(there) or 'none'}: set LAB_KIND_IMAGE"


def need_kind() -> None:
    """Skips with the reason. LAB_TEST_EXTRAS=all lets kind download its node image, so that with an engine nothing is skipped."""
    reason = engine() or (node_image() if os.environ.get("LAB_TEST_EXTRAS") != "all" else "")
    if reason:
        pytest.skip(f"needs a kind cluster: {reason}")


def settings(home: Path, name: str) -> Settings:
    """Of a Lab of provider kind for a test; with the metrics API, which the cluster does not bring."""
    given: dict[str, str | float | None] = {
        "provider": "kind",
        "home": str(home),
        "name": name,
        "start_timeout_s": START_TIMEOUT_S,
        "kubernetes_metrics": "install",
    }
    return resolve(given)


@dataclass(frozen=True)
class SharedCluster:
    """`provider` is of kind, and its Lab stands."""

    settings: Settings
    provider: Kind

    def kubernetes(self, home: Path, name: str) -> Provider:
        """A provider `kubernetes` on the same cluster, whose nodes have the images already."""
        from lab.providers.kind import config
        from lab.providers.kubernetes import Provider as Kubernetes
        from lab.providers.kubernetes.access import Access

        own = Settings(provider="kubernetes", home=str(home), name=name, start_timeout_s=START_TIMEOUT_S)
        cluster = config.cluster_name(self.settings)
        access = Access(kubeconfig=config.kubeconfig(self.settings.state), context=config.context(cluster), load=self.provider._load)
        return Kubernetes(own, access)


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedCluster]:
    """Removed at the end of the session, however that comes: a killed one's by the Lab's keeper."""
    need_kind()
    from lab.providers.kind import Provider as Kind

    own = settings(tmp_path_factory.mktemp("cluster"), "tests")
    provider = Kind(own)
    try:
        provider.up(owner_pid=os.getpid())
        yield SharedCluster(own, provider)
    finally:
        provider.destroy()
