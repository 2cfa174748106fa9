"""Deployments of one Lab as this process knows them: from a topology to pods behind the gateway, and to nothing again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial

from lightkube.resources.apps_v1 import Deployment as DeploymentObject
from lightkube.resources.core_v1 import Service

from lab import registry
from lab.contracts import Deployment, Fault, Workload
from lab.errors import InputError, MachineError
from lab.model import Event, Topology, Usage
from lab.providers.kubernetes import configuring, diagnosis, faults, names, objects, reach, routing, supply, telling
from lab.providers.kubernetes.consumption import Consumed
from lab.providers.kubernetes.doors import Door
from lab.providers.kubernetes.hands import Hands
from lab.providers.kubernetes.objects import Site
from lab.providers.kubernetes.routing import Gateway
from lab.providers.kubernetes.standing import Lab
from lab.providers.kubernetes.witness import Witness
from lab.runtime.config import ModelAddress
from lab.runtime.gateway_routes import routes
from lab.runtime.naming import bucket, check_name, schema_prefix

GONE_S = 60.0


class Deployer:
    """`retire`, `logs` and `usage` work on what another process deployed too; `url`s that are doors, and events, are of this process."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._cluster, self._state = lab.cluster, lab.state
        self._witnesses: dict[str, Witness] = {}
        self._doors: dict[str, Door] = {}

    @cached_property
    def _hands(self) -> Hands:
        return Hands(self._cluster, self._state.token())

    @cached_property
    def _gateway(self) -> Gateway:
        return Gateway(self._cluster)

    @cached_property
    def _consumed(self) -> Consumed:
        return Consumed(self._cluster, self._hands)

    def close(self) -> None:
        """What this process holds of deployments; they stand on."""
        for witness in self._witnesses.values():
            witness.close()
        for door in self._doors.values():
            door.close()
        self._witnesses.clear()
        self._doors.clear()
        for name in ("_hands", "_consumed"):
            self.__dict__.pop(name, None)

    # ---- deploy --------------------------------------------------------------------------------------------------------

    def deploy(self, topology: Topology, deployment: str) -> Deployment:
        """All or nothing."""
        check_name(deployment)
        workload = registry.workload(topology.workload)
        broken = topology.problems(workload.stages, workload.operations)
        if broken:
            raise InputError(f"the topology of {topology.architecture} cannot be deployed: {'; '.join(broken)}", "mend its place()", broken)
        self._lab.wanted()
        if self._cluster.find(DeploymentObject, _selector(deployment)):
            raise InputError(f"deployment {deployment!r} stands already", "retire it first, or choose another id")
        try:
            return self._start(topology, deployment, workload)
        except BaseException:
            self._retire(deployment, grace_s=0)
            raise

    def _start(self, topology: Topology, deployment: str, workload: Workload) -> Deployment:
        site = self._site(topology)
        if topology.autoscaled:
            self._lab.await_metrics()
        model = self._fill_bucket(topology, deployment, workload)
        configs = configuring.configs(topology, deployment, model, self._lab.settings)
        addresses = configuring.addresses(topology, deployment)
        made = objects.architecture(site, topology, deployment, workload.operations, configs, addresses)
        deadline = time.monotonic() + self._lab.settings.start_timeout_s
        shutil.rmtree(self._state.deployment(deployment), ignore_errors=True)
        witness = self._witnesses[deployment] = Witness(self._cluster, self._state.deployment(deployment), topology, deployment)
        witness.start()
        self._cluster.apply(made)
        wanted = {s.name: s.instances for s in topology.services if s.scaling != "to_zero"}
        ready_s = self._cluster.await_ready(_selector(deployment), wanted, deadline)
        for pod in self._cluster.pods(_selector(deployment)):
            witness.see(pod)
        with ThreadPoolExecutor(1) as pool:
            reaching = pool.submit(reach.prove, self._cluster, topology, deployment, max(1.0, deadline - time.monotonic()))
            self._gateway.route(site, deployment, routes(deployment, topology, workload.operations, addresses), deadline)
            reaching.result()
        return self._told(topology, deployment, ready_s, site)

    def _site(self, topology: Topology) -> Site:
        """With images of the code as it is now: workloads of the user's own are in them."""
        known = self._lab.wanted()
        supplied = supply.supply(self._lab.settings, self._lab.access, lambda _: None, known)
        if supplied.built != known.built:
            self._state.remember(replace(known, built=supplied.built, references=supplied.references))
        site = supply.site(self._lab.settings, self._lab.access, self._cluster, supplied)
        return _without_taken_ports(site, self._cluster.find(Service)) if topology.activated else site

    def _fill_bucket(self, topology: Topology, deployment: str, workload: Workload) -> ModelAddress | None:
        if not {"object_store", "model"} & set(topology.needs):
            return None
        self._clear(deployment)  # what a killed command left
        self._hands.make_bucket(bucket(deployment))
        name = workload.model_name(topology.model_size) if "model" in topology.needs else None
        if name is None:
            return None
        data, digest = workload.model_bytes(topology.model_size)
        model = ModelAddress(key=f"models/{name}.onnx", sha256=digest)
        self._hands.put(bucket(deployment), model.key, data)
        return model

    def _told(self, topology: Topology, deployment: str, ready_s: Mapping[str, float], site: Site) -> Deployment:
        space, ports = self._cluster.namespace, self._lab.access.local_ports
        activator = next((s.name for s in topology.services if s.role == "activator"), "")
        control = inside_control = ""
        if activator:
            name = names.dns(deployment, activator)
            inside_control = f"http://{name}.{space}.svc:{names.PORT}"
            mapped = "activator" in site.node_ports and "activator" in ports
            control = f"http://127.0.0.1:{ports['activator']}" if mapped else self._door(f"services/{name}:{names.PORT}")
        return Deployment(
            id=deployment,
            url=f"http://127.0.0.1:{ports['gateway']}" if "gateway" in ports else self._door(routing.TARGET),
            ready_s={name: round(seconds, 3) for name, seconds in ready_s.items()},
            control_url=control,
            inside_url=f"http://{names.GATEWAY}.{space}.svc:{names.PORT}",
            inside_control_url=inside_control,
        )

    def _door(self, target: str) -> str:
        if target not in self._doors:
            self._doors[target] = Door(self._cluster, target)
        return self._doors[target].url

    # ---- retire --------------------------------------------------------------------------------------------------------

    def retire(self, deployment: str) -> None:
        if self._lab.find() is not None:
            self._retire(deployment, grace_s=None)

    def _retire(self, deployment: str, grace_s: int | None) -> None:
        witness = self._witnesses.pop(deployment, None)
        if witness is not None:
            witness.close()
        self._gateway.unroute(deployment)
        self._cluster.remove(_selector(deployment), GONE_S, grace_s=grace_s)
        self._clear(deployment)
        self._consumed.forget(deployment)
        shutil.rmtree(self._state.deployment(deployment), ignore_errors=True)

    def _clear(self, deployment: str) -> None:
        self._hands.remove_bucket(bucket(deployment))
        self._hands.drop_schemas(schema_prefix(deployment))

    # ---- telling -------------------------------------------------------------------------------------------------------

    def usage(self) -> tuple[Usage, ...]:
        return self._consumed.usage()

    def clocks(self) -> Mapping[str, Callable[[], tuple[float, str]]]:
        return self._consumed.clocks()

    def inject(self, deployment: str, service: str, fault: Fault, duration_s: float) -> None:
        witness = self._witnesses.get(deployment)
        if witness is None:
            raise InputError(f"there is no deployment {deployment!r} of this process", f"standing: {', '.join(self._witnesses) or 'none'}")
        if service not in (known := [s.name for s in witness.topology.services]):
            raise InputError(f"deployment {deployment} has no service {service!r}", f"it has {', '.join(known)}")
        selector = f"{_selector(deployment)},{names.SERVICE_LABEL}={names.value(service)}"
        faults.inject(self._cluster, selector, fault, duration_s, partial(witness.fault, service), witness.closed)

    def logs(self, service: str, deployment: str) -> Iterator[str]:
        """Lines as "instance | line": of one deployment, or of the platform and then every deployment; of one service, or of all."""
        if not deployment:
            yield from self._platform_logs(service)
        for witness in self._witnesses.values():
            witness.settle()
        folders = sorted((self._state.folder / "deployments").glob("*")) if not deployment else [self._state.deployment(deployment)]
        for folder in folders:
            yield from telling.logs(folder, service)

    def _platform_logs(self, service: str) -> Iterator[str]:
        with suppress(MachineError):  # a cluster that is gone has no logs; the files of deployments can still be read
            for pod in self._cluster.pods(f"{names.COMPONENT_LABEL}=platform"):
                if pod.spec and service in ("", diagnosis.service(pod)):
                    lines = self._cluster.logs(diagnosis.name(pod), pod.spec.containers[0].name)
                    yield from (f"{diagnosis.service(pod)} | {line}" for line in lines)

    def events(self, deployment: str) -> Sequence[Event]:
        if deployment in self._witnesses:
            self._witnesses[deployment].settle()
        return telling.events(self._state.deployment(deployment))


def _selector(deployment: str) -> str:
    return names.selector({names.DEPLOYMENT_LABEL: names.value(deployment)})


def _without_taken_ports(site: Site, services: Sequence[Service]) -> Site:
    """Only one activator at a time is reached through a port of the nodes."""
    taken = {port.nodePort for s in services if s.spec for port in s.spec.ports or []}
    free = {name: port for name, port in site.node_ports.items() if name != "activator" or port not in taken}
    return replace(site, node_ports=free)
