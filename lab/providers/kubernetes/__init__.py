"""A Lab in one namespace of any cluster that a kubeconfig leads to.

Light to import: the activator loads it in its pod at every start, so what needs the cluster's API is imported where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from lab.contracts import Capabilities, Deployment, Endpoint, Fault, Job, Replicas, RunningJob
from lab.errors import InputError, LabError, MachineError
from lab.model import Event, Topology, Usage
from lab.settings import Settings

if TYPE_CHECKING:
    from lab.providers.kubernetes.access import Access
    from lab.providers.kubernetes.deploying import Deployer
    from lab.providers.kubernetes.standing import Lab


class Provider:
    """`access`: given by a provider that is built on this one, such as kind."""

    name = "kubernetes"

    def __init__(self, settings: Settings, access: Access | None = None) -> None:
        from lab.providers.kubernetes.access import Access

        self._settings = settings if settings.object_store else replace(settings, object_store="minio")
        self._access = access or Access(context=settings.kubernetes_context)

    @cached_property
    def _lab(self) -> Lab:
        from lab.providers.kubernetes.standing import Lab
        from lab.providers.kubernetes.state import State

        return Lab(self._settings, self._access, State(self._settings.state))

    @cached_property
    def _deployer(self) -> Deployer:
        from lab.providers.kubernetes.deploying import Deployer

        return Deployer(self._lab)

    def capabilities(self, cpus: float = 1.0) -> Capabilities:
        """From outside it is measured through a mapped port only."""
        inside = self._settings.driver != "outside"
        other: Literal["", "outside", "inside"] = "" if "gateway" not in self._access.node_ports else "outside" if inside else "inside"
        return Capabilities(
            isolation="limits",
            enforcement="enforced",
            scales_to_zero=True,
            measures_usage=True,
            faults=("kill", "pause"),
            driver="inside" if inside else "outside",
            other_driver=other,
            scaler="hpa" if self._settings.kubernetes_metrics == "install" or self._metered else "",
            up_s=30.0,
        )

    @cached_property
    def _metered(self) -> bool:
        """False also where no cluster answers: what can be known of it then."""
        try:
            return self._lab.cluster.has_metrics()
        except LabError:
            return False

    def prepare(self) -> None:
        from lab.providers.kubernetes.problems import problems

        found = list(problems(self._settings, self._lab.cluster))
        if found:
            raise MachineError("; ".join(what for what, _ in found), "; ".join(dict.fromkeys(hint for _, hint in found)))

    # ---- the Lab -------------------------------------------------------------------------------------------------------

    def up(self, report: Callable[[str], None] = lambda _: None, *, owner_pid: int | None = None) -> tuple[Endpoint, ...]:
        return self._lab.up(report, owner_pid)

    def find(self) -> tuple[Endpoint, ...] | None:
        found = self._lab.find()
        return None if found is None else found.endpoints

    def endpoints(self) -> tuple[Endpoint, ...]:
        return self._lab.wanted().endpoints

    def down(self) -> None:
        self._deployer.close()
        self._lab.down()

    def destroy(self) -> tuple[str, ...]:
        self._deployer.close()
        return self._lab.destroy()

    # ---- deployments ---------------------------------------------------------------------------------------------------

    def deploy(self, topology: Topology, deployment: str, seed: int) -> Deployment:
        return self._deployer.deploy(topology, deployment)

    def retire(self, deployment: str) -> None:
        self._deployer.retire(deployment)

    def usage(self) -> tuple[Usage, ...]:
        """Raises MachineError when a service of the platform has died."""
        return self._deployer.usage()

    def clocks(self) -> Mapping[str, Callable[[], tuple[float, str]]]:
        """Of nodes that are other machines than this one, while a pod of ours runs there."""
        return self._deployer.clocks()

    def inject(self, deployment: str, service: str, fault: Fault, duration_s: float = 0.0) -> None:
        if fault not in (known := self.capabilities().faults):
            raise InputError(f"fault {fault}: not among {', '.join(known)}", "see `lab doctor`")
        self._deployer.inject(deployment, service, fault, duration_s)

    def run_job(self, job: Job) -> RunningJob:
        from lab.providers.kubernetes import running_job

        return running_job.run(self._lab, job)

    def logs(self, service: str = "", deployment: str = "") -> Iterator[str]:
        return self._deployer.logs(service, deployment)

    def events(self, deployment: str) -> Sequence[Event]:
        return self._deployer.events(deployment)


def replicas(handle: str) -> Replicas:
    from lab.providers.kubernetes import instances

    return instances.replicas(handle)
