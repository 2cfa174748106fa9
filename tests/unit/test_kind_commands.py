"""Provider kind with a `kind` command of the tests' own: what is missing is told at once, and a taken port is tried once more."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab import ownership, registry
from lab.errors import MachineError
from lab.providers.kind.diagnosis import PortTaken
from lab.providers.kind.lifecycle import Cluster
from lab.settings import Settings
from tests import clusters


def command(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_everything_that_is_missing_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(MachineError) as raised:
        registry.provider("kind")(Settings(provider="kind", home=str(tmp_path))).prepare()
    for missing in ("command docker", "kind is not installed", "no Docker engine"):
        assert missing in raised.value.what
    assert "0.27" in raised.value.hint


def test_an_old_kind_is_refused_with_what_was_found_and_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path / "bin", "kind", "echo kind v0.20.0 go1.20 linux/amd64")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MachineError, match=r"found version 0\.20, wanted 0\.27 or newer"):
        registry.provider("kind")(Settings(provider="kind", home=str(tmp_path))).prepare()


TAKEN = """
n=$(ls "{folder}" | wc -l)
while [ "$1" != --config ]; do shift; done
cp "$2" "{folder}/$n.yaml"
echo 'ERROR: failed to create cluster: docker: Bind for 127.0.0.1:1 failed: port is already allocated.'
exit 1
"""


def test_a_taken_port_is_tried_once_more_with_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := clusters.engine():
        pytest.skip(f"looks for nodes in a Docker engine: {reason}")
    told = tmp_path / "told"
    told.mkdir()
    command(tmp_path / "bin", "kind", TAKEN.format(folder=told))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    settings = Settings(provider="kind", home=str(tmp_path), name="taken")
    ownership.mark(settings.state)
    reports: list[str] = []
    with pytest.raises(PortTaken, match="already allocated") as raised:
        Cluster(settings).stand(reports.append)
    assert "ss -ltnp" in raised.value.hint
    assert [r for r in reports if "once more" in r]
    first, second = (_ports(path) for path in sorted(told.iterdir()))
    assert len(first) == len(second) == 4
    assert not first & second
    assert not (settings.state / "kind.json").exists(), "nothing is left"


def _ports(path: Path) -> set[int]:
    mapped = yaml.safe_load(path.read_text())["nodes"][0]["extraPortMappings"]
    return {each["hostPort"] for each in mapped}
