"""Timed faults: when they come, what a scenario may ask for, how they are made and told, and what they mean for a cell's validity."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from pathlib import Path

import msgspec
import pytest

from lab import faults, plan, rundir, scenario, spawn
from lab.analysis.results import CellVerdict
from lab.analysis.summarize import summarize
from lab.contracts import Capabilities, Fault, Provider
from lab.errors import InputError, MachineError
from lab.model import Event, TimedFault
from lab.rundir import CellDir, RunDir
from lab.settings import Settings
from tests.unit.runs import FIRST_WINDOW_S, ORIGIN_S, Recipe, build

PAUSE = TimedFault(fault="pause", service="app", at_s=4.5, every_s=10.0, for_s=1.0)
KILL = TimedFault(fault="kill", service="model", at_s=3.0)
CAN = Capabilities(isolation="pinned", enforcement="affinity", faults=("kill", "pause"), system_cpus=(1,))

# ---- when ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "windows_s", "moments"),
    [
        (PAUSE, 60.0, (4.5, 14.5, 24.5, 34.5, 44.5, 54.5)),
        (PAUSE, 15.5, (4.5, 14.5)),
        (PAUSE, 15.4, (4.5,)),
        (PAUSE, 5.4, ()),
        (KILL, 3.0, (3.0,)),
        (KILL, 2.9, ()),
        (dataclasses.replace(KILL, at_s=0.1, every_s=0.1), 0.5, (0.1, 0.2, 0.3, 0.4, 0.5)),
    ],
)
def test_it_comes_as_often_as_it_ends_within_the_windows(fault: TimedFault, windows_s: float, moments: tuple[float, ...]) -> None:
    assert fault.moments(windows_s) == pytest.approx(moments)


def test_it_reads_as_a_sentence() -> None:
    assert str(PAUSE) == "pause of app for 1 s, 4.5 s into the windows and every 10 s"
    assert str(TimedFault(fault="neighbour", at_s=0, for_s=2)) == "neighbour for 2 s, 0 s into the windows"


# ---- what a scenario may ask for -------------------------------------------------------------------------------------

SCENARIO = """
kind: serve
workload: noop
architectures: [three_tier]
load: {rates_per_s: [10, 20], window_s: 10}
faults: [FAULT]
"""


def compiled(fault: str, can: Capabilities = CAN) -> plan.Plan:
    body = scenario.parse(SCENARIO.replace("FAULT", fault), "x.yaml")
    return plan.compile(scenario.Scenario(name="x", sha256="", body=body), Settings(), can)


def test_subjects_get_the_faults_and_floors_get_none() -> None:
    found = compiled("{fault: pause, service: app, at_s: 4.5, every_s: 10, for_s: 1}")
    assert {c.role: c.faults for c in found.cells} == {"floor_driver": (), "floor_path": (), "subject": (PAUSE,)}
    assert rundir.decode(rundir.encode(found), plan.Plan, "plan.json") == found


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("{fault: pause, service: app, at_s: 1}", "wanted `for_s`: how many seconds the pause lasts"),
        ("{fault: kill, service: app, at_s: 1, for_s: 1}", "wanted no `for_s`: a kill is final"),
        ("{fault: kill, at_s: 1}", "wanted `service`: whose instance breaks"),
        ("{fault: neighbour, service: app, at_s: 1, for_s: 1}", "wanted no `service`"),
        ("{fault: pause, service: app, at_s: 1, for_s: 2, every_s: 2}", "wanted `every_s` above `for_s`"),
        ("{fault: quake, at_s: 1}", "faults[0].fault: found 'quake', wanted 'pause', 'kill' or 'neighbour'"),
        ("{fault: pause, service: app, at_s: -1, for_s: 1}", "faults[0].at_s: found -1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(fault: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        compiled(fault)
    (problem,) = caught.value.problems
    assert problem.startswith("x.yaml:6: ") and sentence in problem


@pytest.mark.parametrize(
    ("fault", "can", "sentence"),
    [
        ("{fault: kill, service: nope, at_s: 1}", CAN, "kill nope at 1 s: three_tier has app, model"),
        ("{fault: kill, service: app, at_s: 21}", CAN, "the windows last 20 s, and it must end in them"),
        ("{fault: pause, service: app, at_s: 1, every_s: 4, for_s: 1}", CAN, "10 s is not of 4 s"),
        ("{fault: kill, service: app, at_s: 1}", dataclasses.replace(CAN, faults=()), "provider embedded can make neighbour"),
        ("{fault: neighbour, at_s: 1, for_s: 1}", dataclasses.replace(CAN, system_cpus=()), "provider embedded can make kill, pause"),
    ],
)
def test_what_cannot_be_made_is_refused(fault: str, can: Capabilities, sentence: str) -> None:
    with pytest.raises(InputError, match="these faults cannot be made") as caught:
        compiled(fault, can)
    assert sentence in caught.value.problems[0]


# ---- making them -----------------------------------------------------------------------------------------------------


class Breakable(Provider):
    """Notes what it is told to break, and when."""

    name = "breakable"

    def __init__(self, error: Exception | None = None) -> None:
        self.seen: list[tuple[float, str, str, float]] = []
        self.error, self.twice = error, threading.Event()

    def inject(self, deployment: str, service: str, fault: Fault, duration_s: float = 0.0) -> None:
        self.seen.append((time.monotonic(), service, fault, duration_s))
        if len(self.seen) == 2:
            self.twice.set()
        if self.error:
            raise self.error


def breaking(folder: Path, provider: Provider) -> faults.Breaking:
    (folder / "logs").mkdir(parents=True)
    record = spawn.Record(path=folder / "processes.jsonl", lab_id=spawn.new_lab_id(folder))
    return faults.Breaking(provider=provider, deployment="d", folder=CellDir(folder), record=record, system_cpus=())


def events(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_they_come_at_their_moments_never_before(tmp_path: Path) -> None:
    provider = Breakable()  # type: ignore[abstract]
    again = TimedFault(fault="pause", service="app", at_s=0.1, every_s=0.2, for_s=0.05)
    with faults.timed((again,), 0.4, breaking(tmp_path, provider)) as begin:
        began_s = time.monotonic()
        begin(began_s)
        assert provider.twice.wait(20)
    assert [seen[1:] for seen in provider.seen] == [("app", "pause", 0.05)] * 2
    assert all(at_s - began_s >= planned_s for (at_s, *_), planned_s in zip(provider.seen, (0.1, 0.3), strict=True))


def test_none_comes_after_the_end_nor_where_the_windows_never_began(tmp_path: Path) -> None:
    provider = Breakable()  # type: ignore[abstract]
    with faults.timed((KILL,), 10.0, breaking(tmp_path, provider)) as begin:
        begin(time.monotonic())
    with faults.timed((dataclasses.replace(KILL, at_s=0.0),), 10.0, breaking(tmp_path / "2", provider)):
        pass
    assert provider.seen == []


def test_one_that_cannot_be_made_is_told_and_the_next_one_comes(tmp_path: Path) -> None:
    provider = Breakable(MachineError("no instance of model runs", "send a request"))  # type: ignore[abstract]
    with faults.timed((dataclasses.replace(KILL, at_s=0.0, every_s=0.1),), 0.1, breaking(tmp_path, provider)) as begin:
        begin(time.monotonic())
        assert provider.twice.wait(20)
    told = events(tmp_path)
    assert [(e["service"], e["values"]) for e in told] == [
        ("model", {"fault": "kill", "phase": "failed", "error": "no instance of model runs"})
    ] * 2


def test_a_neighbour_works_and_is_gone_when_the_load_ends(tmp_path: Path) -> None:
    made = breaking(tmp_path, Breakable())  # type: ignore[abstract]
    with faults.timed((TimedFault(fault="neighbour", at_s=0.0, for_s=600.0),), 700.0, made) as begin:
        begin(time.monotonic())
        deadline = time.monotonic() + 20
        while not (busy := spawn.of_lab(tmp_path)) or sum(busy[0].cpu_times()[:2]) < 0.1:
            assert time.monotonic() < deadline, "no neighbour that works"
            time.sleep(0.02)
    assert spawn.of_lab(tmp_path) == []
    assert [e["values"] for e in events(tmp_path)] == [{"fault": "neighbour", "phase": p} for p in ("begin", "end")]


# ---- what they mean for a cell ---------------------------------------------------------------------------------------


def happen(run: RunDir, at_s: float, kind: str, service: str, **values: str | int) -> None:
    event = Event(at_s=ORIGIN_S + FIRST_WINDOW_S + at_s, clock="monotonic", kind=kind, service=service, values=values)
    rundir.append(run.cell("02-alpha-S").events, msgspec.json.encode(event) + b"\n")


def pause(run: RunDir, begin_s: float, end_s: float) -> None:
    for at_s, phase in ((begin_s, "begin"), (end_s, "end")):
        happen(run, at_s, "fault", "app", fault="pause", phase=phase, instance=1)


def judged(run: RunDir) -> CellVerdict:
    return next(v for v in summarize(run).cells if v.cell == "02-alpha-S")


def built(tmp_path: Path, *planned: TimedFault) -> RunDir:
    return build(tmp_path, Recipe(floor=False, window_s=10.0, faults=planned))


def test_planned_faults_that_came_as_planned_leave_a_cell_valid_without_a_word(tmp_path: Path) -> None:
    run = built(tmp_path, PAUSE, KILL)
    pause(run, 4.504, 5.505)
    pause(run, 14.503, 15.504)
    for phase in ("begin", "end"):
        happen(run, 3.01, "fault", "model", fault="kill", phase=phase, instance=7)
    happen(run, -5.0, "ready", "model", instance=7, url="http://127.0.0.1:7")
    happen(run, 3.02, "crash", "model", instance=7, exit=-9)
    happen(run, 3.03, "crash", "model", instance="http://127.0.0.1:7", error="it cannot be reached")
    assert (judged(run).reasons, judged(run).warnings) == ((), ())
    assert summarize(run).faults == (
        "pause of app for 1 s, 4.5 s into the windows and every 10 s: made 2 times, begun at most 4 ms late, lasted 1.001 to 1.001 s.",
        "kill of model, 3 s into the windows: made once, begun at most 10 ms late.",
    )


def test_another_instance_that_dies_by_itself_counts(tmp_path: Path) -> None:
    run = built(tmp_path, KILL)
    for phase in ("begin", "end"):
        happen(run, 3.01, "fault", "model", fault="kill", phase=phase, instance=7)
    happen(run, 3.02, "crash", "model", instance=7, exit=-9)
    happen(run, 6.0, "crash", "model", instance=8, exit=1)
    assert judged(run).reasons == ("at 10/s: model died (exit code 1)",)


def test_one_that_did_not_come_is_not_the_planned_experiment(tmp_path: Path) -> None:
    run = built(tmp_path, PAUSE)
    pause(run, 14.503, 15.504)
    happen(run, 4.6, "fault", "app", fault="pause", phase="failed", error="no instance of app runs")
    assert judged(run).reasons == ("the planned pause of app at 4.5 s did not happen: no instance of app runs",)


def test_one_that_nobody_planned_is_told(tmp_path: Path) -> None:
    run = built(tmp_path)
    pause(run, 4.5, 5.5)
    assert judged(run).reasons == ("a pause of app at 4.5 s, which the plan does not have",)


def test_late_and_long_ones_are_warnings(tmp_path: Path) -> None:
    run = built(tmp_path, PAUSE)
    pause(run, 4.75, 5.75)
    pause(run, 14.5, 15.62)
    found = judged(run)
    assert found.valid
    assert found.warnings == (
        "the planned pause of app at 4.5 s began 0.25 s late; limit 0.1 s",
        "the planned pause of app at 14.5 s lasted 1.12 s, planned 1 s",
    )
