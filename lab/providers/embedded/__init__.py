"""The embedded provider: a Lab of real, supervised local processes from Python wheels; no Docker, no root, no network.

Light to import: the activator loads it at every cold start, so everything heavier than a socket is imported where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.contracts import Capabilities, Code, Deployment, Endpoint, Fault, Replicas
from lab.errors import InputError, MachineError
from lab.model import Event, Topology, Usage
from lab.settings import Settings

if TYPE_CHECKING:
    from lab.contracts import Workload
    from lab.providers.embedded.control import Client, Standing
    from lab.runtime.config import ModelAddress

DEPLOY_MARGIN_S = 30.0  # on top of start_timeout_s: stopping what failed, and removing its data


class Provider:
    name = "embedded"

    def __init__(self, settings: Settings) -> None:
        from lab.providers.embedded.layout import Layout

        self._settings = settings if settings.object_store else replace(settings, object_store="seaweedfs")
        self._layout = Layout(settings.state)
        self._sides: Mapping[str, Code] = {}

    def capabilities(self, cpus: float = 1.0) -> Capabilities:
        """`cpus`: the budget of the architecture, which decides how many cores it gets."""
        from lab import cores
        from lab.providers.embedded.faults import FAULTS

        split = cores.here(cpus)
        return Capabilities(
            isolation=split.isolation,
            enforcement=split.enforcement,
            scales_to_zero=True,
            measures_usage=True,
            system_cpus=split.system,
            driver_cpus=split.rest,
            faults=FAULTS,
        )

    def prepare(self) -> None:
        from lab.providers.embedded import programs

        found = list(programs.problems(self._settings))
        if found:
            raise MachineError("; ".join(what for what, _ in found), "; ".join(dict.fromkeys(hint for _, hint in found)))

    # ---- the Lab -------------------------------------------------------------------------------------------------------

    def up(self, report: Callable[[str], None] = lambda _: None, *, owner_pid: int | None = None) -> tuple[Endpoint, ...]:
        from lab.lock import locked
        from lab.providers.embedded import launch

        self.prepare()
        self._layout.make()
        with locked(self._layout.lock, self._settings.start_timeout_s, report):
            standing = self._standing()
            if standing is None:
                launch.supervisor(self._settings, self._layout, report, owner_pid)
                standing = self._wanted_standing()
        self._check_same(standing)
        return standing.endpoints

    def find(self) -> tuple[Endpoint, ...] | None:
        standing = self._standing()
        return None if standing is None else standing.endpoints

    def endpoints(self) -> tuple[Endpoint, ...]:
        return self._wanted_standing().endpoints

    def down(self) -> None:
        from contextlib import suppress

        from lab.lock import Deleted, locked
        from lab.providers.embedded import launch

        if self._layout.known():
            with suppress(Deleted), locked(self._layout.lock, self._settings.start_timeout_s):
                launch.end(self._layout, keep_data=True)

    def destroy(self) -> tuple[str, ...]:
        """A folder that is no Lab is left alone; without a folder, what a deleted Lab left elsewhere is removed."""
        from contextlib import suppress

        from lab import ownership
        from lab.lock import Deleted, locked
        from lab.providers.embedded import launch, leftovers

        if self._layout.known():
            with suppress(Deleted), locked(self._layout.lock, self._settings.start_timeout_s):
                ownership.mark(self._layout.state)  # one of an older version is known by files that go first
                return launch.end(self._layout, keep_data=False) + leftovers.erase(self._layout)
        if self._layout.state.exists():
            return ()
        return leftovers.sweep(self._layout, grace_s=0) + leftovers.erase(self._layout)

    # ---- deployments ---------------------------------------------------------------------------------------------------

    def run_code(self, sides: Mapping[str, Code]) -> None:
        if sides and not self._wanted_standing().runs_code:
            what = "the Lab that stands is of an older lab, which would run our code on both sides"
            raise MachineError(what, "`lab down`, then again: the Lab keeps its data")
        self._sides = dict(sides)

    def deploy(self, topology: Topology, deployment: str, seed: int) -> Deployment:
        """A side's stages are known to its own code, which has placed them: only of ours can we say whether the topology breaks a rule."""
        from lab import registry
        from lab.providers.embedded.control import DeployRequest
        from lab.runtime.naming import check_name

        check_name(deployment)
        code = self._code(topology)
        workload = registry.workload(topology.workload)
        broken = topology.problems(workload.stages, workload.operations) if code is None else []
        if broken:
            raise InputError(f"the topology of {topology.architecture} cannot be deployed: {'; '.join(broken)}", "mend its place()", broken)
        client = self._client()
        self._wanted_standing()
        model_path = self._layout.state / "models" / deployment
        model = self._model(topology, code, workload, model_path)
        request = DeployRequest(
            topology=topology,
            deployment=deployment,
            seed=seed,
            operations=tuple(workload.operations),
            project=str((code.folder if code else registry.project()).resolve()),
            python=code.python if code else "",
            model=model,
            model_path=str(model_path),
        )
        try:
            return client.call("deploy", request, Deployment, self._settings.start_timeout_s + DEPLOY_MARGIN_S)
        finally:
            model_path.unlink(missing_ok=True)

    def _code(self, topology: Topology) -> Code | None:
        side = str(topology.options.get("code_ref", ""))
        if side and side not in self._sides:
            raise InputError(f"nothing told of the code of side {side}", "call run_code first")
        return self._sides.get(side)

    def _model(self, topology: Topology, code: Code | None, workload: Workload, path: Path) -> ModelAddress | None:
        """Written to `path`, where the topology serves one."""
        from lab.rundir import write
        from lab.runtime.config import ModelAddress

        if "model" not in topology.needs:
            return None
        if code is not None:
            served = code.models.get(topology.model_size)
            if served is None:
                return None
            write(path, Path(served.path).read_bytes())
            return ModelAddress(key=f"models/{served.name}.onnx", sha256=served.sha256)
        name = workload.model_name(topology.model_size)
        if name is None:
            return None
        data, digest = workload.model_bytes(topology.model_size)
        write(path, data)
        return ModelAddress(key=f"models/{name}.onnx", sha256=digest)

    def retire(self, deployment: str) -> None:
        from lab.providers.embedded.control import Nothing, RetireRequest

        if not self._layout.state.is_dir():
            return
        self._client().call("retire", RetireRequest(deployment=deployment), Nothing, self._settings.start_timeout_s + DEPLOY_MARGIN_S)

    def replicas(self, deployment: str) -> Replicas:
        from lab.providers.embedded.control import SupervisedReplicas

        return SupervisedReplicas(self._client(), deployment, self._settings.start_timeout_s + DEPLOY_MARGIN_S)

    def usage(self) -> tuple[Usage, ...]:
        """Raises MachineError when a service of the platform has died."""
        from lab.providers.embedded.control import Nothing, Usages

        return self._client().call("usage", Nothing(), Usages).usages

    def inject(self, deployment: str, service: str, fault: Fault, duration_s: float = 0.0) -> None:
        """An instance that was killed is not started again (Kubernetes would); the gateway still sends its share to where it was."""
        from lab.providers.embedded.control import FaultRequest, Nothing

        if fault not in self.capabilities().faults:
            raise InputError(f"fault: found {fault!r}, wanted {' or '.join(self.capabilities().faults)}", "see lab/contracts.py")
        request = FaultRequest(deployment=deployment, service=service, fault=fault, duration_s=duration_s)
        self._client().call("inject", request, Nothing)

    def logs(self, service: str = "", deployment: str = "") -> Iterator[str]:
        from lab.providers.embedded import telling

        return telling.logs(self._layout, service, deployment)

    def events(self, deployment: str) -> Sequence[Event]:
        from lab.providers.embedded import telling

        return telling.events(self._layout, deployment)

    # ---- the supervisor ------------------------------------------------------------------------------------------------

    def _client(self) -> Client:
        from lab.providers.embedded.control import Client

        return Client(self._layout.control)

    def _standing(self) -> Standing | None:
        from lab.providers.embedded.control import NotStanding

        try:
            return self._wanted_standing()
        except NotStanding:
            return None

    def _wanted_standing(self) -> Standing:
        from lab.providers.embedded.control import Nothing, Standing

        return self._client().call("status", Nothing(), Standing)

    def _check_same(self, standing: Standing) -> None:
        if standing.down:
            raise MachineError(f"the Lab stands, but broken: {standing.down[0]}", "`lab down`, then `lab up` starts it again with its data")
        store, wanted = standing.endpoints[0], self._settings.object_store
        if wanted not in (store.kind, store.url):
            raise MachineError(f"the Lab stands with the object store {store.kind}, wanted {wanted}", "`lab down` first, or another `name`")


def replicas(handle: str) -> Replicas:
    from lab.providers.embedded import control

    return control.replicas(handle)
