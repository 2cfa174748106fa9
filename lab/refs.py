"""The two sides of a gate: from a REF to commits, from commits to git worktrees of the Lab's own, which leave nothing behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import rundir, spawn
from lab.errors import InputError, MachineError
from lab.model import CodeRef

GIT_S = 300.0  # for one git command; a checkout of a large repository takes its time
SHOWN_FILES = 10
FETCH = "`git fetch origin REF` gets it (with actions/checkout: fetch-depth: 0)"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """`top` is its working tree, `prefix` the working directory inside it."""

    top: str
    prefix: str = ""


def repository(folder: Path) -> Repository:
    """The one that `folder` lies in. Raises InputError where there is none."""
    found = _git(folder, "rev-parse", "--show-toplevel", "--show-prefix")
    if found.code:
        raise InputError(f"{folder} lies in no git repository, and --base compares two commits of one", "call `lab` in the repository")
    top, _, prefix = found.output.partition("\n")
    return Repository(top=top, prefix=prefix.strip())


def resolve(folder: Path, base: str, allow_dirty: bool) -> tuple[CodeRef, CodeRef]:
    """Base and head. Head is the commit that is checked out; where tracked files differ from it, InputError names them, or with
    `allow_dirty` head is a snapshot of them, which nothing but its id refers to."""
    top = Path(repository(folder).top)
    head = _commit(top, "HEAD")
    if head is None:
        raise InputError(f"{top} has no commit yet", "commit first: --base compares two commits")
    found = None if base.startswith("-") or not base else _commit(top, base)
    if found is None:
        raise InputError(f"--base: found {base!r}, which names no commit of {top}", f"`git log` shows what there is; {FETCH}")
    changed = _wanted(top, "status", "--porcelain", "--untracked-files=no").splitlines()
    if changed and not allow_dirty:
        files = [line[3:] for line in changed]
        more = [f"and {len(files) - SHOWN_FILES} more"] if len(files) > SHOWN_FILES else []
        what = f"{len(files)} changed file{'s'[: len(files) != 1]} would not be measured: head is the commit {head[:12]}"
        raise InputError(what, "commit, or pass --allow-dirty to measure a snapshot of the tree", [*files[:SHOWN_FILES], *more])
    if changed:
        head = _wanted(top, "stash", "create", "lab: the tree as it was measured").strip()
    return CodeRef(name="base", commit=found), CodeRef(name="head", commit=head, dirty=bool(changed))


def _commit(top: Path, ref: str) -> str | None:
    found = _git(top, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    return found.output.strip() if found.code == 0 else None


# ---- worktrees -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Worktrees:
    """Those of one Lab, below its folder `refs`; none where `repository` is None."""

    folder: Path
    repository: Repository | None

    def of(self, side: str) -> Path:
        """The user's working directory as it is on that side."""
        assert self.repository is not None
        return self.folder / side / self.repository.prefix

    def remove(self) -> tuple[str, ...]:
        """Files and what the repository knows of them; names what it removed. Twice is fine."""
        if self.repository is None:
            return ()
        there = [path for side in ("base", "head") if (path := self.folder / side).exists()]
        for path in there:
            _remove(path)
        top = Path(self.repository.top)
        known = _known(top) if top.is_dir() else set()
        left = [self.folder / side for side in ("base", "head") if str(self.folder / side) in known]
        for path in left:
            _wanted(top, "worktree", "remove", "--force", "--force", str(path))
        if self.folder.is_dir():
            shutil.rmtree(self.folder)
        return tuple(f"worktree {path}" for path in dict.fromkeys([*there, *left]))


def of_lab(state: Path) -> Worktrees:
    """What stands in the Lab's folder, or may be half made."""
    folder = _folder(state)
    path = folder / "repository.json"
    found = rundir.decode(path.read_bytes(), Repository, str(path)) if path.is_file() else None
    return Worktrees(folder=folder, repository=found)


def check_out(folder: Path, state: Path, refs: Sequence[CodeRef]) -> Worktrees:
    """A detached worktree for each; the repository is written down first, so that a killed run's can be found and removed."""
    of_lab(state).remove()
    made = Worktrees(folder=_folder(state), repository=repository(folder))
    rundir.write(made.folder / "repository.json", rundir.encode(made.repository))
    for ref in refs:
        if _commit(folder, ref.commit) is None:
            raise InputError(f"{ref.name}: commit {ref.commit[:12]} is not in the repository any more", FETCH)
        _wanted(folder, "worktree", "add", "--detach", "--quiet", str(made.folder / ref.name), ref.commit)
        if not made.of(ref.name).is_dir():
            prefix = made.repository.prefix if made.repository else ""
            raise InputError(f"{ref.name}: commit {ref.commit[:12]} has no folder {prefix}", "call `lab` in a folder that both sides have")
    return made


def _folder(state: Path) -> Path:
    return state.resolve() / "refs"


def _known(top: Path) -> set[str]:
    lines = _wanted(top, "worktree", "list", "--porcelain").splitlines()
    return {line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")}


def _remove(folder: Path) -> None:
    """Builds leave folders that even their owner may not write (Go's modules)."""
    for root, names, _ in os.walk(folder):  # from the top: each is opened before it is listed
        for each in (Path(root) / name for name in names):
            if not each.is_symlink():
                each.chmod(0o700)
    shutil.rmtree(folder)


# ---- git -------------------------------------------------------------------------------------------------------------


def _git(folder: Path, *words: str) -> spawn.Captured:
    """Without hooks (a checkout would run them), and whatever hook we may be called by ourselves."""
    if shutil.which("git") is None:
        raise MachineError("git is not installed, and --base needs it", "install git")
    outer = [word for name in os.environ if name.startswith("GIT_") for word in ("-u", name)]
    argv = ["env", *outer, "LC_ALL=C", "git", "-c", "core.hooksPath=/dev/null", *words]
    return spawn.capture(argv, timeout_s=GIT_S, cwd=folder)


def _wanted(folder: Path, *words: str) -> str:
    found = _git(folder, *words)
    if found.code:
        raise MachineError(f"git {' '.join(words[:2])} failed in {folder}: {found.output.strip()}", "mend the repository, then try again")
    return found.output
