"""From a run directory to summary, comparison and report; from two run directories to what differs. Nothing else is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab import report, rundir
from lab.analysis import analyze
from lab.analysis.compare import compare_runs
from lab.analysis.results import Comparison, Summary
from lab.model import Plan
from lab.rundir import RunDir


@dataclass(frozen=True, kw_only=True)
class Finished:
    run: RunDir
    summary: Summary
    comparison: Comparison
    took_s: float | None = None


def rework(made: RunDir, prices: str | None, cpu_scale: float) -> Finished:
    """Summary, comparison and report from the raw samples; they can be deleted and come out the same."""
    summary = analyze.analyze(made)
    comparison = analyze.compare_run(made, prices=prices or made.read(made.plan, Plan).prices, cpu_scale=cpu_scale)
    report.write(made)
    return Finished(run=made, summary=summary, comparison=comparison)


def compare(a: RunDir, b: RunDir, force: bool) -> tuple[Comparison, Path]:
    """b against a, kept beside the runs in comparisons/A..B/comparison.json."""
    found = compare_runs(a, b, force=force)
    path = a.root.parent.parent / "comparisons" / f"{a.name}..{b.name}" / "comparison.json"
    rundir.write(path, rundir.encode(found))
    return found, path


def spread(found: Finished) -> float | None:
    """Standard deviation (log scale) between deployments of the same thing, for the next plan on this machine."""
    return analyze.spread(found.summary)
