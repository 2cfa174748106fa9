"""A service of the user's own, started by its own command from a working tree: one process tree per deployment, and no platform."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from lab import cores, ownership, registry, rundir, spawn
from lab.contracts import Capabilities, Deployment, Endpoint, Fault
from lab.errors import InputError, MachineError
from lab.model import Event, ServicePlan, Topology, Usage
from lab.providers.checkout.serving import SERVICE, Serving
from lab.settings import Settings

STOP_S = 5.0


class Provider:
    """Deploys no architectures: `serve` says what, and from which folder of each side ("" where there is one tree only)."""

    name = "checkout"

    def __init__(self, settings: Settings) -> None:
        self._state = settings.state
        self._service: ServicePlan | None = None
        self._folders: Mapping[str, Path] = {}
        self._cpus: tuple[int, ...] = ()
        self._standing: dict[str, Serving] = {}
        self._past: dict[str, Serving] = {}

    def capabilities(self, cpus: float = 1.0) -> Capabilities:
        split = cores.here(cpus)
        return Capabilities(
            isolation=split.isolation,
            enforcement=split.enforcement,
            deploys=False,
            measures_usage=True,
            system_cpus=split.system,
            driver_cpus=split.rest,
        )

    def prepare(self) -> None:
        if shutil.which("sh") is None:
            raise MachineError("there is no shell `sh`, which runs the service's commands", "run `lab` on Linux or macOS")

    def serve(self, service: ServicePlan, folders: Mapping[str, Path], cpus: float) -> None:
        """What `deploy` starts from now on."""
        self._service, self._folders = service, dict(folders)
        self._cpus = self.capabilities(cpus).system_cpus

    # ---- the Lab -------------------------------------------------------------------------------------------------------

    def up(self, report: Callable[[str], None] = lambda _: None, *, owner_pid: int | None = None) -> tuple[Endpoint, ...]:
        """The folder where processes are recorded. There is nobody to end a Lab whose owner was killed: `lab clean` does."""
        if self.find() is None:
            ownership.mark(self._state, self.name)
            rundir.write(self._up, b"")
        report("ready: the service itself is started for each deployment")
        return self.endpoints()

    def find(self) -> tuple[Endpoint, ...] | None:
        return self.endpoints() if self._up.is_file() else None

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint(service="checkout", kind="folder", url=registry.project().resolve().as_uri(), ready_s=0.0),)

    def down(self) -> None:
        for deployment in tuple(self._standing):
            self.retire(deployment)
        spawn.end(spawn.of_lab(self._state), STOP_S)
        self._up.unlink(missing_ok=True)

    def destroy(self) -> tuple[str, ...]:
        """Worktrees below the Lab's folder are lab.refs' to remove."""
        for deployment in tuple(self._standing):
            self.retire(deployment)
        left = spawn.of_lab(self._state)
        names = [f"process {p.pid} ({spawn.name(p)})" for p in left]
        spawn.end(left, STOP_S)
        if not ownership.is_lab(self._state):
            return tuple(names)
        shutil.rmtree(self._state / "logs", ignore_errors=True)
        for path in (self._up, self._state / "processes.jsonl"):
            path.unlink(missing_ok=True)
        if not {p.name for p in self._state.iterdir()} - {ownership.MARKER}:
            shutil.rmtree(self._state)
        return (*names, f"folder {self._state}")

    @property
    def _up(self) -> Path:
        return self._state / "checkout"

    # ---- deployments ---------------------------------------------------------------------------------------------------

    def deploy(self, topology: Topology, deployment: str, seed: int) -> Deployment:
        """Of the side that the topology's option `code_ref` names. Returns when the service answers its `ready` path with 2xx."""
        if self.find() is None:
            raise MachineError("this Lab is not up", "call up first")
        side = str(topology.options.get("code_ref", ""))
        if self._service is None or side not in self._folders:
            raise InputError(f"provider checkout was told of no service{f' @{side}' if side else ''}", "give `service:` in the scenario")
        if deployment in self._standing:
            raise InputError(f"deployment {deployment!r} stands already", "retire it first, or choose another id")
        logs = self._state / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        serving = Serving(
            plan=self._service,
            side=side,
            folder=self._folders[side],
            log=logs / f"{deployment}.log",
            record=spawn.Record(path=self._state / "processes.jsonl", lab_id=spawn.new_lab_id(self._state)),
            cpus=self._cpus,
        )
        self._standing[deployment] = serving
        try:
            url, ready_s = serving.start()
        except BaseException:
            self.retire(deployment)
            raise
        return Deployment(id=deployment, url=url, ready_s={SERVICE: ready_s})

    def retire(self, deployment: str) -> None:
        if (serving := self._standing.get(deployment)) is not None:
            serving.stop(STOP_S)
            self._past[deployment] = self._standing.pop(deployment)

    def logs(self, service: str = "", deployment: str = "") -> Iterator[str]:
        for path in sorted((self._state / "logs").glob(f"{deployment or '*'}.log")):
            yield from path.read_text(errors="replace").splitlines()

    def events(self, deployment: str) -> Sequence[Event]:
        found = self._standing.get(deployment) or self._past.get(deployment)
        return tuple(found.events) if found else ()

    def usage(self) -> tuple[Usage, ...]:
        return tuple(serving.usage() for serving in self._standing.values())

    def inject(self, deployment: str, service: str, fault: Fault, duration_s: float = 0.0) -> None:
        raise InputError(f"fault {fault}: provider checkout breaks nothing", "provider embedded or kind")
