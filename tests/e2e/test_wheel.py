"""Away from the checkout: the wheel alone, in an empty folder, runs the quick scenario; the user's own files there are found first."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.unit.test_registry import ARCHITECTURE

ROOT = Path(__file__).parents[2]

SCENARIO = """
kind: serve
about: my own
workload: noop
architectures: [monolith]
load: {rates_per_s: [20], window_s: 2}
deployments: 1
floor: false
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `lab` command of an environment that holds nothing but the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    place = folder / "venv"
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        subprocess.run([str(uv), "venv", "--python", sys.executable, str(place)], check=True, capture_output=True, timeout=60)
        install = [str(uv), "pip", "install", "--python", str(place / "bin/python"), str(wheel)]
    else:
        venv.create(place, with_pip=True)
        install = [str(place / "bin/python"), "-m", "pip", "install", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    return place / "bin/lab"


def call(lab: Path, folder: Path, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "PYTHON", "VIRTUAL_ENV"))}
    environment["LAB_HOME"] = str(folder / ".home")
    return subprocess.run([str(lab), *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s)


@pytest.mark.slow
def test_quick_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = call(installed, tmp_path, "--json", "run", "quick", timeout_s=240)
    assert done.returncode in (0, 4), done.stderr  # 4: this machine is too busy to measure
    found = json.loads(done.stdout)
    assert {g["architecture"] for g in found["summary"]["groups"]} == {"three_tier", "microservices", "serverless"}
    assert all(g["correct_share"] > 0.9 for g in found["summary"]["groups"] if g["correct_share"] is not None)
    assert (tmp_path / found["report"]).stat().st_size > 20_000
    assert call(installed, tmp_path, "clean", "--all").returncode == 0


@pytest.mark.slow
def test_the_users_own_architecture_and_scenario_are_found(installed: Path, tmp_path: Path) -> None:
    for kind, name, text in (("architectures", "monolith.py", ARCHITECTURE), ("scenarios", "mine.yaml", SCENARIO)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_text(text)
    done = call(installed, tmp_path, "--json", "run", "mine")
    assert done.returncode in (0, 4), done.stderr
    (group,) = json.loads(done.stdout)["summary"]["groups"]
    assert (group["architecture"], group["deployments"]) == ("monolith", 1)


def test_nothing_of_ours_lies_loose_in_site_packages(installed: Path) -> None:
    (site,) = installed.parent.parent.glob("lib/python3*/site-packages")
    assert not (site / "architectures").exists() and not (site / "scenarios").exists()
    assert (site / "lab/_shipped/architectures/three_tier.py").is_file()
    assert (site / "lab/_shipped/scenarios/workshops/break-even/check.py").is_file()
    assert (site / "lab/noise/aa.yaml").is_file()
    assert (site / "lab/prices/aws.yaml").is_file()
    assert (site / "lab/workloads/models/vision-M.onnx").is_file()
