"""Every provider: standing up and down, deploying, telling; as far as its capabilities go."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from lab import registry
from lab.contracts import Deployment, Fault, Provider
from lab.errors import InputError, LabError, MachineError
from lab.model import Budget, Response, Shape, Topology
from lab.settings import Settings
from tests import clusters
from tests.asking import ask, web_server
from tests.clusters import SharedCluster

DEADLINE_S, PAUSE_S = 60.0, 2.0
NAMES = registry.names("providers")
# A workload whose services say why they cannot start, and end.
BROKEN = """
from lab.errors import MachineError
from lab.workloads.noop import Workload as Noop

class Workload(Noop):
    name = "broken"
    def handlers(self, stages, tools):
        raise MachineError("the flux capacitor is missing", "buy one")
"""


def provider(name: str, folder: Path, url: str = "") -> Provider:
    """Without any cluster: provider kubernetes must never use one that whoever runs the tests happens to have."""
    settings = Settings(provider=name, home=str(folder / "home"), name="contract", url=url, start_timeout_s=40.0)
    if name == "kubernetes":
        from lab.providers.kubernetes.access import Access

        return registry.provider(name)(settings, Access(kubeconfig=folder / "kubeconfig"))
    return registry.provider(name)(settings)


def on_clusters(names: tuple[str, ...]) -> list[Any]:
    """Parameters, with the marks of tests that need a cluster."""
    marks = (pytest.mark.kind, pytest.mark.slow)
    return [pytest.param(name, marks=marks) if name in clusters.ON_CLUSTERS else name for name in names]


def lab_of(name: str, folder: Path, request: pytest.FixtureRequest, url: str = "") -> Provider:
    """Ready to stand up; kubernetes on the session's cluster, and kind on one of its own."""
    if name == "kubernetes":
        shared: SharedCluster = request.getfixturevalue("shared_cluster")
        return shared.kubernetes(folder / "home", "contract")
    if name == "kind":
        clusters.need_kind()
        return registry.provider(name)(clusters.settings(folder / "home", "contract"))
    return provider(name, folder, url)


DEPLOYING = tuple(name for name in NAMES if provider(name, Path("/nowhere"), "http://127.0.0.1:1").capabilities().deploys)


def topology(workload: str = "noop", architecture: str = "three_tier") -> Topology:
    found, placing = registry.workload(workload), registry.architecture(architecture)
    shape = Shape(name=workload, model_size="S", stages=found.stages, operations=found.operations)
    return placing.place(shape, Budget(), placing.Options())


@pytest.fixture(scope="module", params=on_clusters(DEPLOYING))
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    if request.param == "kind":
        shared: SharedCluster = request.getfixturevalue("shared_cluster")
        yield shared.provider
        return
    found = lab_of(request.param, tmp_path_factory.mktemp(request.param), request)
    found.up()
    try:
        yield found
    finally:
        found.destroy()


@pytest.fixture
def deployed(standing: Provider) -> Iterator[Deployment]:
    made = standing.deploy(topology(), "c-1", seed=1)
    try:
        yield made
    finally:
        standing.retire("c-1")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_called_as_its_file(name: str) -> None:
    assert registry.provider(name).name == name


