"""Settings: layers in rising order, every problem at once."""

import os
from pathlib import Path

import pytest

from lab.errors import InputError
from lab.settings import resolve


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run with, such as LAB_KIND_IMAGE."""
    for name in [n for n in os.environ if n.startswith("LAB_")]:
        monkeypatch.delenv(name)


def test_layers_rise_from_file_over_environment_to_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "lab.toml").write_text('name = "folder"\nobject_store = "minio"\nstart_timeout_s = 5\n')
    (home / "lab.toml").write_text('name = "home"\n')
    monkeypatch.setenv("LAB_HOME", str(home))
    assert resolve(folder=tmp_path).name == "home"
    monkeypatch.setenv("LAB_NAME", "environment")
    assert resolve(folder=tmp_path).name == "environment"
    settings = resolve({"name": "option", "provider": None}, folder=tmp_path)
    assert (settings.name, settings.object_store, settings.start_timeout_s) == ("option", "minio", 5.0)
    assert settings.state == home / "option"


def test_every_wrong_setting_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('nmae = "x"\nstart_timeout_s = "soon"\nname = "../up"\n')
    with pytest.raises(InputError) as caught:
        resolve({"home": str(tmp_path / "home")}, folder=tmp_path)
    text = "\n".join(caught.value.problems)
    assert "unknown setting 'nmae'" in text
    assert "start_timeout_s: found 'soon', wanted a number" in text
    assert "name: found '../up'" in text


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text("name = \n")
    with pytest.raises(InputError, match=r"lab\.toml is not TOML"):
        resolve(folder=tmp_path)


@pytest.mark.parametrize("url", ["http://user:pw@host:80", "http://host:99999", "http://:80", "https://user@host"])
@pytest.mark.parametrize("key", ["url", "object_store"])
def test_addresses_hold_no_secret_and_a_real_port(tmp_path: Path, key: str, url: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve({key: url, "home": str(tmp_path)}, folder=tmp_path)
    assert caught.value.problems[0].startswith(f"{key}: found")


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve({"home": "here"}).state == tmp_path / "here" / "default"


def test_settings_of_a_table_have_dotted_names_in_files_environment_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab.toml").write_text('[kind]\nimage = "node:1"\nworkers = 2\n[images]\npython = "python:3.13-slim"\n')
    found = resolve({"home": str(tmp_path)}, folder=tmp_path)
    assert (found.kind_image, found.kind_workers, found.images_python) == ("node:1", 2, "python:3.13-slim")
    monkeypatch.setenv("LAB_KIND_IMAGE", "node:2")
    assert resolve({"home": str(tmp_path)}, folder=tmp_path).kind_image == "node:2"
    assert resolve({"home": str(tmp_path), "kind.image": "node:3"}, folder=tmp_path).kind_image == "node:3"


def test_wrong_settings_of_a_table_are_called_by_their_dotted_names(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('[kind]\nimgae = "x"\nworkers = 1.5\n[kubernetes]\nmetrics = "maybe"\n')
    with pytest.raises(InputError) as caught:
        resolve({"home": str(tmp_path), "driver": "aside"}, folder=tmp_path)
    text = "\n".join(caught.value.problems)
    assert "unknown setting 'kind.imgae'" in text
    assert "kind.workers: found 1.5, wanted a whole number" in text
    assert "kubernetes.metrics: found 'maybe', wanted refuse or install" in text
    assert "driver: found 'aside', wanted inside or outside" in text
