"""One cell of a plan: deploy, load, sample usage, keep events and logs, retire; a broken cell keeps what it has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import msgspec

from lab import environment, ownership, registry, rundir, spawn
from lab.contracts import Clocked, Deployment, JobRunner, Provider
from lab.environment import StealClock
from lab.errors import InputError, LabError
from lab.faults import Breaking, timed
from lab.load import clocks, record
from lab.load.clocks import Trip
from lab.load.drive import drive
from lab.load.job import DriveJob, DriverRecord
from lab.load.job import Progress as Driven
from lab.load.remote import Place, drive_inside
from lab.model import Cell, ClockOffset, Environment, Load, Topology
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
    system_cpus: tuple[int, ...] = ()
    steal: StealClock = field(default_factory=StealClock)

    def measure(self, cell: Cell, *, number: int, before_s: float) -> None:
        """`before_s`: planned seconds that are behind. A LabError or an interruption marks the cell broken and goes on upwards."""
        folder = self.run.cell(cell.id)
        title = f"{number} of {self.total}  {cell.id}: "
        status = CellStatus(cell=cell.id, status="running", deployment=cell.id.replace("_", "-").lower())
        folder.mark(status)
        try:
            self.progress.phase(f"{title}deploying")
            with self._subject(cell, folder, status.deployment) as (provider, deployment):
                driven, offsets = self._load(provider, cell, folder, deployment, title, before_s)
            record.to_parquet(folder.stream, folder.samples)
        except (LabError, KeyboardInterrupt) as error:
            reason = error.what if isinstance(error, LabError) else "interrupted"
            folder.mark(replace(status, status="broken", reason=reason))
            raise
        folder.mark(_done(status, deployment, driven, offsets))
        self._note_state()

    @contextmanager
    def _subject(self, cell: Cell, folder: CellDir, name: str) -> Iterator[tuple[Provider | None, Deployment]]:
        """No provider where the driver itself serves what it drives: the floor of a driver inside."""
        if self._served(cell):
            rundir.write(folder.topology, rundir.encode(cell.topology))
            yield None, Deployment(id=name, url="", ready_s={})
            return
        with self._provider(cell) as provider, _deployed(provider, cell, folder, name) as deployment:
            yield provider, deployment

    def _served(self, cell: Cell) -> bool:
        return cell.driver == "inside" and cell.provider != self.settings.provider

    @contextmanager
    def _provider(self, cell: Cell) -> Iterator[Provider]:
        """The run's own, or for the floor of a driver on this machine one that lives as long as the cell."""
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

    def _load(
        self, provider: Provider | None, cell: Cell, folder: CellDir, deployment: Deployment, title: str, before_s: float
    ) -> tuple[DriverRecord, dict[str, ClockOffset]]:
        """The clocks are the driver's and the provider's, against this machine's."""

        def show(driven: Driven) -> None:
            self.progress.phase(title + _words(driven, cell))
            self.progress.reach(before_s + cell.expected_s * _share(driven, cell))

        log, job = folder.logs / "driver.log", self._job(cell, folder, deployment)
        before = _trips(provider)
        with _sampled(provider, folder) if provider else nullcontext(), self._broken(provider, cell, folder, deployment) as on_begin:
            if cell.driver == "inside":
                driven = drive_inside(self._place(cell, deployment), job, show, log=log, on_begin=on_begin, drivers=cell.drivers)
            else:
                driven = drive(job, show, log=log, on_begin=on_begin, record=self._tag(), drivers=cell.drivers)
        after = _trips(provider)  # a clock that came or went meanwhile was read at one end
        ends = {name: (before.get(name) or after[name], after.get(name) or before[name]) for name in {**before, **after}}
        return driven, {**driven.clocks, **{name: clocks.offset(*both) for name, both in ends.items()}}

    @contextmanager
    def _broken(self, provider: Provider | None, cell: Cell, folder: CellDir, deployment: Deployment) -> Iterator[Callable[[float], None]]:
        """With the cell's faults while the body runs. Gives what wants to be told when the windows begin."""
        if provider is None or not cell.faults:
            yield lambda _: None
            return
        breaking = Breaking(provider=provider, deployment=deployment.id, folder=folder, record=self._tag(), system_cpus=self.system_cpus)
        with timed(cell.faults, cell.windows_s, breaking) as on_begin:
            yield on_begin

    def _job(self, cell: Cell, folder: CellDir, deployment: Deployment) -> DriveJob:
        inside = cell.driver == "inside"
        url, control_url = deployment.url, deployment.control_url
        return DriveJob(
            url=deployment.inside_url or url if inside else url,
            workload=cell.workload,
            load=cell.load,
            seed=cell.seed,
            stream=str(folder.stream),
            cpus=self.driver_cpus,
            control_url=(deployment.inside_control_url or control_url if inside else control_url) or None,
            fill={s.name: s.max_instances for s in cell.topology.services if s.scaling == "to_zero"} if cell.topology else {},
        )

    def _place(self, cell: Cell, deployment: Deployment) -> Place:
        if not isinstance(self.provider, JobRunner):
            raise InputError(f"provider {self.provider.name} runs no driver inside", "set `driver` to outside")
        return Place(runner=self.provider, name=f"{deployment.id}-driver", served=cell.topology if self._served(cell) else None)

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
    told = {"code_ref": cell.code_ref} if cell.code_ref else {}
    bare = Topology(architecture=cell.architecture, workload=cell.workload, services=(), routes={}, needs=(), options=told)
    topology = replace(cell.topology, options={**cell.topology.options, **told}) if cell.topology else bare
    rundir.write(folder.topology, rundir.encode(topology))
    folder.events.unlink(missing_ok=True)
    deployment = provider.deploy(topology, name, cell.seed)
    try:
        yield deployment
    finally:
        try:
            rundir.write(folder.logs / "services.log", "\n".join(provider.logs(deployment=name)).encode())
            rundir.append(folder.events, b"".join(msgspec.json.encode(e) + b"\n" for e in provider.events(name)))
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


