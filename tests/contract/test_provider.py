"""Every provider: standing up and down, deploying, telling; as far as its capabilities go."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import registry
from lab.contracts import Deployment, Provider
from lab.errors import InputError, LabError, MachineError
from lab.model import Budget, Shape, Topology
from lab.settings import Settings
from tests.asking import ask, web_server

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
    return registry.provider(name)(Settings(provider=name, home=str(folder / "home"), name="contract", url=url, start_timeout_s=40.0))


DEPLOYING = tuple(name for name in NAMES if provider(name, Path("/nowhere"), "http://127.0.0.1:1").capabilities().deploys)


def topology(workload: str = "noop", architecture: str = "three_tier") -> Topology:
    found, placing = registry.workload(workload), registry.architecture(architecture)
    shape = Shape(name=workload, model_size="S", stages=found.stages, operations=found.operations)
    return placing.place(shape, Budget(), placing.Options())


@pytest.fixture(scope="module", params=DEPLOYING)
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    found = provider(request.param, tmp_path_factory.mktemp(request.param))
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


@pytest.mark.parametrize("name", NAMES)
def test_life(name: str, tmp_path: Path) -> None:
    with web_server() as url:
        lab = provider(name, tmp_path, url)
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
        assert name != "embedded" or removed, "what is removed is named"
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
    assert {u.service for u in first.values() if u.tier == "platform"} == {e.service for e in standing.endpoints()}
    workload = registry.workload("noop")
    for index in range(300):
        ask(deployed.url, workload.payload(7, index, "classify"))
    later = {u.service: u for u in standing.usage()}
    for name, before in first.items():
        after = later[name]
        assert after.at_s > before.at_s
        assert after.cpu_s is not None and before.cpu_s is not None and after.cpu_s >= before.cpu_s
        assert after.memory_mib is not None and after.memory_mib > 1
        assert after.instances == 1
    assert sum(later[n].cpu_s or 0 for n in ("app", "model", "gateway")) > sum(first[n].cpu_s or 0 for n in ("app", "model", "gateway"))


def test_retiring_twice_is_fine_and_the_id_is_free_again(standing: Provider) -> None:
    for _ in range(2):
        made = standing.deploy(topology(), "c-again", seed=1)
        assert ask(made.url, registry.workload("noop").payload(1, 1, "classify")).status == 200
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
