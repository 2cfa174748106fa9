"""The fake cloud: scripted faults, simulated cold starts, and nothing left when it is destroyed."""

from __future__ import annotations

import http.client
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import registry
from lab.errors import InputError, MachineError
from lab.model import Budget, Shape, Topology
from lab.providers.fake import Provider, Script
from lab.runtime.timing import parse
from lab.settings import Settings
from tests.unit.serving import send

WORKLOAD = registry.workload("noop")


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    threads = set(threading.enumerate())
    made = Provider(Settings(provider="fake", home=str(tmp_path)))
    made.up()
    yield made
    made.destroy()
    assert made.find() is None and made.usage() == ()
    assert set(threading.enumerate()) <= threads, "threads are left"


def placed(architecture: str) -> Topology:
    shape = Shape(name="noop", model_size="S", stages=WORKLOAD.stages, operations=WORKLOAD.operations)
    module = registry.architecture(architecture)
    return module.place(shape, Budget(), module.Options())


def test_its_files_are_in_the_labs_folder_where_clean_finds_them(tmp_path: Path) -> None:
    """Those of a process that was killed too."""
    settings = Settings(provider="fake", home=str(tmp_path))
    made = Provider(settings)
    made.up()
    made.deploy(placed("three_tier"), "d", 1)
    assert list(settings.state.glob("**/addresses.json"))
    copied = shutil.copytree(settings.state, tmp_path / "killed")
    assert made.destroy() == ("deployment d", f"folder {settings.state}")
    assert not settings.state.exists()
    assert Provider(Settings(provider="fake", home=str(tmp_path), name="killed")).destroy() == (f"folder {copied}",)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_lab_stays(tmp_path: Path) -> None:
    settings = Settings(provider="fake", home=str(tmp_path))
    (settings.state / "fake").mkdir(parents=True)
    (settings.state / "fake" / "work.txt").touch()
    made = Provider(settings)
    made.up()
    assert made.destroy() == ()
    assert (settings.state / "fake" / "work.txt").is_file()


def test_the_lab_is_shared_by_name(provider: Provider, tmp_path: Path) -> None:
    same = Provider(Settings(provider="fake", home=str(tmp_path)))
    other = Provider(Settings(provider="fake", home=str(tmp_path), name="other"))
    assert same.find() == provider.endpoints() and other.find() is None
    with pytest.raises(MachineError, match="not up"):
        other.deploy(placed("three_tier"), "d", 1)


def test_deployments_do_not_disturb_each_other_and_ports_close(provider: Provider) -> None:
    first, second = (provider.deploy(placed("three_tier"), name, 1) for name in ("a", "b"))
    with pytest.raises(InputError, match="stands already"):
        provider.deploy(placed("three_tier"), "a", 1)
    request = WORKLOAD.payload(1, 1, "classify")
    assert WORKLOAD.check(request, send(first.url, request)) and WORKLOAD.check(request, send(second.url, request))
    provider.retire("a")
    provider.retire("a")
    assert WORKLOAD.check(request, send(second.url, request))
    with pytest.raises(ConnectionRefusedError):
        send(first.url, request)
    assert {u.service for u in provider.usage()} == {"app", "model"}
    assert all(u.cpu_s is None and u.memory_mib is None for u in provider.usage()), "what is not measured is not zero"
    assert provider.events("a")[-1].kind == "retired"
    assert provider.destroy()[0] == "deployment b" and provider.destroy() == ()


def test_scripted_failures_leave_nothing(provider: Provider) -> None:
    provider.script = Script(failing_deploys=frozenset({2}))
    provider.deploy(placed("three_tier"), "a", 1)
    with pytest.raises(MachineError, match="scripted"):
        provider.deploy(placed("three_tier"), "b", 1)
    provider.script = Script(exits_at_start="model")
    with pytest.raises(MachineError, match="model"):
        provider.deploy(placed("three_tier"), "b", 1)
    provider.script = Script()
    assert provider.deploy(placed("three_tier"), "b", 1).id == "b"


def test_a_service_whose_handlers_cannot_open_leaves_nothing(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MachineError("no disk", "buy one")

    monkeypatch.setattr(type(WORKLOAD), "handlers", refuse)
    with pytest.raises(MachineError, match="no disk"):
        provider.deploy(placed("three_tier"), "a", 1)
    assert provider.usage() == ()


def test_functions_start_cold_stay_warm_and_go_back_to_zero(provider: Provider) -> None:
    now_s = [0.0]
    provider.script = Script(cold_start_s=0.01, clock=lambda: now_s[0])
    topology = placed("serverless")
    url = provider.deploy(topology, "a", 1).url
    functions = [s for s in topology.services if s.scaling == "to_zero"]
    instances = lambda: {u.service: u.instances for u in provider.usage() if u.service in {f.name for f in functions}}  # noqa: E731
    assert set(instances().values()) == {0}
    cold = []
    for at_s in (1.0, 2.0, 2.0 + functions[0].idle_timeout_s + 1.0):
        now_s[0] = at_s
        answer = send(url, WORKLOAD.payload(1, 1, "classify"))
        cold.append({s.name for s in parse(answer.headers["server-timing"]) if s.kind == "cold"})
    assert cold == [{f.name for f in functions}, set(), {f.name for f in functions}]
    assert set(instances().values()) == {1}
    starts = [e.service for e in provider.events("a") if e.kind == "cold_start"]
    assert sorted(starts) == sorted(f.name for f in functions for _ in range(2))


def test_a_cold_start_is_not_counted_as_a_hop(provider: Provider) -> None:
    provider.script = Script(cold_start_s=0.5)
    url = provider.deploy(placed("serverless"), "a", 1).url
    spans = parse(send(url, WORKLOAD.payload(1, 1, "classify")).headers["server-timing"])
    assert all(s.duration_ms >= 490 for s in spans if s.kind == "cold")
    assert sum(s.duration_ms for s in spans if s.kind == "hop") < 490


def test_a_scripted_stall_holds_back_just_those_requests(provider: Provider) -> None:
    provider.script = Script(stalls=((2, 2, 3600.0),))
    url = provider.deploy(placed("three_tier"), "a", 1).url.removeprefix("http://")
    first = http.client.HTTPConnection(url, timeout=20)
    first.request("GET", "/v1/results/1")
    assert first.getresponse().read()
    stalled = http.client.HTTPConnection(url, timeout=0.3)
    stalled.request("GET", "/v1/results/2")
    with pytest.raises(TimeoutError):
        stalled.getresponse()
    first.request("GET", "/v1/results/3")
    assert first.getresponse().status == 200
    first.close()
    stalled.close()


@pytest.mark.parametrize("architecture", registry.names("architectures"))
def test_every_architecture_stands_and_says_who_it_is(provider: Provider, architecture: str) -> None:
    topology = placed(architecture)
    deployment = provider.deploy(topology, "a", 1)
    assert set(deployment.ready_s) == {s.name for s in topology.services}
    connection = http.client.HTTPConnection(deployment.url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["x-lab-deployment"]) == (200, "a")
    connection.close()