def _trips(provider: Provider | None) -> dict[str, Trip]:
    """To each clock of the provider's that is not this machine's."""
    return clocks.trips(provider.clocks()) if isinstance(provider, Clocked) else {}


def _done(status: CellStatus, deployment: Deployment, driven: DriverRecord, offsets: dict[str, ClockOffset]) -> CellStatus:
    return replace(
        status,
        status="done",
        origin_s=driven.origin_s,
        ready_s=dict(deployment.ready_s),
        windows=driven.steps(),
        warmup_stable=driven.warmup_stable,
        driver=driven.figures(),
        clocks=offsets,
        probes=driven.probes,
    )


def _words(driven: Driven, cell: Cell) -> str:
    if driven.phase == "window":
        return _window_words(driven, cell.load)
    return {"preload": "first requests", "cold": "cold starts", "warmup": "warming up", "drain": "letting the queue drain"}[driven.phase]


def _window_words(driven: Driven, load: Load) -> str:
    if load.closed:
        fits = f"as many requests as fit into {load.window_s:g} s" if load.ends == "window" else f"{driven.total} requests"
        return f"{fits}, {load.max_in_flight} at once"
    if load.search is not None:
        return f"{driven.rate_per_s:g} requests/s (probe {driven.step + 1} of {load.search.most_probes} at most)"
    return f"{load.rates_per_s[driven.step]:g} requests/s (step {driven.step + 1} of {len(load.rates_per_s)})"


def _share(driven: Driven, cell: Cell) -> float:
    """How much of the cell's planned seconds is behind: windows are its end."""
    load = cell.load
    before_s = cell.expected_s - load.windows_s - load.drain_s
    if driven.phase not in ("window", "drain"):
        return before_s / cell.expected_s * 0.5
    inside = driven.done / driven.total if driven.total else 1.0
    return (before_s + (driven.step + inside) * load.window_s) / cell.expected_s
