"""Where load comes from and whose clocks tell of it, from the plan to the page: nothing is drawn at a moment that nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lab import rundir
from lab.analysis.results import Driving
from lab.analysis.summarize import summarize
from lab.contracts import Capabilities
from lab.model import ClockOffset, Event, Plan, Usage
from lab.plan import compile
from lab.report import evidence, facts
from lab.rundir import CellDir, RunDir
from lab.scenario import load
from lab.settings import Settings
from tests.unit.report_samples import stat, summary
from tests.unit.runs import Behaviour, Recipe, build

AHEAD_S = 777.0
OUTSIDE = Capabilities(isolation="none", enforcement="none", driver_cpus=(0,))
INSIDE = replace(OUTSIDE, driver="inside", other_driver="outside")

# ---- the plan ------------------------------------------------------------------------------------------------------------


def planned(capabilities: Capabilities, rate_per_s: float, folder: Path, processes: int = 0) -> Plan:
    path = folder / "own.yaml"
    path.write_text(
        f"kind: serve\nabout: x\nworkload: noop\narchitectures: [three_tier]\nload: {{rates_per_s: [10, {rate_per_s:g}], window_s: 1}}\n"
        "deployments: 1\n"
    )
    return compile(load(str(path)), Settings(provider="fake", driver_processes=processes), capabilities)


@pytest.mark.parametrize(
    ("capabilities", "rate_per_s", "asked", "wanted"),
    [
        (INSIDE, 1000, 0, 1),
        (INSIDE, 1001, 0, 2),
        (INSIDE, 4500, 0, 5),
        (INSIDE, 20, 3, 3),
        (OUTSIDE, 4500, 0, 1),  # more processes than CPUs would only take turns
        (replace(OUTSIDE, driver_cpus=(0, 1, 2)), 4500, 0, 3),
        (replace(OUTSIDE, driver_cpus=()), 4500, 0, 5),
        (OUTSIDE, 20, 2, 2),
    ],
)
def test_drivers_are_as_many_as_the_highest_rate_needs(
    capabilities: Capabilities, rate_per_s: float, asked: int, wanted: int, tmp_path: Path
) -> None:
    subject = planned(capabilities, rate_per_s, tmp_path, asked).cells[-1]
    assert (subject.driver, subject.drivers) == (capabilities.driver, wanted)


def test_floors_are_measured_from_everywhere_load_can_come_from(tmp_path: Path) -> None:
    assert [(c.role, c.driver) for c in planned(INSIDE, 20, tmp_path).cells] == [
        ("floor_driver", "inside"),
        ("floor_path", "inside"),
        ("floor_driver_other", "outside"),
        ("floor_path_other", "outside"),
        ("subject", "inside"),
    ]
    assert {c.driver for c in planned(OUTSIDE, 20, tmp_path).cells} == {"outside"}


# ---- clocks --------------------------------------------------------------------------------------------------------------

RECIPE = Recipe(architectures={"alpha": Behaviour(cold_ms=1200.0)}, deployments=1, floor=False)
CELL = "01-alpha-S"


def elsewhere(run: RunDir, clock: str, *, known: bool) -> CellDir:
    """Everything that the provider tells is told on that clock, which is AHEAD_S ahead of this machine's."""
    cell = run.cell(CELL)
    for path, kind in ((cell.events, Event), (cell.usage, Usage)):
        told: Sequence[Event | Usage] = [replace(line, at_s=line.at_s + AHEAD_S, clock=clock) for line in cell.lines(path, kind)]
        rundir.write(path, b"".join(msgspec.json.encode(line) + b"\n" for line in told))
    status = cell.status()
    assert status is not None
    clocks = {clock: ClockOffset(offset_s=-AHEAD_S, error_s=0.0004)} if known else {}
    cell.mark(replace(status, clocks=clocks))
    return cell


def test_what_is_told_on_another_clock_is_converted(tmp_path: Path) -> None:
    here = summarize(build(tmp_path / "here", RECIPE))
    run = build(tmp_path / "there", RECIPE)
    elsewhere(run, "node", known=True)
    there = summarize(run)
    (a,), (b,) = here.groups, there.groups
    for name in ("cpu_ms_architecture", "cpu_ms_platform", "memory_mib"):
        assert getattr(a, name).value == pytest.approx(getattr(b, name).value, rel=1e-6)
    assert a.cold_phases_ms == b.cold_phases_ms and a.cold_phases_ms
    assert [e["at_s"] for e in a.events] == pytest.approx([e["at_s"] for e in b.events], abs=1e-5) and a.events
    model, same = (next(s for s in g.services if s.service == "model") for g in (a, b))
    assert model.invocations_per_request == pytest.approx(same.invocations_per_request, rel=0.02)
    assert here.driving == Driving(place="outside", processes=1, clock_error_ms=None)
    assert there.driving is not None and there.driving.clock_error_ms == pytest.approx(0.4)


def test_what_is_told_on_an_unknown_clock_is_left_out_and_the_cell_says_so(tmp_path: Path) -> None:
    run = build(tmp_path, RECIPE)
    events = len(list(elsewhere(run, "lost", known=False).lines(run.cell(CELL).events, Event)))
    found = summarize(run)
    (group,), (verdict,) = found.groups, found.cells
    assert group.events == () and group.cpu_ms_architecture.value is None and group.cpu_ms_architecture.why_missing
    assert f"{events} events left out: nobody compared their clock 'lost' with the driver's" in verdict.warnings
    assert any("readings of usage left out" in words for words in verdict.warnings)


# ---- the page ------------------------------------------------------------------------------------------------------------

TWO = Driving(
    place="inside",
    processes=2,
    clock_error_ms=0.42,
    other="outside",
    other_floor_driver_ms={"p50": stat(0.5)},
    other_floor_path_ms={"p50": stat(2.5)},
)


def test_the_page_says_where_load_came_from_and_the_floors_of_both_places() -> None:
    assert facts.driver(TWO) == (
        "Inside the cluster, as a Job: 2 at once, each with its share of one schedule. Floor from outside: driver p50 0.500 ms · "
        "path p50 2.50 ms. Clocks of other machines are known within 0.42 ms."
    )
    assert facts.driver(Driving(place="outside", processes=1, clock_error_ms=None)) == "Outside, on the machine that ran `lab`."
    printed = dict(facts.small_print(replace(summary(), driving=TWO), None))
    assert printed["Driver"] == facts.driver(TWO)
    rows = evidence.floors(replace(summary(), driving=TWO)).rows
    assert [row.cells[0].text for row in rows] == [
        "inside: driver + fake provider",
        "inside: driver + noop on the real provider",
        "outside: driver + fake provider",
        "outside: driver + noop on the real provider",
    ]
    assert len(evidence.floors(summary()).rows) == 2
