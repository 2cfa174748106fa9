"""Several drivers on one schedule, on this machine and in Jobs: together they send what one would, and what they measured outlives them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from lab import environment, registry, rundir, scenario
from lab.analysis.measured import measure
from lab.analysis.summarize import summarize
from lab.cells import Bench
from lab.contracts import Capabilities, Job, RunningJob
from lab.errors import InputError, MachineError
from lab.load import record, schedule
from lab.load.drive import drive
from lab.load.job import JOB_FILE, DriveJob, DriverRecord, Progress, Told
from lab.load.remote import Place, drive_inside
from lab.model import Event, Load
from lab.plan import compile
from lab.progress import progress
from lab.providers import fake
from lab.rundir import RunDir
from lab.settings import Settings
from tests.answering import Answering
from tests.e2e.test_load import own, project
from tests.jobs import LocalRunner

LOAD = Load(rates_per_s=(40.0, 80.0), window_s=2.0, warmup_max_s=3.0, warmup_rate_per_s=20.0, drain_s=1.0, timeout_s=3.0, arrival="poisson")

__all__ = ["project"]


@pytest.fixture
def service() -> Iterator[Answering]:
    with Answering() as answering:
        yield answering


def job(folder: Path, url: str) -> DriveJob:
    return DriveJob(
        url=url, workload=own(folder, {"right": 0.7, "wrong": 0.3}, preloads=2), load=LOAD, seed=5, stream=str(folder / "samples.arrows")
    )


def found(folder: Path) -> pd.DataFrame:
    return record.read(folder / "samples.arrows").table.to_pandas()


def processes(module: str) -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if module in " ".join(p.cmdline())]


def here(folder: Path, url: str, on_progress: Callable[[Progress], None] = lambda _: None) -> DriverRecord:
    return drive(job(folder, url), on_progress, log=folder / "driver.log", drivers=2)


def in_jobs(folder: Path, url: str, on_progress: Callable[[Progress], None] = lambda _: None) -> DriverRecord:
    return drive_inside(Place(runner=LocalRunner(folder), name="cell"), job(folder, url), on_progress, log=folder / "driver.log", drivers=2)


@pytest.mark.parametrize("run", [here, in_jobs])
def test_two_drivers_send_the_schedule_of_one(run: Callable[..., DriverRecord], project: Path, service: Answering) -> None:
    seen: list[Progress] = []
    told = run(project, service.url, seen.append)
    samples = found(project)
    windows = samples[samples.phase == "window"]
    operations = registry.workload("own_right_wrong").operations
    planned = schedule.windows(LOAD, operations, 5)
    assert told.drivers == 2 and told.sent == len(windows) == len(planned)
    assert samples.sequence.tolist() == list(range(len(samples)))
    assert np.allclose(windows.intended_s - told.windows[0].start_s, planned.offset_s, atol=2e-6)
    assert windows.operation.tolist() == [operations[k].name for k in planned.operation] and windows.step.tolist() == planned.step.tolist()
    assert samples.ok.all() and (samples[samples.phase == "preload"].sequence == [0, 1]).all() and samples.phase.nunique() == 3
    assert told.warmup_stable is not None and told.warmup_s > 0
    for step, start, end in told.steps():
        assert windows[windows.step == step].intended_s.between(start - 1e-6, end + 1e-6).all()
    assert {p.total for p in seen if p.phase == "window"} >= set(np.bincount(planned.step).tolist())
    assert record.read(project / "samples.arrows").origin_s == told.origin_s
    assert not list(project.glob("samples-*")) and not processes("lab.load")


def test_a_driver_elsewhere_is_on_its_own_clock_and_its_samples_on_ours(project: Path, service: Answering) -> None:
    runner = LocalRunner(project, ahead_s=1000.0)
    told = drive_inside(Place(runner=runner, name="far"), job(project, service.url), log=project / "driver.log", drivers=2)
    near, far = told.clocks["driver-0"], told.clocks["driver-1"]
    assert (near.offset_s, near.error_s) == (0, 0)
    assert far.error_s > 0 and abs(far.offset_s + 1000) <= far.error_s
    windows = found(project).query("phase == 'window'")
    planned = schedule.windows(LOAD, registry.workload("own_right_wrong").operations, 5)
    assert np.allclose(windows.intended_s - told.windows[0].start_s, planned.offset_s, atol=2 * far.error_s + 2e-6)
    assert windows.step.tolist() == planned.step.tolist()


def test_samples_of_a_dead_pod_are_kept_and_no_job_is_left(project: Path, service: Answering) -> None:
    runner = LocalRunner(project)

    def kill(progress: Progress) -> None:
        second = next(job.process for job in runner.jobs if job.process.command.service == "far-1")
        if progress.phase == "window" and progress.done > 20 and second.alive:
            second.psutil.kill()

    with pytest.raises(MachineError, match=r"(?s)the load driver died: .*far-1 ended with SIGKILL"):
        drive_inside(Place(runner=runner, name="far"), long(project, service.url), kill, log=project / "driver.log", drivers=2)
    assert all(job.ended for job in runner.jobs) and not processes("lab.load")
    kept = [record.read(project / name).table for name in ("samples.arrows", "samples-1.arrows")]
    assert all(table.num_rows > 5 for table in kept)


def test_a_driver_that_dies_in_its_pod_says_why(project: Path, service: Answering) -> None:
    runner = LocalRunner(project)

    def kill(progress: Progress) -> None:
        for driver in processes("lab.load.locustfile"):
            driver.kill()

    with pytest.raises(MachineError, match="the load driver died: driver ended with SIGKILL"):
        drive_inside(Place(runner=runner, name="far"), long(project, service.url), kill, log=project / "driver.log")
    assert not processes("lab.load")


def test_ctrl_c_ends_the_jobs_and_keeps_what_they_have(project: Path, service: Answering) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.phase == "window" and progress.done > 20:
            raise KeyboardInterrupt

    runner = LocalRunner(project)
    with pytest.raises(KeyboardInterrupt):
        drive_inside(Place(runner=runner, name="far"), long(project, service.url), interrupt, log=project / "driver.log")
    assert runner.jobs[0].ended and not processes("lab.load")
    recovered = record.read(project / "samples.arrows")
    assert recovered.lost_bytes == 0 and recovered.table.num_rows > 20  # whole: also what it recorded after the last look at it


def test_a_mistake_of_the_users_comes_back_as_theirs(project: Path, service: Answering) -> None:
    wrong = dataclasses.replace(job(project, service.url), workload="absent")
    with pytest.raises(InputError, match="no workload is called 'absent'"):
        drive_inside(Place(runner=LocalRunner(project), name="far"), wrong, log=project / "driver.log")
    assert not processes("lab.load")


def test_without_the_token_nothing_is_told(project: Path, service: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.jobs.TOKEN_SENT", "another's")
    with pytest.raises(MachineError, match=r"POST /start: .*401.*is missing, or not this Lab's"):
        drive_inside(Place(runner=LocalRunner(project), name="far"), job(project, service.url), log=project / "driver.log")
    assert not processes("lab.load")


def test_a_job_that_nobody_ends_ends_at_its_deadline(project: Path, service: Answering) -> None:
    told = Told(job=job(project, service.url), deadline_s=1.0)
    files = {JOB_FILE: rundir.encode(told)}
    running = LocalRunner(project).run_job(Job(name="far-0", module="lab.load.inside", files=files, port=1, deadline_s=1.0))
    running.call("POST", "/start")
    assert running.process.wait(60) == 0 and not processes("lab.load")


def long(folder: Path, url: str) -> DriveJob:
    return dataclasses.replace(job(folder, url), load=dataclasses.replace(LOAD, window_s=30.0, warmup_max_s=0.0))


# ---- cells -------------------------------------------------------------------------------------------------------------

SCENARIO = """
kind: serve
about: two drivers inside
workload: noop
architectures: [three_tier]
load: {rates_per_s: [40], window_s: 2, warmup_max_s: 3, drain_s: 1, arrival: constant}
deployments: 1
"""
AHEAD_S = 500.0
MACHINES = ("lag p99", "hypervisor", "of its core", "not stable", "other programs")  # what another program on this machine may cause


class Cluster(fake.Provider):
    """Threads of this process, driven from Jobs; its events are told on the clock of a machine that booted earlier, one on nobody's."""

    name = "cluster"

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings)
        self._runner = LocalRunner(folder)

    def capabilities(self, cpus: float = 1.0) -> Capabilities:
        return dataclasses.replace(super().capabilities(cpus), driver="inside", other_driver="outside")

    def run_job(self, job: Job) -> RunningJob:
        return self._runner.run_job(job)

    def clocks(self) -> Mapping[str, Callable[[], tuple[float, str]]]:
        return {"node": lambda: (time.monotonic() + AHEAD_S, "another")}

    def events(self, deployment: str) -> Sequence[Event]:
        told = [dataclasses.replace(e, at_s=e.at_s + AHEAD_S, clock="node") for e in super().events(deployment)]
        return [*told, Event(at_s=1.0, clock="lost", kind="ready", service="app")]


