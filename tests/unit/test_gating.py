"""`lab gate` on run directories and on files of pytest-benchmark: what it writes, prints and exits with, and that errors never pass."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest

from lab import gating, rundir, thresholds
from lab.analysis import analyze
from lab.analysis.gate import judge
from lab.analysis.verdict import Verdict
from lab.errors import GateFailed, InputError, UnusableError
from lab.model import Cell, GatePlan, Plan
from lab.report import verdict as written
from lab.rundir import RunDir
from tests.unit import gates, runs

LIMIT = "p50_ms vs base < +5 %"
ALLOWED = {"testsuites": {"name", "tests", "failures", "errors", "skipped", "time"}, "testcase": {"classname", "name", "time"}}


def gated(root: Path, head_ms: float, *, measured: int = 10, texts: tuple[str, ...] = (LIMIT, "error_rate < 1 %")) -> RunDir:
    """A run directory of a gate: base answers in 20 ms; `measured` deployments of each side, in blocks."""
    behaviours = {"alpha": runs.Behaviour(spread=0.01), "beta": runs.Behaviour(median_ms=head_ms, spread=0.01)}
    recipe = runs.Recipe(architectures=behaviours, deployments=measured, rates_per_s=(20.0,), window_s=20.0)
    run = runs.build(root, recipe)
    plan = runs.make_plan(replace(recipe, deployments=10))
    gate = GatePlan(thresholds=tuple(map(thresholds.parse, texts)), least=5, most=10, looks=(5, 10))
    rundir.write(run.plan, rundir.encode(replace(plan, cells=tuple(map(_sided, plan.cells)), gate=gate, refs=gates.REFS)))
    analyze.analyze(run)
    return run


def _sided(cell: Cell) -> Cell:
    return (
        cell if cell.role != "subject" else replace(cell, architecture="app", code_ref="base" if cell.architecture == "alpha" else "head")
    )


def lab(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lab", *words], capture_output=True, text=True, cwd=cwd, timeout=120)


# ---- a run directory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head_ms", "measured", "verdict", "code"),
    [(20.0, 10, "PASS", 0), (24.0, 10, "FAIL", 1), (24.0, 5, "FAIL", 1), (21.0, 10, "INCONCLUSIVE", 4)],
)
def test_a_run_is_judged_from_its_directory_alone(tmp_path: Path, head_ms: float, measured: int, verdict: str, code: int) -> None:
    run = gated(tmp_path / "elsewhere" / "run", head_ms, measured=measured)
    done = lab("--json", "gate", str(run.root), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["verdict"] == verdict
    kept = rundir.decode((run.root / "verdict.json").read_bytes(), Verdict, "verdict.json")
    assert (kept.verdict, kept.deployments, kept.schema_version) == (verdict, measured, 1)
    assert (run.root / "gate.md").read_text().startswith(f"**{verdict}** ")
    assert xml.parse(run.root / "junit.xml").getroot().tag == "testsuites"
    assert ("next:" in done.stderr) == (code != 0)


def test_people_read_the_verdict_first_and_what_the_run_could_have_seen(tmp_path: Path) -> None:
    run = gated(tmp_path / "run", 24.0)
    shown = lab("gate", str(run.root), cwd=tmp_path).stdout
    assert shown.startswith("FAIL")
    for text in (LIMIT, "+20.", "noise floor", "could detect", "base: bbbb", "looks"):
        assert text in shown


def _cut(name: str) -> Callable[[RunDir], object]:
    return lambda run: (run.root / name).write_bytes((run.root / name).read_bytes()[:-40])


def _version(name: str) -> Callable[[RunDir], object]:
    return lambda run: (run.root / name).write_text((run.root / name).read_text().replace('"schema_version": 1', '"schema_version": 0'))


def _lose_a_cell(run: RunDir) -> None:
    shutil.rmtree(next((run.root / "cells").glob("*beta*")))


def _no_gate(run: RunDir) -> None:
    rundir.write(run.plan, rundir.encode(replace(run.read(run.plan, Plan), gate=None)))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda run: run.plan.unlink(), "no run is called"),
        (lambda run: run.summary.unlink(), "has no summary.json"),
        (_cut("plan.json"), "cannot be read"),
        (_cut("summary.json"), "cannot be read"),
        (_version("plan.json"), "found schema_version 0"),
        (_version("summary.json"), "found schema_version 0"),
        (_lose_a_cell, "disagree whether it was measured"),
        (_no_gate, "has no thresholds"),
    ],
)
def test_a_harmed_run_exits_2_and_leaves_no_older_verdict(tmp_path: Path, harm: Callable[[RunDir], object], says: str) -> None:
    run = gated(tmp_path / "run", 20.0)
    assert gating.judge_run(run).verdict == "PASS"
    harm(run)
    done = lab("gate", str(run.root), cwd=tmp_path)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
    assert says == "no run is called" or not any((run.root / name).exists() for name in gating.FILES)


def test_a_run_cut_off_between_looks_exits_2(tmp_path: Path) -> None:
    run = gated(tmp_path / "run", 20.0, measured=7)
    with pytest.raises(InputError, match="cut off after 7 deployments per arm; the next look is at 10"):
        gating.judge_run(run)


def test_exit_codes_are_those_of_their_errors() -> None:
    assert (GateFailed.exit_code, UnusableError.exit_code, InputError.exit_code) == (1, 4, 2)


def test_a_run_or_files_but_not_both(tmp_path: Path) -> None:
    for words in ((), ("last", "--from", "a", "b"), ("last", "--threshold", LIMIT)):
        assert lab("gate", *words, cwd=tmp_path).returncode == 2


# ---- JUnit and Markdown ------------------------------------------------------------------------------------------------


def mixed() -> Verdict:
    base = {m: gates.noisy(20.0, 20) for m in ("p50_ms", "cpu_ms", "mean_ms")}
    head = {"p50_ms": gates.noisy(20.0, 20, seed=2), "cpu_ms": gates.noisy(26.0, 20, seed=3), "mean_ms": gates.noisy(21.0, 20, seed=4)}
    plan = gates.plan(LIMIT, "cpu_ms vs base < +5 %", "mean_ms vs base < +5 %")
    return replace(judge(gates.pair(base, head), plan), scenario="odd | name\x07 & <tag>")


def test_junit_has_the_common_shape_and_nothing_open_passes() -> None:
    root = xml.fromstring(written.junit(mixed()))
    (suite,) = root
    for node in (root, suite):
        assert set(node.attrib) <= ALLOWED["testsuites"]
        assert [node.attrib[k] for k in ("tests", "failures", "errors", "skipped")] == ["3", "1", "1", "0"]
    assert suite.tag == "testsuite"
    outcomes = []
    for case in suite:
        assert case.tag == "testcase" and set(case.attrib) == ALLOWED["testcase"]
        marks = [child.tag for child in case if child.tag != "system-out"]
        assert all(case.find(tag).attrib.keys() == {"type", "message"} for tag in marks)  # type: ignore[union-attr]
        outcomes.append(marks)
    assert outcomes == [[], ["failure"], ["error"]]


def test_markdown_is_a_table_with_verdict_noise_power_machine_and_how_to_repeat() -> None:
    text = written.markdown(mixed())
    lines = text.splitlines()
    assert lines[0].startswith("**FAIL** cpu_ms vs base")
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3 and len({line.replace("\\|", "").count("|") for line in table}) == 1
    for wanted in ("noise floor", "could detect", "machine: 2 virtual cores", "Repeat it:", "    lab run compare"):
        assert wanted in text
    assert "<tag>" not in text


# ---- files of pytest-benchmark -----------------------------------------------------------------------------------------


def bench(path: Path, means: dict[str, float], *, rounds: int = 50, cpu: str = "made up", commit: str = "c" * 40) -> Path:
    benchmarks = [
        {
            "fullname": name,
            "stats": {"min": 0.9 * mean, "mean": mean, "median": mean, "stddev": 0.02 * mean, "rounds": rounds},
        }
        for name, mean in means.items()
    ]
    machine = {"cpu": {"brand_raw": cpu, "count": 2}, "python_version": "3.11.2"}
    path.write_text(json.dumps({"benchmarks": benchmarks, "machine_info": machine, "commit_info": {"id": commit, "dirty": False}}))
    return path


def sides(folder: Path, ratio: float, files: int, spread: float = 0.01) -> tuple[list[Path], list[Path]]:
    base = [
        bench(folder / f"base{i}.json", {"test_a": v})
        for i, v in enumerate(gates.noisy(1e-3, files, spread=spread) if files > 1 else [1e-3])
    ]
    values = gates.noisy(ratio * 1e-3, files, spread=spread, seed=2) if files > 1 else [ratio * 1e-3]
    head = [bench(folder / f"head{i}.json", {"test_a": v}, commit="d" * 40) for i, v in enumerate(values)]
    return base, head


@pytest.mark.parametrize(
    ("ratio", "files", "verdict"),
    [
        (1.0, 1, "INCONCLUSIVE"),  # one process per side cannot show that nothing changed by 5 %
        (1.1, 1, "INCONCLUSIVE"),
        (1.5, 1, "FAIL"),
        (0.7, 1, "PASS"),
        (1.1, 7, "FAIL"),
        (1.0, 7, "PASS"),
        (1.05, 7, "INCONCLUSIVE"),
    ],
)
def test_files_are_judged_by_what_they_can_know(tmp_path: Path, ratio: float, files: int, verdict: str) -> None:
    base, head = sides(tmp_path, ratio, files)
    found = gating.judge_files(base, head, gating.DEFAULT_THRESHOLDS, tmp_path / "out")
    assert found.verdict == verdict
    assert ("not independent deployments" in " ".join(found.notes)) == (files < 7)
    assert {p.name for p in (tmp_path / "out").iterdir()} == set(gating.FILES)
    assert [r.commit[:1] for r in found.refs] == ["c", "d"]


def test_several_thresholds_and_benchmarks_share_the_error_rate(tmp_path: Path) -> None:
    base = bench(tmp_path / "base.json", {"test_a": 1e-3, "test_b": 2e-3})
    head = bench(tmp_path / "head.json", {"test_a": 1e-3, "test_b": 4e-3})
    found = gating.judge_files([base], [head], ("mean vs base < +5 %", "median vs base < +10 %"), None)
    assert [(j.group, j.verdict) for j in found.judged if j.verdict == "FAIL"] == [("test_b", "FAIL")] * 2
    assert {j.alpha for j in found.judged} == {0.05 / 4}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: bench(p, {"test_b": 1e-3}), "a benchmark is missing"),
        (lambda p: bench(p, {}), "holds no benchmark"),
        (lambda p: bench(p, {"test_a": 0.0}), "not above 0"),
        (lambda p: bench(p, {"test_a": 1e-3}, cpu="another"), "different machines: cpu"),
        (lambda p: p.write_text(p.read_text()[:-9]), "cannot be read"),
        (lambda p: p.write_text("{}"), "cannot be read"),
        (lambda p: p.unlink(), "there is no file"),
    ],
)
def test_files_that_cannot_be_judged_are_an_error(tmp_path: Path, change: Callable[[Path], object], says: str) -> None:
    base, head = sides(tmp_path, 0.5, 1)
    change(head[0])
    with pytest.raises(InputError, match=says):
        gating.judge_files(base, head, gating.DEFAULT_THRESHOLDS, None)


def test_a_missing_benchmark_is_named(tmp_path: Path) -> None:
    base, head = sides(tmp_path, 0.5, 1)
    bench(head[0], {"test_b": 1e-3})
    with pytest.raises(InputError) as error:
        gating.judge_files(base, head, gating.DEFAULT_THRESHOLDS, None)
    assert [p.rpartition(" has no ")[2] for p in error.value.problems] == ["test_a", "test_b"]


def test_one_run_is_not_two(tmp_path: Path) -> None:
    base, head = sides(tmp_path, 0.5, 1)
    with pytest.raises(InputError, match="named twice"):
        gating.judge_files(base * 2, head, gating.DEFAULT_THRESHOLDS, None)
    with pytest.raises(InputError, match="on both sides"):
        gating.judge_files(base, base, gating.DEFAULT_THRESHOLDS, None)


@pytest.mark.parametrize("text", ["mean < 5", "p50_ms vs base < +5 %", "mean"])
def test_thresholds_of_files_are_changes_of_their_own_metrics(tmp_path: Path, text: str) -> None:
    base, head = sides(tmp_path, 1.0, 1)
    with pytest.raises(InputError, match="thresholds cannot be used"):
        gating.judge_files(base, head, (text,), None)


def test_files_as_pytest_benchmark_writes_them(tmp_path: Path) -> None:
    test = "def test_sum(benchmark):\n    benchmark.pedantic(sum, args=(range({n}),), rounds=30, iterations=20, warmup_rounds=3)\n"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, n in (("base", 2_000), ("head", 40_000)):
        (tmp_path / "test_it.py").write_text(test.format(n=n))
        command = [sys.executable, "-m", "pytest", "-q", "test_it.py", "--benchmark-json", f"{name}.json", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    slower = lab("gate", "--from", "base.json", "head.json", cwd=tmp_path)
    assert slower.returncode == 1, slower.stderr
    assert "test_it.py::test_sum" in slower.stdout and "processes of the same code is assumed" in " ".join(slower.stdout.split())
    faster = lab("gate", "--from", "head.json", "base.json", "--threshold", "median vs base < +5 %", "--out", "out", cwd=tmp_path)
    assert faster.returncode == 0, faster.stderr
    assert "improved" in faster.stdout and (tmp_path / "out" / "junit.xml").is_file()
