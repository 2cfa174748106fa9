"""A run directory's summary and comparison become report.html, report.md and the two pictures beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from lab import rundir
from lab.analysis.results import Comparison, Summary
from lab.model import Environment
from lab.rundir import RunDir


def write(run: RunDir) -> tuple[Path, Path]:
    """Paths of report.html and report.md. Without comparison.json the report holds what was measured only. Raises InputError when
    summary.json is missing."""
    from lab.report.html import html
    from lab.report.markdown import markdown, pictures

    summary = run.read(run.summary, Summary)
    comparison = run.read(run.comparison, Comparison) if run.comparison.is_file() else None
    machine = flat(run.read(run.environment, Environment)) if run.environment.is_file() else None
    for name, picture in pictures(summary, comparison).items():
        rundir.write(run.root / name, picture.encode())
    rundir.write(run.html, html(summary, comparison, run=run.name, environment=machine).encode())
    rundir.write(run.markdown, markdown(summary, comparison).encode())
    return run.html, run.markdown


def flat(environment: Environment) -> Mapping[str, str]:
    """What the page lists of the machine and the subject; the many states become one line."""
    return dict(_flat(environment))


def _flat(e: Environment) -> Iterator[tuple[str, str]]:
    yield "identity", e.identity
    yield from ((key.replace("_", " "), str(value)) for key, value in e.machine.items())
    yield from ((key.replace("_", " "), str(value)) for key, value in e.subject.items() if value != "")
    yield "finished", e.finished_at or "not recorded"
    if e.states:
        yield "load average", f"{min(s.load1 for s in e.states):.2f} to {max(s.load1 for s in e.states):.2f} over {len(e.states)} readings"
    steal = [s.steal_share for s in e.states if s.steal_share is not None]
    yield "steal", f"{max(steal) * 100:.1f} % at most" if steal else "not told by this machine"