def test_a_cell_driven_by_two_jobs_is_measured_like_any_other(project: Path) -> None:
    (project / "two.yaml").write_text(SCENARIO)
    settings = Settings(provider="cluster", home=str(project / "home"), driver_processes=2)
    cluster = Cluster(settings, project / "jobs")
    plan = compile(scenario.load(str(project / "two.yaml")), settings, cluster.capabilities())
    assert [(c.role, c.driver, c.drivers) for c in plan.cells] == [
        ("floor_driver", "inside", 2),
        ("floor_path", "inside", 2),
        ("floor_driver_other", "outside", 2),
        ("floor_path_other", "outside", 2),
        ("subject", "inside", 2),
    ]
    made = RunDir(project / "run")
    rundir.write(made.plan, rundir.encode(plan))
    rundir.write(made.environment, rundir.encode(environment.snapshot("fake", plan.isolation, {})))
    cluster.up()
    bench = Bench(run=made, provider=cluster, settings=settings, progress=progress("quiet", 1), total=len(plan.cells), driver_cpus=())
    for number, cell in enumerate(plan.cells):
        bench.measure(cell, number=number, before_s=0.0)
    cluster.destroy()

    summary = summarize(made)
    for verdict in summary.cells:
        assert not [reason for reason in verdict.reasons if not any(words in reason for words in MACHINES)], verdict
    subject = made.cell(plan.cells[-1].id)
    status, windows = subject.status(), pd.read_parquet(subject.samples).query("phase == 'window'")
    assert status is not None and status.driver is not None and status.driver["drivers"] == 2
    assert len(windows) == status.driver["sent"] == 80 and windows.ok.all()
    assert set(status.clocks) == {"driver-0", "driver-1", "node"} and abs(status.clocks["node"].offset_s + AHEAD_S) < 1
    assert any("1 events left out" in words and "'lost'" in words for words in summary.cells[-1].warnings)
    found = measure(made, plan.cells[-1], "three_tier")
    ready = [found.driver_s(event) for event in found.events if event.kind == "ready"]
    assert ready and all(-60 < at_s < 0 for at_s in ready)  # on the driver's clock: before its load began
    assert summary.driving is not None
    assert (summary.driving.place, summary.driving.processes, summary.driving.other) == ("inside", 2, "outside")
    assert made.cell("00-floor_driver").status().driver["sent"] == 80  # type: ignore[union-attr,index]
