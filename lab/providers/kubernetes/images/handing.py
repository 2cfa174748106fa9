"""From built images to where a cluster finds them: pushed to a registry, or loaded into the nodes of kind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from lab.errors import MachineError
from lab.providers.kubernetes.images.engine import Built, connect
from lab.spawn import capture

if TYPE_CHECKING:
    from docker.models.containers import Container

CLUSTER_LABEL = "io.x-k8s.kind.cluster"
LOAD_TIMEOUT_S = 900.0  # a gigabyte into each node


def push(built: Built, registry: str, report: Callable[[str], None]) -> Mapping[str, str]:
    """target -> reference in the registry, as whom the docker command is logged in. Raises MachineError when it refuses."""
    from docker.errors import DockerException

    pushed = {target: f"{registry.rstrip('/')}/{ref.replace('/', '-', 1)}" for target, ref in built.references.items()}
    with closing(connect()) as engine:
        for target, reference in pushed.items():
            report(f"pushing {reference}")
            repository, _, tag = reference.rpartition(":")
            try:
                engine.images.get(built.references[target]).tag(repository, tag)
                failed = [line["error"] for line in engine.api.push(repository, tag, stream=True, decode=True) if "error" in line]
            except (DockerException, OSError) as error:
                raise MachineError(f"{reference} cannot be pushed: {error}", "is kubernetes.registry right?") from error
            if failed:
                raise MachineError(
                    f"{reference} cannot be pushed: {failed[0]}",
                    f"is kubernetes.registry right, and may you write there (docker login {registry.partition('/')[0]})?",
                )
    return pushed


def load(built: Built, nodes: Collection[str], report: Callable[[str], None]) -> None:
    """Into nodes of kind, given as names of their containers, the images that a node lacks."""
    from docker.errors import DockerException

    lacking: dict[tuple[str, tuple[str, ...]], list[str]] = {}  # cluster and references -> nodes
    with closing(connect()) as engine:
        try:
            for node in nodes:
                container = engine.containers.get(node)
                there = _there(container)
                missing = tuple(ref for ref in built.references.values() if f"docker.io/{ref}" not in there)
                lacking.setdefault((container.labels.get(CLUSTER_LABEL, ""), missing), []).append(node)
        except (DockerException, OSError) as error:
            raise MachineError(f"the images cannot be loaded: {error}", "does the cluster still stand (`kind get nodes`)?") from error
    for (cluster, references), names in lacking.items():
        if references:
            report(f"loading {', '.join(references)} into {', '.join(names)}")
            done = capture(
                ["kind", "load", "docker-image", *references, "--name", cluster, "--nodes", ",".join(names)], timeout_s=LOAD_TIMEOUT_S
            )
            if done.code != 0:
                raise MachineError(
                    f"the images cannot be loaded into {', '.join(names)}: {done.output.strip()[-800:]}",
                    "is the engine's disk full, or the folder for temporary files (TMPDIR), which takes 1 GB meanwhile?",
                )


def _there(node: Container) -> Collection[str]:
    """References of a node's images. Asked of containerd, as not every node image has crictl, by which kind would know."""
    code, output = node.exec_run(["ctr", "--namespace=k8s.io", "images", "ls", "-q"])
    said = bytes(output).decode(errors="replace")  # type: ignore[arg-type] # not streamed
    if code != 0:
        raise MachineError(f"{node.name} does not list its images: {said.strip()[-400:]}", "is it a node of kind, and ready?")
    return said.split()
