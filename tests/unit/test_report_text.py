"""report.md and the terminal: answer first, small, escaped, for any width; `write` puts all of it into a run directory."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lab import report, rundir
from lab.analysis.results import Curve, Group
from lab.errors import InputError
from lab.model import Environment, Stat
from lab.model.machine import MachineState
from lab.report import terminal
from lab.report.markdown import escaped, markdown, pictures
from lab.rundir import RunDir
from tests.unit import report_samples as samples

GOLDEN = Path(__file__).parents[1] / "golden" / "report.md"


def test_markdown_is_as_agreed() -> None:
    """After a change that is meant: `python -m tests.unit.test_report_text` writes the file again."""
    assert markdown(samples.summary(), samples.comparison()) == GOLDEN.read_text()


def test_markdown_says_the_answer_first_and_fits_into_a_comment() -> None:
    made = markdown(samples.summary(), samples.comparison())
    assert made.startswith(f"**{samples.comparison().answer}**")
    assert len(made.encode()) < 10_000
    assert "    lab run compare" in made


def test_markdown_of_many_groups_still_fits_into_a_comment() -> None:
    summary = samples.summary()
    groups = tuple(replace(g, name=f"{g.name}-{size}", model_size=size) for size in ("S", "M", "L") for g in summary.groups)
    assert len(markdown(replace(summary, groups=groups), samples.comparison()).encode()) < 10_000


def test_markdown_gives_the_reason_of_every_dash() -> None:
    made = markdown(samples.summary(), samples.comparison())
    assert f"</sup> — {samples.P99_WHY}" in made
    assert f"</sup> — {samples.COLD_WHY}" in made


def test_its_tables_have_as_many_cells_as_heads() -> None:
    made = markdown(samples.summary(), samples.comparison())
    tables = [table.splitlines() for table in re.findall(r"(?:^\|.*\n)+", made, re.M)]
    assert [len(rows) for rows in tables] == [5, 3, 3]
    assert all(len({row.count("|") for row in rows}) == 1 for rows in tables)


def test_its_pictures_exist_and_are_small() -> None:
    made = pictures(samples.summary(), samples.comparison())
    text = markdown(samples.summary(), samples.comparison())
    assert made and all(f"]({name})" in text and len(svg) < 16_000 for name, svg in made.items())
    assert list(pictures(samples.summary(), None)) == ["report-throughput.svg"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("three_tier", "three_tier"),
        ("a|b", "a\\|b"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("@someone", "&#64;someone"),
        ("_x_ *y* `z`", "\\_x\\_ \\*y\\* \\`z\\`"),
        ("two\nlines", "two lines"),
        ("[a](http://b)", "\\[a\\](http://b)"),
    ],
)
def test_markup_in_names_is_escaped(name: str, text: str) -> None:
    assert escaped(name) == text


def printed(width: int, terminal_: bool = False, **changes: object) -> str:
    stream = io.StringIO()
    summary = replace(samples.summary(), **changes)  # type: ignore[arg-type]
    Console(file=stream, width=width, force_terminal=terminal_).print(terminal.table(summary, samples.comparison()))
    return stream.getvalue()


@pytest.mark.parametrize("width", [100, 160])
def test_the_table_fits_and_cuts_nothing_off(width: int) -> None:
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    row = next(line for line in text.splitlines() if line.startswith("three_tier"))
    assert "40/s" in row and "23.5 ±1 ms" in row and "9.1+3.8 ms" in row and "$23.29 · $2.33 · $0.47" in row


def test_the_terminal_says_what_holds_flips_and_cannot_be_said() -> None:
    text = " ".join(printed(160).split())
    assert samples.comparison().answer in text
    assert "three_tier < microservices holds (99 % of cloud draws)" in text
    assert "three_tier or serverless flips: three_tier is faster only while one hop costs more than 0.4 ms" in text
    assert "tails cannot be measured on 2 virtual cores" in text
    assert "serverless costs less than three_tier below 4.90 requests/s (3.72–6.08)" in text
    assert "3 deployments of each cannot give a verdict" in text
    assert samples.P99_WHY in text
    assert "driver late: lag p99 14.2 ms" in text


def test_cpu_that_was_not_measured_is_no_number() -> None:
    first, *others = samples.summary().groups
    missing = Stat.missing("ms", "the provider does not tell")
    for group, text in (
        (replace(first, cpu_ms_platform=missing), " 9.1+? ms "),
        (replace(first, cpu_ms_platform=missing, cpu_ms_architecture=missing), "  - "),
    ):
        row = next(line for line in printed(160, groups=(group, *others)).splitlines() if line.startswith("three_tier"))
        assert text in row and "-+" not in row and "+-" not in row


def test_a_rate_that_nothing_failed_above_is_a_lower_bound() -> None:
    first, *others = samples.summary().groups
    text = printed(160, groups=(replace(first, held_rate_per_s=Stat(value=40.0, unit="1/s", n=3, low=40.0)), *others))
    assert "≥ 40/s" in text


def test_the_winner_of_a_column_stands_out_on_a_terminal_and_in_markdown() -> None:
    summary, comparison = samples.summary(), samples.comparison()
    alone = replace(comparison, rankings=comparison.rankings[:1])
    assert "**23.5** (22.1–25.0)" in markdown(summary, alone)
    stream = io.StringIO()
    Console(file=stream, width=160, force_terminal=True).print(terminal.table(summary, alone))
    assert "\x1b[1;32m23.5 ±1 ms" in stream.getvalue()


def test_there_is_no_colour_where_there_is_no_terminal() -> None:
    assert "\x1b[" not in printed(100)
    assert "\x1b[" in printed(100, terminal_=True)


def test_an_invalid_group_shows_no_number_on_the_terminal() -> None:
    groups = samples.summary().groups
    text = printed(160, groups=(replace(groups[0], valid_deployments=0), *groups[1:]))
    row = next(line for line in text.splitlines() if line.startswith("three_tier"))
    assert "INVALID" in row
    assert not any(character.isdigit() for character in row)


def test_a_name_is_not_obeyed_as_terminal_markup() -> None:
    stream = io.StringIO()
    Console(file=stream, width=160).print(terminal.table(samples.marked_up("[red]x[/red]")))
    assert "[red]x[/red]" in stream.getvalue()


def test_so_few_deployments_that_none_can_be_told_promise_no_percentage() -> None:
    summary = replace(samples.summary(), detectable_ratio=2_387_518.77)
    for text in (printed(160, detectable_ratio=2_387_518.77), markdown(summary, samples.comparison())):
        assert "238" not in text and "by a test" in text


def test_a_percentile_that_many_lack_is_said_once_with_whose_it_is() -> None:
    def without(index: int, n: int) -> Group:
        group = samples.summary().groups[index]
        steps = tuple(replace(s, latency={**s.latency, "p99": Stat.missing("ms", f"{n} samples; p99 needs 368", n=n)}) for s in group.steps)
        return replace(group, steps=steps)

    text = " ".join(printed(160, groups=tuple(without(i, 30 + i) for i in range(3))).split())
    assert text.count("p99 needs 368") == 1
    assert "p99 of every architecture at 10/s: 30 to 32 samples; p99 needs 368" in text


@pytest.mark.parametrize(
    ("enforcement", "equal"), [("enforced", "equal, enforced by quota"), ("affinity", "equal CPUs by one core set"), ("none", "")]
)
def test_a_budget_is_called_equal_only_where_it_is(enforcement: str, equal: str) -> None:
    text, small = printed(160, enforcement=enforcement), markdown(replace(samples.summary(), enforcement=enforcement))
    assert equal in text
    assert ("equal" in text.partition("budget")[2].partition("floor")[0]) == bool(equal)
    assert ("Equal" in small) == bool(equal)


def test_what_scaled_it_and_how_far_is_said() -> None:
    first, *others = samples.summary().groups
    seen = Curve(x=(10.0, 40.0), y=(1.0, 1.8), low=(1, 1), high=(1, 2))
    scaled = replace(first, services=(replace(first.services[0], scaler="hpa", replicas=seen), *first.services[1:]))
    groups = (scaled, *others)
    assert "three_tier: hpa (app 1 to 2 instances)." in printed(160, groups=groups)
    assert "Scaled by: three_tier: hpa (app 1 to 2 instances)." in markdown(replace(samples.summary(), groups=groups))
    assert "Scaled by: Nothing" in markdown(samples.summary())


# ---- in a run directory ----------------------------------------------------------------------------------------------


def run_directory(root: Path, comparison: bool = True) -> RunDir:
    run = RunDir(root / "a-run")
    rundir.write(run.summary, rundir.encode(samples.summary()))
    if comparison:
        rundir.write(run.comparison, rundir.encode(samples.comparison()))
    return run


def test_write_makes_both_reports_and_the_pictures(tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    machine = Environment(
        identity="0123456789abcdef",
        machine={"cpu": "a processor", "cores": 2},
        machine_class="2 virtual cores",
        claims=("cpu",),
        subject={"git": "beef", "code_ref": ""},
        command="lab run compare",
        started_at="2026-11-22T18:40:12Z",
        states=(MachineState(at_s=1.0, load1=0.5, steal_share=0.021),),
    )
    rundir.write(run.environment, rundir.encode(machine))
    assert report.write(run) == (run.html, run.markdown)
    page = run.html.read_text()
    assert samples.comparison().answer in page
    assert "0123456789abcdef" in page and "2.1 % at most" in page
    for name in pictures(samples.summary(), samples.comparison()):
        assert (run.root / name).read_text().startswith("<svg")
    assert not list(run.root.glob(".*"))


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    first = [path.read_bytes() for path in report.write(run)]
    assert [path.read_bytes() for path in report.write(run)] == first


def test_a_missing_comparison_is_no_error(tmp_path: Path) -> None:
    page, text = report.write(run_directory(tmp_path, comparison=False))
    assert "No comparison has been made" in page.read_text()
    assert text.read_text().startswith("**No comparison has been made of this run.**")


def test_a_missing_summary_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no summary\.json"):
        report.write(RunDir(tmp_path))


if __name__ == "__main__":
    GOLDEN.write_text(markdown(samples.summary(), samples.comparison()))
