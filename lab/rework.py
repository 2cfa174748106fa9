"""From a run directory to summary, comparison and report; from several to what differs between them. Nothing else is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import report, rundir
from lab.analysis import agree, analyze, taken
from lab.analysis.compare import compare_runs
from lab.analysis.results import Comparison, Summary
from lab.analysis.sides import SideBySide
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
    path = _folder((a, b)) / "comparison.json"
    rundir.write(path, rundir.encode(found))
    return found, path


def one_provider(runs: Sequence[RunDir]) -> bool:
    """Two runs whose numbers may be compared; more, or of several providers, are compared by what they rank."""
    return len(runs) == 2 and len({taken.provider(run) for run in runs}) == 1


def side_by_side(runs: Sequence[RunDir]) -> tuple[SideBySide, Path]:
    """Runs of one scenario on several providers: comparison.json, report.html and report.md in comparisons/A..B; gives the page's path."""
    from lab.report import side

    found, folder = agree.side_by_side(runs), _folder(runs)
    rundir.write(folder / "comparison.json", rundir.encode(found))
    return found, side.write(found, folder)[0]


def _folder(runs: Sequence[RunDir]) -> Path:
    return runs[0].root.parent.parent / "comparisons" / "..".join(run.name for run in runs)


def spread(found: Finished) -> float | None:
    """Standard deviation (log scale) between deployments of the same thing, for the next plan on this machine."""
    return analyze.spread(found.summary)
