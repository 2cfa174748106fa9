"""A `lab` command in; its exit code, what it printed and its run directory out, with its progress as lines: what every experiment needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.analysis.results import Summary
from lab.progress import clock
from lab.rundir import RunDir


@dataclass(frozen=True, kw_only=True)
class Told:
    """`said`: on stderr, without progress; `folder`: where the command was called."""

    code: int
    printed: str
    said: str
    folder: Path

    @property
    def run(self) -> RunDir:
        return RunDir(self.folder / json.loads(self.printed)["run"])

    @property
    def summary(self) -> Summary:
        return self.run.read(self.run.summary, Summary)


def lab(*words: str, folder: Path | None = None, environment: Mapping[str, str] | None = None, allowed: tuple[int, ...] = (0, 4)) -> Told:
    """Another exit code than `allowed` ends the experiment with it, and with what the command said. 4: INVALID, with figures that may not
    be used."""
    where = folder or Path.cwd()
    argv = [sys.executable, "-m", "lab", "--json", *words]
    print(f"$ lab {' '.join(words)}", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryFile("w+") as out,  # no pipe: nobody would read it while stderr is read
        subprocess.Popen(argv, cwd=where, env=dict(environment or os.environ), text=True, stdout=out, stderr=subprocess.PIPE) as process,
    ):
        assert process.stderr is not None
        said = "".join(line for line in process.stderr if not _progress(line))
        code = process.wait()
        out.seek(0)
        printed = out.read()
    if code not in allowed:
        sys.stderr.write(said)
        raise SystemExit(code)
    return Told(code=code, printed=printed, said=said, folder=where)


def _progress(line: str) -> bool:
    try:
        told = json.loads(line)
        elapsed_s, left_s, phase = told["elapsed_s"], told["eta_s"], told["phase"]
    except (ValueError, KeyError, TypeError):
        return False
    left = f"  (about {clock(left_s)} left)" if left_s >= 1 else ""
    print(f"{elapsed_s:6.1f}s  {phase}{left}", file=sys.stderr, flush=True)
    return True


def reasons(summary: Summary) -> tuple[str, ...]:
    return tuple(f"{cell.cell}: {reason}" for cell in summary.cells for reason in cell.reasons)
