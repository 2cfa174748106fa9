"""One DriveJob from preload to drain, in an open loop: samples go to the stream, progress and the driver's own record are said.

One dispatcher, exact intended times, one greenlet per arrival on a connection of its own, latency from the intended start. Windows follow
each other without a gap; a request belongs to the step of its intended time.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import gevent
import gevent.pool
import msgspec
import numpy as np
from gevent.event import AsyncResult

from lab import registry
from lab.errors import MachineError
from lab.load import closed, schedule, shots, warmup, wire
from lab.load.job import DriveJob, DriverRecord, Line, Progress, Window
from lab.load.record import Recorder
from lab.load.shots import Flight, Shot
from lab.load.start import LEAD_S, Start
from lab.load.transport import BROKEN, Clock, Connections, order
from lab.load.watch import Watch
from lab.model import Load, Operation, Probe, Request, Sample
from lab.model.measure import Phase

BEAT_S = 1.0  # samples are flushed and progress is told
JUDGE_S = 0.25  # between two looks at the warm-up
WINDOWS_FROM = 10**9  # of several drivers, sequence numbers of the windows: all know them without knowing how long warm-up was
now = time.monotonic


class Session:
    """One DriveJob from preload to drain. Raises LabError; KeyboardInterrupt when it is told to stop: samples so far are kept."""

    def __init__(self, job: DriveJob, say: Callable[[Line], None], fire: Callable[..., None]) -> None:
        self.job, self.load, self.say, self.fire = job, job.load, say, fire
        self.first = job.share[0] == 0
        self.start = Start(say, together=job.share[1] > 1)
        self.origin_s = now()
        self.main = gevent.getcurrent()
        self.workload = registry.workload(job.workload)
        self.connections = Connections(wire.Address.of(job.url), job.load.timeout_s)
        self.clock = Clock()
        self.recorder = Recorder(Path(job.stream), self.origin_s)
        self.flights = gevent.pool.Group()
        self.sequence: Iterator[int] = count()
        self.writing: AsyncResult[None] | None = None
        self.progress: tuple[Phase, int, int, float | None] = ("preload", schedule.NO_STEP, 0, None)
        self.probes: tuple[Probe, ...] = ()
        self.heard: list[Sample] = []
        self.done = self.done_at_beat = self.in_flight = self.most_in_flight = self.dropped = self.censored = 0
        self.lags_s: list[float] = []
        self.warm: list[tuple[float, float, int, bool]] = []

    def run(self) -> DriverRecord:
        self.main = gevent.getcurrent()
        began = now()
        warm = self._loaded("warmup", schedule.warmup) if self.first else []
        measured = [] if self.load.search else self._loaded("window", schedule.windows)
        payload_s = now() - began
        gc.collect()
        gc.freeze()  # a full collection of what Locust has imported stalls for 37 ms
        gc.set_threshold(100_000, 50, 100)
        beat = gevent.spawn(self._beat)
        beat.link_exception(self.abort)
        try:
            if self.first:
                self._fill()  # else the first request waits for one cold start after the other, on a slow machine beyond its time-out
                self._preload()
                self._cold()
                self._fill()
            verdict, warm_s = self._warm_up(warm)
            begin_s = self.start.moment()
            self.say(Line(begins_s=begin_s))
            self.clock.until(begin_s - LEAD_S)
            watch = Watch()
            windows = self._measure(measured, watch, begin_s)
            self._land(self.load.drain_s)
        finally:
            beat.kill()
            self._land(0.0)
            if self.writing is not None:
                self.writing.wait()
            self.recorder.close()
        return self._account(windows, watch, verdict if warm else None, begin_s - warm_s if warm else 0.0, payload_s)

    def _account(
        self, windows: tuple[Window, ...], watch: Watch, verdict: warmup.Verdict | None, warmup_s: float, payload_s: float
    ) -> DriverRecord:
        lags_ms = np.asarray(self.lags_s or [0.0]) * 1e3
        p50, p99 = np.percentile(lags_ms, [50, 99])
        return DriverRecord(
            origin_s=self.origin_s,
            windows=windows,
            warmup_stable=verdict.stable if verdict else None,
            warmup_reason=verdict.reason if verdict else "no warm-up was asked for",
            warmup_s=warmup_s,
            lag_p50_ms=float(p50),
            lag_p99_ms=float(p99),
            lag_max_ms=float(lags_ms.max()),
            cpu_s=watch.cpu_s,
            wall_s=windows[-1].end_s - windows[0].start_s,
            sent=len(self.lags_s),
            dropped=self.dropped,
            censored=self.censored,
            max_in_flight=self.most_in_flight,
            payload_s=payload_s,
            probes=self.probes,
        )

    def _loaded(self, phase: Phase, make: Callable[[Load, Sequence[Operation], int], schedule.Arrivals]) -> list[Shot]:
        """Payloads are made here, before any load."""
        arrivals = make(self.load, self.workload.operations, self.job.seed)
        if phase == "window":
            arrivals = arrivals.share(*self.job.share)
        return shots.load(phase, arrivals, self.workload, self.job.seed, self.connections.address)

    def abort(self, greenlet: gevent.Greenlet) -> None:
        """What goes wrong beside the dispatcher ends the run there."""
        gevent.kill(self.main, greenlet.exception)

    def interrupt(self) -> None:
        gevent.kill(self.main, KeyboardInterrupt())

    def _beat(self) -> None:
        while True:
            phase, step, total, asked = self.progress
            rate = max(0.0, (self.done - self.done_at_beat) / BEAT_S)
            self.done_at_beat = self.done
            told = Progress(phase=phase, step=step, done=self.done, total=total, achieved_per_s=rate, rate_per_s=asked)
            self.say(Line(progress=told))
            gevent.sleep(BEAT_S)
            # In a thread: a disk that others keep busy may take long, and no arrival must wait for it.
            self.writing = gevent.get_hub().threadpool.spawn(self.recorder.write, self.recorder.take())
            self.writing.get()

    # ---- phases --------------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, step: int, total: int, rate_per_s: float | None = None) -> None:
        self.progress = phase, step, total, rate_per_s
        self.done = self.done_at_beat = 0

    def enter_window(self, step: int, total: int, rate_per_s: float | None = None) -> None:
        self._enter("window", step, total, rate_per_s)

    def enter_drain(self) -> None:
        self._enter("drain", self.progress[1], 0)

    def _now(self, phase: Phase, request: Request) -> Sample:
        return self.send(shots.single(phase, request, self.connections.address), next(self.sequence))

    def _preload(self) -> None:
        requests = self.workload.preload(self.job.seed)
        self._enter("preload", schedule.NO_STEP, len(requests))
        for number, request in enumerate(requests, start=1):
            sample = self._now("preload", request)
            if not sample.ok:
                what = f"preload request {number} of {len(requests)} ({request.method} {request.path}) failed: {sample.error}"
                raise MachineError(what, "the logs of the services say why")

    def _cold(self) -> None:
        """Idle to zero, then one request; as often as the ladder says."""
        if self.job.control_url is None:
            return
        first = next((o for o in self.workload.operations if o.headline), self.workload.operations[0])
        self._enter("cold", schedule.NO_STEP, self.load.cold_requests)
        for number in range(self.load.cold_requests):
            order(self.job.control_url, "/-/drain")
            self._now("cold", self.workload.payload(self.job.seed, number, first.name))

    def _fill(self) -> None:
        if self.job.control_url is not None and self.job.fill:
            order(self.job.control_url, "/-/fill", msgspec.json.encode(dict(self.job.fill)))

    def _warm_up(self, shots: Sequence[Shot]) -> tuple[warmup.Verdict, float]:
        """Ends as soon as latencies are stable, at the latest after warmup_max_s; one of several drivers goes on until all are to begin.
        Gives the verdict, and when it began."""
        self._enter("warmup", schedule.NO_STEP, len(shots))
        begin, look = now() + LEAD_S, JUDGE_S
        verdict = None
        for shot in shots:
            if verdict is None and shot.offset_s >= look:
                look = shot.offset_s + JUDGE_S
                verdict = judged if (judged := self._judge(begin)).stable else None
                if verdict is not None and self.start.ready():
                    return verdict, begin
            if self.start.reached(begin + shot.offset_s):
                break
            self.launch(shot, begin, next(self.sequence))
        if verdict is None:
            self.clock.until(begin + self.load.warmup_max_s if shots else 0.0)
            verdict = self._judge(begin)
            self.start.ready()
        return verdict, begin

    def _judge(self, begin_s: float) -> warmup.Verdict:
        done_s, latency_s, operation, ok = zip(*self.warm, strict=True) if self.warm else ((), (), (), ())
        return warmup.judge([at - begin_s for at in done_s], latency_s, operation, ok)

    def _measure(self, measured: Sequence[Shot], watch: Watch, begin_s: float) -> tuple[Window, ...]:
        if self.load.closed:
            return closed.window(self, measured, watch, begin_s, next(self.sequence))
        if self.load.search is None:
            return self._windows(measured, watch, begin_s)
        from lab.load import probing  # statistics, which other kinds need not wait for

        windows, self.probes = probing.windows(self, watch)
        return windows

    def _windows(self, measured: Sequence[Shot], watch: Watch, begin: float) -> tuple[Window, ...]:
        steps = len(self.load.rates_per_s)
        edges = np.searchsorted([s.step for s in measured], np.arange(steps + 1))
        windows = []
        first = WINDOWS_FROM if self.job.share[1] > 1 else next(self.sequence)
        for step in range(steps):
            mine = measured[edges[step] : edges[step + 1]]
            self._enter("window", step, len(mine))
            for shot in mine:
                self.launch(shot, begin, first + shot.place)
            start_s = begin - self.origin_s + step * self.load.window_s
            self.clock.until(begin + (step + 1) * self.load.window_s)
            windows.append(watch.window(step, start_s, start_s + self.load.window_s))
        return tuple(windows)

    def _land(self, patience_s: float) -> None:
        """What is still in flight after that long is cut off; it stays in the samples as failed."""
        self.flights.join(timeout=patience_s)
        self.flights.kill(block=True, timeout=5)

    # ---- requests ------------------------------------------------------------------------------------------------------

    def launch(self, shot: Shot, begin_s: float, number: int) -> None:
        intended_s = begin_s + shot.offset_s
        self.clock.until(intended_s)
        if self.in_flight >= self.job.max_in_flight:
            self.dropped += 1
            self._keep(shot, Flight(number, intended_s, error="dropped"))
            return
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        flight = gevent.Greenlet(self._fly, shot, number, intended_s)
        flight.link_exception(self.abort)
        self.flights.start(flight)

    def send(self, shot: Shot, number: int) -> Sample:
        """Sends it at once and waits for its end."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return self._fly(shot, number, now())

    def _fly(self, shot: Shot, number: int, intended_s: float) -> Sample:
        sent_s = now()
        answered, error = None, None
        try:
            with gevent.Timeout(self.load.timeout_s):
                answered = self.connections.exchange(shot.head, shot.request.body, shot.request.method)
        except gevent.Timeout:
            error = "timeout"
        except gevent.GreenletExit:
            error = "censored"
            self.censored += 1
        except BROKEN as failure:
            error = f"{type(failure).__name__}: {failure}"
        self.in_flight -= 1
        self.done += 1
        sample = self._keep(shot, Flight(number, intended_s, sent_s, answered, error))
        latency_s = (answered.done_s if answered else sent_s + self.load.timeout_s) - intended_s
        if shot.phase == "warmup":
            self.warm.append((intended_s + latency_s, latency_s, shot.operation, sample.ok))
        elif shot.phase == "window":
            self.lags_s.append(sent_s - intended_s)
            self._tell(sample, latency_s)
        return sample

    def _keep(self, shot: Shot, flight: Flight) -> Sample:
        sample = shots.sample(shot, flight, self.workload, self.origin_s)
        self.recorder.add(sample)
        if self.load.search is not None and shot.phase == "window":
            self.heard.append(sample)
        return sample

    def _tell(self, sample: Sample, latency_s: float) -> None:
        """Locust's statistics, and whoever listens to its events, get the latency from the intended start."""
        self.fire(
            request_type="closed-loop" if self.load.closed else "open-loop",
            name=sample.operation,
            response_time=latency_s * 1e3,
            response_length=sample.bytes_received,
            exception=sample.error,
            context={"step": sample.step, "sequence": sample.sequence},
            start_time=time.time() - latency_s,
            url=None,
            response=None,
        )
