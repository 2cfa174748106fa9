"""The machine's identity: hashed fields only; siblings and claims."""

import subprocess
from pathlib import Path

import pytest

from lab import environment


def test_identity_follows_every_field_and_nothing_else() -> None:
    values = environment.machine("embedded")
    assert environment.identify(values) == environment.identify(dict(reversed(values.items())))
    for key in values:
        assert environment.identify({**values, key: "other"}) != environment.identify(values)


@pytest.mark.parametrize(("text", "wanted"), [("0", {0}), ("0,4", {0, 4}), ("0-2,5\n", {0, 1, 2, 5})])
def test_cpu_lists_as_the_kernel_prints_them(text: str, wanted: set[int]) -> None:
    assert environment.cpu_list(text) == wanted


@pytest.mark.parametrize(
    ("cores", "isolation", "tail", "knee"),
    [(2, "pinned", False, False), (4, "pinned", True, False), (4, "none", False, False), (8, "pinned", True, True)],
)
def test_claims_grow_with_the_machine(monkeypatch: pytest.MonkeyPatch, cores: int, isolation: str, tail: bool, knee: bool) -> None:
    monkeypatch.setattr(environment, "physical_cores", lambda: {n: frozenset({n}) for n in range(cores)})
    claimed = environment.claims(isolation)
    assert ("tail" in claimed, "knee" in claimed) == (tail, knee)
    assert {"cpu", "bytes", "cost", "cold", "p50"} <= set(claimed)


def test_the_commit_is_read_without_a_process(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "refs/heads/main").write_text("a" * 40 + "\n")
    assert environment._git_commit(tmp_path / "deeper") == "a" * 40
    (git / "refs/heads/main").unlink()
    (git / "packed-refs").write_text("# pack-refs\n" + "b" * 40 + " refs/heads/main\n")
    assert environment._git_commit(tmp_path) == "b" * 40
    assert environment._git_commit(tmp_path.parent / "elsewhere") != "b" * 40


def test_a_dirty_checkout_is_told_from_a_clean_one_and_from_none(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", *words], cwd=tmp_path, check=True, capture_output=True)

    assert environment.subject(tmp_path, "", 1)["dirty"] == "unknown"
    git("init")
    (tmp_path / "kept").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    assert environment.subject(tmp_path, "", 1)["dirty"] == "no"
    (tmp_path / "kept").write_text("2")
    assert environment.subject(tmp_path, "", 1)["dirty"] == "yes"


def siblings(folder: Path, *groups: str) -> Path:
    for number, text in enumerate(groups):
        (folder / f"cpu{number}" / "topology").mkdir(parents=True)
        (folder / f"cpu{number}" / "topology" / "thread_siblings_list").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("driver", "system", "shared"),
    [((0,), (1,), (0,)), ((0, 2), (1,), (0,)), ((2, 3), (0, 1), ()), ((0, 1), (0, 1), (0, 1)), ((0,), (), ()), ((), (), ())],
)
def test_threads_of_one_core_are_shared(tmp_path: Path, driver: tuple[int, ...], system: tuple[int, ...], shared: tuple[int, ...]) -> None:
    assert environment.shared_cpus(driver, system, siblings(tmp_path, "0-1", "0-1", "2-3", "2-3")) == shared


def test_no_claim_on_tails_where_the_driver_shares_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "physical_cores", lambda: {n: frozenset({n}) for n in range(8)})
    assert "tail" in environment.claims("pinned") and "tail" not in environment.claims("pinned", (0,))
