"""Sides of a gate: refs to commits, dirty trees, worktrees that come and go."""

from pathlib import Path

import pytest

from lab import refs
from lab.errors import InputError
from tests import repositories
from tests.repositories import commit, git, worktrees


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return repositories.made(tmp_path / "mine")


def test_base_and_head_are_commits(repository: Path) -> None:
    base, head = refs.resolve(repository, "HEAD~1", False)
    assert (base.name, base.commit) == ("base", git(repository, "rev-parse", "HEAD~1"))
    assert (head.name, head.commit, head.dirty) == ("head", git(repository, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize("ref", ["nope", "", "--all", "HEAD~7", "main:server.py"])
def test_a_ref_that_is_no_commit_is_refused(repository: Path, ref: str) -> None:
    with pytest.raises(InputError, match="names no commit"):
        refs.resolve(repository, ref, False)


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies in no git repository"):
        refs.resolve(tmp_path, "HEAD", False)


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(InputError, match="has no commit yet"):
        refs.resolve(tmp_path, "HEAD", False)


def test_a_dirty_tree_is_refused_with_its_files(repository: Path) -> None:
    (repository / "busy.py").write_text("BUSY_MS = 9\n")
    (repository / "new.txt").write_text("untracked files are not measured, and are no change\n")
    with pytest.raises(InputError, match="1 changed file would not be measured") as caught:
        refs.resolve(repository, "HEAD~1", False)
    assert caught.value.problems == ("busy.py",)
    assert "--allow-dirty" in caught.value.hint


def test_a_snapshot_holds_the_changes_and_leaves_the_tree_as_it_is(repository: Path, tmp_path: Path) -> None:
    (repository / "busy.py").write_text("BUSY_MS = 9\n")
    before = git(repository, "status", "--porcelain")
    sides = refs.resolve(repository, "HEAD~1", True)
    assert sides[1].dirty and sides[1].commit != git(repository, "rev-parse", "HEAD")
    made = refs.check_out(repository, tmp_path / "lab", sides)
    assert (made.of("head") / "busy.py").read_text() == "BUSY_MS = 9\n"
    assert (made.of("base") / "busy.py").read_text() == "BUSY_MS = 1.0\n"
    assert (git(repository, "status", "--porcelain"), git(repository, "stash", "list")) == (before, "")


def test_worktrees_come_and_go_and_a_hook_is_not_run(repository: Path, tmp_path: Path) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    state = tmp_path / "lab"
    refs.check_out(repository, state, refs.resolve(repository, "HEAD~1", False))
    found = refs.of_lab(state)
    assert len(worktrees(repository)) == 2 and not (tmp_path / "hooked").exists()
    locked = found.of("head") / "cache"  # as Go leaves its modules
    locked.mkdir()
    (locked / "module").write_text("")
    locked.chmod(0o500)
    removed = found.remove()
    assert [Path(each).name for each in removed] == ["base", "head"]
    assert worktrees(repository) == [] and not (state / "refs").exists()
    assert found.remove() == refs.of_lab(state).remove() == ()


def test_what_another_command_deleted_by_half_is_removed(repository: Path, tmp_path: Path) -> None:
    import shutil

    state = tmp_path / "lab"
    refs.check_out(repository, state, refs.resolve(repository, "HEAD~1", False))
    found = refs.of_lab(state)
    shutil.rmtree(state)
    assert len(found.remove()) == 2
    assert worktrees(repository) == []


def test_a_folder_inside_the_repository_is_measured_in_that_folder(repository: Path, tmp_path: Path) -> None:
    inside = repository / "backend"
    inside.mkdir()
    (inside / "server.py").write_text("1\n")
    commit(repository)
    (inside / "server.py").write_text("2\n")
    commit(repository)
    made = refs.check_out(inside, tmp_path / "a", refs.resolve(inside, "HEAD~1", False))
    assert [(made.of(side) / "server.py").read_text() for side in ("base", "head")] == ["1\n", "2\n"]
    made.remove()
    with pytest.raises(InputError, match="has no folder backend"):
        refs.check_out(inside, tmp_path / "b", refs.resolve(inside, "HEAD~2", False))
    refs.of_lab(tmp_path / "b").remove()
    assert worktrees(repository) == []
