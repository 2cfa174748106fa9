"""From a run directory to summary.json and comparison.json in it; both can be deleted and come out the same, byte for byte."""

from __future__ import annotations

from datetime import date

from lab import rundir
from lab.analysis.compare import compare
from lab.analysis.results import Comparison, Summary
from lab.analysis.summarize import spread, summarize
from lab.rundir import RunDir

__all__ = ["analyze", "compare_run", "spread"]


def analyze(run: RunDir) -> Summary:
    summary = summarize(run)
    rundir.write(run.summary, rundir.encode(summary))
    return summary


def compare_run(run: RunDir, prices: str | None = None, *, cpu_scale: float = 1.0, today: date | None = None) -> Comparison:
    """Takes summary.json as it stands; `lab analyze` makes it. `prices` None takes the plan's price book."""
    comparison = compare(run, prices, cpu_scale=cpu_scale, today=today)
    rundir.write(run.comparison, rundir.encode(comparison))
    return comparison
