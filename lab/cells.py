"""One cell of a plan: deploy, load, sample usage, keep events and logs, retire; a broken cell keeps what it has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import msgspec

from lab import environment, ownership, registry, rundir, spawn
from lab.contracts import Deployment, Provider
from lab.environment import StealClock
from lab.errors import LabError
from lab.load import record
from lab.load.drive import drive
from lab.load.job import DriveJob, DriverRecord
from lab.load.job import Progress as Driven
from lab.model import Cell, Environment, Topology
from lab.progress import Progress
from lab.rundir import CellDir, CellStatus, RunDir
from lab.settings import Settings

USAGE_EVERY_S = 0.5  # figures at a window's edges are interpolated between two readings


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the `total` cells of a run are measured, one after the other; `settings` are those of the Lab that stands for it."""

    run: RunDir
    provider: Provider
    settings: Settings
    progress: Progress
    total: int
    driver_cpus: tuple[int, ...]
    steal: StealClock = field(default_factory=StealClock)

    def measure(self, cell: Cell, *, number: int, before_s: float) -> None:
        """`before_s`: planned seconds that are behind. A LabError or an interruption marks the cell broken and goes on upwards."""
        folder = self.run.cell(cell.id)
        title = f"{number} of {self.total}  {cell.id}: "
        status = CellStatus(cell=cell.id, status="running", deployment=cell.id.replace("_", "-").lower())
        folder.mark(status)
        try:
            with self._provider(cell) as provider:
                self.progress.phase(f"{title}deploying")
                with _deployed(provider, cell, folder, status.deployment) as deployment:
                    driven = self._load(provider, cell, folder, deployment, title, before_s)
            record.to_parquet(folder.stream, folder.samples)
        except (LabError, KeyboardInterrupt) as error:
            reason = error.what if isinstance(error, LabError) else "interrupted"
            folder.mark(replace(status, status="broken", reason=reason))
            raise
        folder.mark(_done(status, deployment, driven))
        self._note_state()

    @contextmanager
    def _provider(self, cell: Cell) -> Iterator[Provider]:
        """The run's own, or for the driver's floor one that lives as long as the cell."""
        if cell.provider == self.settings.provider:
            yield self.provider
            return
        other = registry.provider(cell.provider)(
            replace(self.settings, provider=cell.provider, name=f"{self.settings.name}-{cell.provider}")
        )
        other.up()
        try:
            yield other
        finally:
            other.destroy()

    def _load(self, provider: Provider, cell: Cell, folder: CellDir, deployment: Deployment, title: str, before_s: float) -> DriverRecord:
        job = DriveJob(
            url=deployment.url,
            workload=cell.workload,
            load=cell.load,
            seed=cell.seed,
            stream=str(folder.stream),
            cpus=self.driver_cpus,
            control_url=deployment.control_url or None,
            fill={s.name: s.max_instances for s in cell.topology.services if s.scaling == "to_zero"} if cell.topology else {},
        )

        def show(driven: Driven) -> None:
            self.progress.phase(title + _words(driven, cell))
            self.progress.reach(before_s + cell.expected_s * _share(driven, cell))

        with _sampled(provider, folder):
            return drive(job, show, log=folder.logs / "driver.log", record=self._tag())

    def _tag(self) -> spawn.Record:
        """By it `lab clean` finds a driver whose run was killed."""
        state = self.settings.state
        if not ownership.is_lab(state):
            ownership.mark(state)
        return spawn.Record(path=state / "processes.jsonl", lab_id=spawn.new_lab_id(state))

    def _note_state(self) -> None:
        about = self.run.read(self.run.environment, Environment)
        noted = replace(about, states=(*about.states, environment.state(self.steal)))
        rundir.write(self.run.environment, rundir.encode(noted))


@contextmanager
def _deployed(provider: Provider, cell: Cell, folder: CellDir, name: str) -> Iterator[Deployment]:
    """Logs and events are kept however it ends; then it is retired."""
    topology = cell.topology or Topology(architecture=cell.architecture, workload=cell.workload, services=(), routes={}, needs=())
    rundir.write(folder.topology, rundir.encode(topology))
    deployment = provider.deploy(topology, name, cell.seed)
    try:
        yield deployment
    finally:
        try:
            rundir.write(folder.logs / "services.log", "\n".join(provider.logs(deployment=name)).encode())
            rundir.write(folder.events, b"".join(msgspec.json.encode(e) + b"\n" for e in provider.events(name)))
        finally:
            provider.retire(name)


@contextmanager
def _sampled(provider: Provider, folder: CellDir) -> Iterator[None]:
    """usage.jsonl grows while the body runs, with a reading before and one after it; whatever the thread raises is raised here."""
    stop = threading.Event()

    def sample() -> None:
        last = False
        while not last:
            last = stop.is_set()
            rundir.append(folder.usage, b"".join(msgspec.json.encode(u) + b"\n" for u in provider.usage()))
            stop.wait(0 if last else USAGE_EVERY_S)

    folder.usage.unlink(missing_ok=True)
    with ThreadPoolExecutor(1, thread_name_prefix="usage") as pool:
        sampling = pool.submit(sample)
        try:
            yield
        finally:
            stop.set()
    sampling.result()


def _done(status: CellStatus, deployment: Deployment, driven: DriverRecord) -> CellStatus:
    return replace(
        status,
        status="done",
        origin_s=driven.origin_s,
        ready_s=dict(deployment.ready_s),
        windows=driven.steps(),
        warmup_stable=driven.warmup_stable,
        driver=driven.figures(),
    )


def _words(driven: Driven, cell: Cell) -> str:
    if driven.phase == "window":
        rate = cell.load.rates_per_s[driven.step]
        return f"{rate:g} requests/s (step {driven.step + 1} of {len(cell.load.rates_per_s)})"
    return {"preload": "first requests", "cold": "cold starts", "warmup": "warming up"}[driven.phase]


def _share(driven: Driven, cell: Cell) -> float:
    """How much of the cell's planned seconds is behind: windows are its end."""
    load = cell.load
    windows_s = len(load.rates_per_s) * load.window_s
    if driven.phase != "window":
        return (cell.expected_s - windows_s - load.drain_s) / cell.expected_s * 0.5
    inside = driven.done / driven.total if driven.total else 1.0
    return (cell.expected_s - windows_s - load.drain_s + (driven.step + inside) * load.window_s) / cell.expected_s
