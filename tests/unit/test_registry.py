"""Names are file names: the user's folder first, near misses suggested."""

from pathlib import Path

import pytest

from lab import registry
from lab.errors import InputError

ARCHITECTURE = '''
"""One service for everything."""
from dataclasses import dataclass
from lab.model import Service, Topology

@dataclass(frozen=True, kw_only=True)
class Options:
    # Requests that it works on at once. Default 4.
    concurrency: int = 4

def place(shape, budget, options):
    everything = Service(name="all", stages=tuple(s.name for s in shape.stages), concurrency=options.concurrency)
    return Topology(architecture="monolith", workload=shape.name, model_size=shape.model_size, services=(everything,),
                    routes={o.name: "all" for o in shape.operations}, cpus=budget.cpus, memory_mib=budget.memory_mib)
'''


@pytest.fixture
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(registry.PROJECT_VARIABLE, str(tmp_path))
    for kind in ("architectures", "workloads", "scenarios", "prices"):
        (tmp_path / kind).mkdir()
    return tmp_path


def test_what_is_shipped_is_listed() -> None:
    assert {"three_tier", "microservices", "serverless"} <= set(registry.names("architectures"))
    assert {"noop", "vision"} <= set(registry.names("workloads"))
    assert {"embedded", "external", "fake"} <= set(registry.names("providers"))
    assert {"quick", "compare", "compare-full", "map", "train-vision"} <= set(registry.names("scenarios"))
    assert "aws" in registry.names("prices")


def test_a_new_architecture_is_one_file(own_project: Path) -> None:
    (own_project / "architectures" / "monolith.py").write_text(ARCHITECTURE)
    assert "monolith" in registry.names("architectures")
    assert registry.architecture("monolith").Options().concurrency == 4


def test_the_users_file_comes_first(own_project: Path) -> None:
    mine = own_project / "architectures" / "three_tier.py"
    mine.write_text(ARCHITECTURE)
    assert registry.find("architectures", "three_tier") == mine


def test_an_incomplete_file_is_refused(own_project: Path) -> None:
    (own_project / "architectures" / "empty.py").write_text("")
    with pytest.raises(InputError, match="defines no 'Options'"):
        registry.architecture("empty")


def test_an_unknown_name_lists_and_suggests() -> None:
    with pytest.raises(InputError, match=r"no architecture is called 'three-tier'; there are: .*three_tier") as caught:
        registry.architecture("three-tier")
    assert "did you mean 'three_tier'?" in caught.value.hint


def test_a_scenario_may_be_a_path(own_project: Path) -> None:
    path = own_project / "mine.yaml"
    path.write_text("kind: serve\n")
    assert registry.find("scenarios", str(path)) == path
    with pytest.raises(InputError):
        registry.find("scenarios", str(own_project / "none.yaml"))
