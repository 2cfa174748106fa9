"""A service of the user's own: started by its command, ready by its path, measured and ended with all that it started."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import InputError, MachineError
from lab.model import Request, ServicePlan, Topology
from lab.providers.checkout import Provider
from lab.settings import Settings
from tests import repositories
from tests.asking import ask
from tests.repositories import processes

START = f"{sys.executable} server.py"


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    found = Provider(Settings(home=str(tmp_path / "home"), name="mine"))
    found.up()
    try:
        yield found
    finally:
        found.destroy()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    made.mkdir()
    (made / "server.py").write_text(repositories.SERVICE)
    (made / "busy.py").write_text("BUSY_MS = 0\n")
    return made


def topology(side: str = "") -> Topology:
    return Topology(architecture="service", workload="mine", services=(), routes={}, options={"code_ref": side} if side else {})


def serve(provider: Provider, folder: Path, start: str = START, **plan: object) -> None:
    provider.serve(ServicePlan(start=start, **{"timeout_s": 20.0, **plan}), {"": folder, "head": folder}, 1.0)  # type: ignore[arg-type]


def double(url: str) -> bytes:
    return ask(url, Request(operation="double", method="GET", path="/double/21")).body


def test_it_answers_is_measured_and_ends(provider: Provider, folder: Path) -> None:
    serve(provider, folder)
    made = provider.deploy(topology(), "d-1", 1)
    assert double(made.url) == b"42"
    assert made.ready_s["service"] > 0
    (used,) = provider.usage()
    assert (used.service, used.tier, used.instances) == ("service", "architecture", 1)
    assert used.cpu_s is not None and used.cpu_s > 0 and used.memory_mib is not None and used.memory_mib > 1
    provider.retire("d-1")
    provider.retire("d-1")
    assert provider.usage() == () and processes(folder) == []
    assert [e.kind for e in provider.events("d-1")] == ["ready", "retired"]


def test_the_port_is_in_the_command_too_and_the_environment_is_the_users_own(
    provider: Provider, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/another/tree")
    monkeypatch.setenv("GIT_DIR", "/another/repository")
    serve(provider, folder, 'echo "$WORD $PORT {port} ${PYTHONPATH-none} ${GIT_DIR-none}"; exec ' + START, env={"WORD": "hello"})
    made = provider.deploy(topology(), "d-1", 1)
    port = made.url.rpartition(":")[2]
    assert list(provider.logs(deployment="d-1")) == [f"hello {port} {port} none none"]


def test_what_leaves_the_tree_is_ended_too(provider: Provider, folder: Path) -> None:
    """A service that starts a daemon, whose parent is gone when it is retired."""
    serve(provider, folder, f"(setsid sleep 600 &) ; {START} & wait")
    provider.deploy(topology(), "d-1", 1)
    assert {p.name() for p in processes(folder)} >= {"sleep"}
    provider.retire("d-1")
    assert processes(folder) == []


def test_another_process_of_the_lab_finds_what_a_killed_one_left(provider: Provider, folder: Path, tmp_path: Path) -> None:
    serve(provider, folder)
    provider.deploy(topology(), "d-1", 1)
    other = Provider(Settings(home=str(tmp_path / "home"), name="mine"))
    assert any(each.startswith("process ") for each in other.destroy())
    assert processes(folder) == []


def test_a_crash_is_told(provider: Provider, folder: Path) -> None:
    serve(provider, folder)
    provider.deploy(topology(), "d-1", 1)
    (process, *_) = [p for p in processes(folder) if "server.py" in p.cmdline()]
    process.kill()
    deadline = time.monotonic() + 20
    while "crash" not in [e.kind for e in provider.events("d-1")]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [u.instances for u in provider.usage()] == [0]


@pytest.mark.parametrize(
    ("start", "ready", "says"),
    [
        ("echo no flux; exit 3", "/", r"service @head ended with exit code 3(.|\n)*no flux"),
        ("sleep 600", "/", "service @head .* was not ready in time(.|\n)*GET /: .*refused"),
        (START, "/double", "not ready in time(.|\n)*GET /double: status 500, wanted 2xx"),
        ("true", "/", "ended with exit code 0"),
    ],
)
def test_a_service_that_never_gets_ready_is_told_with_its_words(
    provider: Provider, folder: Path, start: str, ready: str, says: str
) -> None:
    if ready == "/double":
        (folder / "server.py").write_text(repositories.SERVICE.replace("send_response(200)", "send_response(500)"))
    serve(provider, folder, start, ready=ready, timeout_s=1.5)
    with pytest.raises(MachineError, match=says):
        provider.deploy(topology("head"), "d-1", 1)
    assert processes(folder) == [] and provider.usage() == ()


def test_a_side_that_nobody_named_is_refused(provider: Provider, folder: Path) -> None:
    with pytest.raises(InputError, match="was told of no service"):
        provider.deploy(topology(), "d-1", 1)
    serve(provider, folder)
    with pytest.raises(InputError, match="no service @base"):
        provider.deploy(topology("base"), "d-1", 1)