@pytest.mark.parametrize("name", on_clusters(NAMES))
def test_life(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with web_server() as url, contextlib.ExitStack() as stack:
        lab = lab_of(name, tmp_path, request, url)
        stack.callback(lab.destroy)
        lab.prepare()
        if lab.capabilities().deploys:
            assert lab.find() is None
            assert lab.destroy() == (), "there was nothing to destroy"
        reports: list[str] = []
        endpoints = lab.up(reports.append)
        assert endpoints
        assert reports
        assert lab.up() == endpoints, "up on a Lab that stands gives what stands"
        assert lab.find() == endpoints
        assert lab.endpoints() == endpoints
        for endpoint in endpoints:
            assert endpoint.url
            assert not endpoint.credentials or Path(endpoint.credentials).stat().st_mode & 0o777 == 0o600
        lab.down()
        if lab.capabilities().deploys:
            assert lab.find() is None
        removed = lab.destroy()
        assert lab.destroy() == ()
        assert name in ("fake", "external") or removed, "what is removed is named"
        assert not (tmp_path / "home" / "contract").exists()


@pytest.mark.parametrize("name", NAMES)
def test_cores_of_a_pinned_provider_are_apart(name: str) -> None:
    can = provider(name, Path("/nowhere"), "http://127.0.0.1:1").capabilities()
    if can.isolation == "pinned":
        assert can.system_cpus
        assert not set(can.system_cpus) & set(can.driver_cpus)
    else:
        assert can.isolation in ("limits", "none")


def test_a_deployment_answers_with_the_workload(standing: Provider, deployed: Deployment) -> None:
    workload = registry.workload("noop")
    assert set(deployed.ready_s) == {"app", "model"}
    assert all(seconds > 0 for seconds in deployed.ready_s.values())
    for operation in workload.operations:
        request = workload.payload(7, 0, operation.name)
        response = ask(deployed.url, request)
        assert response.status == 200
        assert workload.check(request, response)


@pytest.mark.parametrize("architecture", registry.names("architectures"))
def test_every_architecture_stands_and_publishes_its_contract(standing: Provider, architecture: str) -> None:
    workload = registry.workload("noop")
    try:
        made = standing.deploy(topology(architecture=architecture), f"a-{architecture}", seed=1)
        for operation in workload.operations:
            request = workload.payload(7, 0, operation.name)
            assert workload.check(request, ask(made.url, request))
        assert ask(made.url, "/openapi.json").status == 200
        assert ask(made.url, "/no/such/path").status == 404
    finally:
        standing.retire(f"a-{architecture}")


def test_ready_is_told_of_every_service(standing: Provider, deployed: Deployment) -> None:
    assert {e.service for e in standing.events(deployed.id) if e.kind == "ready"} == {"app", "model"}
    assert {e.clock for e in standing.events(deployed.id)} == {"monotonic"}


def test_usage_is_of_both_tiers(standing: Provider, deployed: Deployment) -> None:
    if not standing.capabilities().measures_usage:
        assert all(u.cpu_s is None for u in standing.usage()), "unmeasured is None, not zero"
        return
    first = {u.service: u for u in standing.usage()}
    assert {name for name, u in first.items() if u.tier == "architecture"} == {"app", "model"}
    assert {u.service for u in first.values() if u.tier == "platform"} >= {e.service for e in standing.endpoints()}
    workload = registry.workload("noop")
    for index in range(300):
        ask(deployed.url, workload.payload(7, index, "classify"))
    later = {u.service: u for u in standing.usage()}
    for name, before in first.items():
        after = later[name]
        assert after.at_s > before.at_s
        assert after.cpu_s is not None and before.cpu_s is not None and after.cpu_s >= before.cpu_s
        assert after.memory_mib is not None and after.memory_mib > 1
        assert after.instances == before.instances >= 1
    assert sum(later[n].cpu_s or 0 for n in ("app", "model", "gateway")) > sum(first[n].cpu_s or 0 for n in ("app", "model", "gateway"))


# ---- faults ------------------------------------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def told(standing: Provider, deployed: Deployment, fault: str, phase: str) -> bool:
    wanted = {"fault": fault, "phase": phase}
    return any(e.kind == "fault" and wanted.items() <= e.values.items() for e in standing.events(deployed.id))


def ended(standing: Provider, deployed: Deployment, service: str) -> bool:
    """Whether one of its instances crashed, or was replaced."""
    kinds = [e.kind for e in standing.events(deployed.id) if e.service == service]
    return "crash" in kinds or kinds.count("ready") > 1


def classify(deployed: Deployment) -> Response:
    return ask(deployed.url, registry.workload("noop").payload(1, 1, "classify"))


def test_a_fault_that_it_cannot_make_is_refused(standing: Provider, deployed: Deployment) -> None:
    for fault in set(get_args(Fault)) - set(standing.capabilities().faults) | {"earthquake"}:
        with pytest.raises(InputError, match="fault"):
            standing.inject(deployed.id, "app", fault, 1.0)
    assert classify(deployed).status == 200


def test_kill_ends_an_instance_without_a_warning(standing: Provider, deployed: Deployment) -> None:
    if "kill" not in standing.capabilities().faults:
        return
    assert classify(deployed).status == 200
    standing.inject(deployed.id, "model", "kill")
    assert told(standing, deployed, "kill", "begin")
    wait_for(lambda: ended(standing, deployed, "model"), "the end of the instance")
    wait_for(lambda: told(standing, deployed, "kill", "end"), "the end of the fault")


def test_a_paused_instance_answers_late_and_goes_on(standing: Provider, deployed: Deployment) -> None:
    if "pause" not in standing.capabilities().faults:
        return
    assert classify(deployed).status == 200
    began = time.monotonic()
    standing.inject(deployed.id, "model", "pause", PAUSE_S)
    assert told(standing, deployed, "pause", "begin")
    assert classify(deployed).status == 200
    assert time.monotonic() - began > PAUSE_S * 0.9
    wait_for(lambda: told(standing, deployed, "pause", "end"), "the end of the pause")
    assert not [e for e in standing.events(deployed.id) if e.kind == "crash"]


def test_a_deployment_can_be_retired_while_an_instance_is_paused(standing: Provider) -> None:
    if "pause" not in standing.capabilities().faults:
        return
    made = standing.deploy(topology(), "c-paused", seed=1)
    standing.inject(made.id, "model", "pause", 600.0)
    began = time.monotonic()
    standing.retire(made.id)
    assert time.monotonic() - began < DEADLINE_S
    assert not [u for u in standing.usage() if u.tier == "architecture"]


@pytest.mark.parametrize(("service", "duration_s"), [("nope", 1.0), ("model", 0.0)])
def test_a_fault_without_a_service_or_a_duration_is_refused(
    standing: Provider, deployed: Deployment, service: str, duration_s: float
) -> None:
    with pytest.raises(InputError):
        standing.inject(deployed.id, service, "pause", duration_s)
    assert classify(deployed).status == 200


# ---- coming and going --------------------------------------------------------------------------------------------------------


def test_retiring_twice_is_fine_and_the_id_is_free_again(standing: Provider) -> None:
    for _ in range(2):
        try:
            made = standing.deploy(topology(), "c-again", seed=1)
            assert ask(made.url, registry.workload("noop").payload(1, 1, "classify")).status == 200
        finally:
            standing.retire("c-again")
        standing.retire("c-again")
    assert not [u for u in standing.usage() if u.tier == "architecture"]
    standing.retire("c-never")


def test_the_same_id_twice_is_refused(standing: Provider, deployed: Deployment) -> None:
    with pytest.raises(InputError, match="c-1"):
        standing.deploy(topology(), "c-1", seed=1)
    assert ask(deployed.url, registry.workload("noop").payload(1, 1, "classify")).status == 200


def test_a_service_that_exits_at_once_is_told_with_its_words(standing: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads" / "broken.py").write_text(BROKEN)
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    with pytest.raises(MachineError, match="flux capacitor"):
        standing.deploy(topology("broken"), "c-broken", seed=1)
    assert not [u for u in standing.usage() if u.tier == "architecture"], "nothing of it is left"
    made = standing.deploy(topology(), "c-after", seed=1)
    assert ask(made.url, registry.workload("noop").payload(1, 1, "classify")).status == 200
    standing.retire("c-after")


def test_an_unknown_workload_is_refused_with_those_there_are(standing: Provider) -> None:
    with pytest.raises(InputError, match=r"nope.*noop"):
        standing.deploy(dataclasses.replace(topology(), workload="nope"), "c-bad", seed=1)
    assert not [u for u in standing.usage() if u.tier == "architecture"]


@pytest.mark.parametrize("name", DEPLOYING)
def test_deploying_without_a_lab_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(LabError):
        provider(name, tmp_path).deploy(topology(), "c-1", seed=1)
