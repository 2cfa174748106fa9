"""Providers side by side: the same order agrees, another one disagrees with the part that turned it, and missing is no agreement."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lab import rework, rundir
from lab.analysis import agree as agreeing
from lab.analysis.agree import agree
from lab.analysis.sides import Pair, Ranked, SideBySide
from lab.analysis.taken import Taken, take
from lab.errors import InputError
from lab.model import Stat
from lab.report import side
from lab.rundir import RunDir
from tests.unit import report_samples as samples
from tests.unit import side_samples

GOLDEN = Path(__file__).parents[1] / "golden" / "side.md"


@pytest.fixture(scope="module")
def found() -> SideBySide:
    return agree([side_samples.embedded(), side_samples.kind()])


def ranked(found: SideBySide, title: str) -> Ranked:
    return next(r for r in found.rankings if r.title == title)


def pair(of: Ranked, a: str, b: str) -> Pair:
    return next(p for p in of.pairs if {p.a, p.b} == {a, b})


def test_a_run_agrees_with_itself_on_all_that_it_tells() -> None:
    one = side_samples.embedded()
    other = replace(one, name="twin")
    statuses = {r.title: r.status for r in agree([one, other]).rankings}
    assert "disagree" not in statuses.values()
    assert statuses["p50 at 10 requests/s"] == statuses["cost per month at 50 requests/s"] == "agree"


def test_a_turned_order_disagrees_and_names_the_part_that_turned_it(found: SideBySide) -> None:
    p50 = ranked(found, "p50 at 10 requests/s")
    assert p50.orders == ("three_tier < microservices < serverless", "microservices < three_tier < serverless")
    turned = pair(p50, "three_tier", "microservices")
    assert (p50.status, turned.status, pair(p50, "microservices", "serverless").status) == ("disagree", "disagree", "agree")
    assert turned.parts[0].name == "own work"
    assert re.search(r"turned from \+7\.8\d ms to −4\.1\d ms, all of it by own work: own work 0 ms to −12 ms\.", turned.reasons[0])


def test_parts_add_up_to_the_difference_of_the_figures(found: SideBySide) -> None:
    p50 = ranked(found, "p50 at 10 requests/s")
    of = {row.name: row.on for row in p50.rows}
    turned = pair(p50, "three_tier", "microservices")
    for i in range(2):
        a, b = of[turned.a][i].value, of[turned.b][i].value
        assert a is not None and b is not None
        assert sum(part.on[i] for part in turned.parts) == pytest.approx(b - a)


def test_more_wall_time_for_the_same_cpu_is_said_to_be_waiting_under_a_quota(found: SideBySide) -> None:
    causes = pair(ranked(found, "p50 at 10 requests/s"), "three_tier", "microservices").causes
    assert any(
        re.match(r"three_tier: its own work took [\d.]+ times as long on kind for the same CPU", c) and "by quota" in c for c in causes
    )


def test_what_one_side_cannot_tell_is_no_agreement_and_says_why(found: SideBySide) -> None:
    one, other = side_samples.embedded(), side_samples.kind()
    gone = replace(one.groups["serverless"], valid_deployments=0, primary=Stat.missing("ms", "INVALID"), steps=())
    blind = replace(other, groups={**other.groups, "serverless": gone})
    p50 = ranked(agree([one, blind]), "p50 at 10 requests/s")
    lost = pair(p50, "microservices", "serverless")
    assert lost.status == "cannot tell"
    assert lost.said[1].why == "serverless: no valid deployment of 3"
    assert any(
        c == "kind: 1 of 3 deployments of serverless is INVALID: other programs used 0.60 of a core; limit 0.25." for c in lost.causes
    )


def test_a_difference_below_the_floor_or_within_the_intervals_is_not_told() -> None:
    one = side_samples.embedded()
    deaf = replace(one, name="deaf", summary=replace(one.summary, floor_path_ms={"p50": samples.stat(9.0)}))
    told = pair(ranked(agree([one, deaf]), "p50 at 10 requests/s"), "three_tier", "microservices")
    assert "is below the floor of the path, 9 ms" in told.said[1].why
    wide = tuple(replace(e, ratio=replace(e.ratio, low=0.8, high=2.5)) for e in one.comparison.effects)
    unsure = replace(one, name="unsure", comparison=replace(one.comparison, effects=wide))
    told = pair(ranked(agree([one, unsure]), "p50 at 10 requests/s"), "three_tier", "microservices")
    assert told.said[1].why.startswith("the difference may be chance: microservices / three_tier is 1.33")


def test_a_break_even_elsewhere_disagrees_and_one_within_the_interval_agrees(found: SideBySide) -> None:
    moved = pair(ranked(found, "break-even"), "serverless", "three_tier")
    assert moved.status == "disagree" and {s.says for s in moved.said} == {"serverless"}
    one = side_samples.embedded()
    near = replace(samples.COSTS_BREAK_EVEN, traffic_per_s=samples.stat(5.2, "1/s", 0.2, basis="priced"))
    close = replace(side_samples.break_even(one, near), name="close")
    assert pair(ranked(agree([one, close]), "break-even"), "serverless", "three_tier").status == "agree"


def test_a_pair_that_flips_on_both_agrees_that_no_winner_holds(found: SideBySide) -> None:
    cloud = ranked(found, "p50 in a cloud")
    assert pair(cloud, "three_tier", "serverless").status == "agree"
    assert pair(cloud, "three_tier", "microservices").status == "disagree"


def test_three_providers_agree_only_where_all_do() -> None:
    one, other = side_samples.embedded(), side_samples.kind()
    made = agree([one, replace(one, name="twin"), other])
    p50 = ranked(made, "p50 at 10 requests/s")
    assert pair(p50, "three_tier", "microservices").status == "disagree"
    assert "From embedded to kind" in pair(p50, "three_tier", "microservices").reasons[0]
    assert made.answer.startswith("embedded, twin and kind agree on")


def test_machines_that_differ_beside_the_provider_are_named() -> None:
    one, other = side_samples.embedded(), side_samples.kind()
    moved = replace(other, about=replace(other.about, machine={**other.about.machine, "kernel": "6.6.0"}))
    made = agree([one, moved])
    assert made.differences == {"kernel": ("6.1.0", "6.6.0")}
    assert any("kernel: 6.1.0 against 6.6.0" in note for note in made.notes)
    assert not agree([one, other]).differences


# ---- run directories -------------------------------------------------------------------------------------------------


def run_directory(root: Path, taken: Taken) -> RunDir:
    run = RunDir(root / "runs" / taken.summary.run)
    for path, value in (
        (run.plan, taken.plan),
        (run.environment, taken.about),
        (run.summary, taken.summary),
        (run.comparison, taken.comparison),
    ):
        rundir.write(path, rundir.encode(value))
    return run


def test_it_is_written_beside_the_runs_and_reads_back(tmp_path: Path) -> None:
    runs = [run_directory(tmp_path, t) for t in (side_samples.embedded(), side_samples.kind())]
    assert not rework.one_provider(runs)
    made, page = rework.side_by_side(runs)
    folder = tmp_path / "comparisons" / f"{runs[0].name}..{runs[1].name}"
    assert page == folder / "report.html"
    assert rundir.decode((folder / "comparison.json").read_bytes(), SideBySide, "comparison.json") == made
    text = (folder / "report.md").read_text()
    assert all((folder / name).is_file() for name in re.findall(r"\]\((\S+\.svg)\)", text))
    first = page.read_bytes()
    rework.side_by_side(runs)
    assert page.read_bytes() == first


def test_runs_that_cannot_stand_side_by_side_are_refused_with_every_reason(tmp_path: Path) -> None:
    one, other = side_samples.embedded(), side_samples.kind()
    twin = replace(one, summary=replace(one.summary, run="twin"), plan=replace(one.plan, scenario_sha256="f" * 64, scenario="other"))
    runs = [run_directory(tmp_path, t) for t in (one, other, twin)]
    with pytest.raises(InputError, match="cannot stand side by side") as caught:
        take(runs)
    said = "\n".join(caught.value.problems)
    assert "both ran on provider embedded" in said and "another scenario (other ffffffff)" in said


# ---- how it is told --------------------------------------------------------------------------------------------------


def test_markdown_is_as_agreed(found: SideBySide) -> None:
    """After a change that is meant: `python -m tests.unit.test_agree` writes the file again."""
    assert side.markdown(found) == GOLDEN.read_text()


def test_the_page_has_a_chart_per_ranking_of_figures_and_every_reason(found: SideBySide) -> None:
    page = side.html(found)
    assert page.count('class="chart"') >= sum(bool(r.rows) for r in found.rankings)
    assert found.answer in page
    for reason in (r for ranked_ in found.rankings for p in ranked_.pairs for r in p.reasons):
        assert reason in page
    assert "other programs used 0.60 of a core" in page


@pytest.mark.parametrize("width", [100, 160])
def test_the_terminal_fits(found: SideBySide, width: int) -> None:
    stream = io.StringIO()
    Console(file=stream, width=width).print(side.terminal(found))
    assert max(map(len, stream.getvalue().splitlines())) <= width
    assert "⇄ disagree" in stream.getvalue() and "own work" in stream.getvalue()


if __name__ == "__main__":
    GOLDEN.write_text(side.markdown(agreeing.agree([side_samples.embedded(), side_samples.kind()])))
