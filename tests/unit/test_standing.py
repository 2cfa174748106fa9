"""`lab clean` deletes Labs and nothing else."""

from pathlib import Path

import pytest

from lab import ownership, standing
from lab.errors import InputError
from lab.settings import Settings


def folder(home: Path, name: str, lab: bool) -> Path:
    made = home / name
    made.mkdir(parents=True)
    (made / "thesis.txt").write_text("years of work")
    if lab:
        ownership.mark(made)
    return made


@pytest.mark.parametrize("provider", ["embedded", "fake", "external"])
@pytest.mark.parametrize("everything", [False, True])
def test_folders_that_are_no_labs_stay(tmp_path: Path, provider: str, everything: bool) -> None:
    strangers = [folder(tmp_path, name, lab=False) for name in ("default", "run-scripts", "thesis")]
    standing.clean(Settings(home=str(tmp_path), provider=provider, url="http://127.0.0.1:9"), dry_run=False, everything=everything)
    assert all((s / "thesis.txt").is_file() for s in strangers)


def test_labs_are_named_and_deleted_all_of_them_only_when_asked(tmp_path: Path) -> None:
    for name in ("default", "other", "run-1"):
        folder(tmp_path, name, lab=True)
    settings = Settings(home=str(tmp_path), provider="fake")
    named = standing.clean(settings, dry_run=True, everything=False)
    assert len(named) == 2 and "default" in named[0] and "run-1" in named[1]
    assert (tmp_path / "default").is_dir()
    standing.clean(settings, dry_run=False, everything=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other"]
    standing.clean(settings, dry_run=False, everything=True)
    assert list(tmp_path.iterdir()) == []


def test_the_lab_of_a_living_run_stays(tmp_path: Path) -> None:
    own = ownership.claim(Settings(home=str(tmp_path), provider="fake"), "mine")
    (own.state / "owner.json").write_text('{"pid": 1, "started_s": 0.0}')
    assert not ownership.owned(own.state)  # process 1 began later: its pid is not its own
    standing.clean(Settings(home=str(tmp_path), provider="fake"), dry_run=False, everything=False)
    assert not own.state.exists()


def test_a_lab_is_removed_by_the_provider_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "tracing.py").write_text(
        "from pathlib import Path\n"
        "from lab.providers.fake import Provider as Fake\n"
        "class Provider(Fake):\n"
        "    name = 'tracing'\n"
        "    def destroy(self):\n"
        "        return (*super().destroy(), f'the tracing Lab {self._settings.name}')\n"
    )
    home = str(tmp_path / "home")
    for name in ("mine", "run-1"):
        ownership.mark(Settings(home=home, name=name).state, "tracing")
    removed = standing.clean(Settings(home=home, provider="fake"), dry_run=False, everything=True)
    assert {"the tracing Lab mine", "the tracing Lab run-1"} <= set(removed)


def test_up_does_not_take_another_providers_lab_for_its_own(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path), provider="fake")
    ownership.mark(settings.state, "embedded")
    with pytest.raises(InputError, match="is one of provider embedded, wanted fake"):
        standing.up(settings, "quiet")
