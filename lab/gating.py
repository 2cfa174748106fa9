"""From a finished run's directory, or from files of pytest-benchmark, to a Verdict and the files that tell it; nothing is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab import rundir, thresholds
from lab.analysis import bench_files
from lab.analysis.gate import judge
from lab.analysis.results import SCHEMA_VERSION as SUMMARY_VERSION
from lab.analysis.results import Summary
from lab.analysis.verdict import Verdict
from lab.errors import GateFailed, InputError, UnusableError
from lab.model import Plan
from lab.model.plan import SCHEMA_VERSION as PLAN_VERSION
from lab.report import verdict as written
from lab.rundir import RunDir

DEFAULT_THRESHOLDS = ("mean vs base < +5 %",)
FILES = ("verdict.json", "junit.xml", "gate.md")


def judge_run(run: RunDir) -> Verdict:
    """Writes FILES into the run directory. Where there is nothing to judge it raises InputError, and no older verdict stays behind."""
    for name in FILES:
        (run.root / name).unlink(missing_ok=True)
    plan, summary = run.read(run.plan, Plan), run.read(run.summary, Summary)
    for path, found, wanted in ((run.plan, plan.schema_version, PLAN_VERSION), (run.summary, summary.schema_version, SUMMARY_VERSION)):
        if found != wanted:
            raise InputError(f"{path}: found schema_version {found}, wanted {wanted}", "the version of lab that wrote it can judge it")
    _fresh(run, plan, summary)
    verdict = judge(summary, plan)
    write(verdict, run.root)
    return verdict


def _fresh(run: RunDir, plan: Plan, summary: Summary) -> None:
    """Raises InputError where cells were measured, or lost, after summary.json was written."""
    told = {c.cell: c.measured for c in summary.cells}
    for cell in plan.cells:
        status = run.cell(cell.id).status()
        now = status is not None and status.status in ("done", "broken")
        if told.get(cell.id, False) != now:  # the summary leaves out what a decided gate skipped
            what = f"{run.name}: summary.json and cell {cell.id} disagree whether it was measured"
            raise InputError(what, f"`lab analyze {run.name}` works the summary out again; `lab run --resume {run.name}` goes on")


def judge_files(base: Sequence[Path], head: Sequence[Path], texts: Sequence[str], out: Path | None) -> Verdict:
    """Files of pytest-benchmark; one process each. FILES are written where `out` says."""
    asked, problems = [], []
    for text in texts:
        try:
            asked.append(thresholds.parse(text, bench_files.METRICS))
        except ValueError as error:
            problems.append(f"--threshold: found {text!r}, wanted {error}")
    problems += [
        f"--threshold: found {t.text!r}, wanted a change, such as '{t.metric} vs base < +5 %'" for t in asked if not t.against_base
    ]
    if problems:
        raise InputError("the thresholds cannot be used", "mend them", problems)
    verdict = bench_files.judge(bench_files.read(base), bench_files.read(head), asked)
    if out is not None:
        write(verdict, out)
    return verdict


def write(verdict: Verdict, folder: Path) -> None:
    made = (rundir.encode(verdict), written.junit(verdict), written.markdown(verdict).encode())
    for name, data in zip(FILES, made, strict=True):
        rundir.write(folder / name, data)


def settle(verdict: Verdict) -> None:
    """Returns where the gate passes. Raises GateFailed (exit 1), or UnusableError (exit 4) where it cannot tell."""
    if verdict.verdict == "FAIL":
        raise GateFailed(f"the gate failed: {verdict.sentence}", "mend what got slower, or change the threshold in the scenario")
    if verdict.verdict != "PASS":
        hint = "more deployments, a quieter machine or a wider limit; `could detect` says what this run could see"
        raise UnusableError(f"the gate cannot tell: {verdict.sentence}", hint)
