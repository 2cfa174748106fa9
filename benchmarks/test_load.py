"""Cost of what the driver does per request besides sending it: schedule, payloads, samples, the stability test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lab.load import record, schedule, shots, warmup, wire
from lab.load.shots import Flight, Shot
from lab.model import Load
from lab.workloads.noop import Workload

NOOP = Workload()
ADDRESS = wire.Address.of("http://127.0.0.1:8080")
LADDER = Load(rates_per_s=(100.0, 200.0, 400.0), window_s=10.0, warmup_max_s=4.0, warmup_rate_per_s=100.0, drain_s=2.0, timeout_s=5.0)


def test_schedule_of_7000_arrivals(benchmark: Any) -> None:
    assert len(benchmark(schedule.ladder, LADDER, NOOP.operations, 1)) > 6000


def test_payloads_of_7000_arrivals(benchmark: Any) -> None:
    arrivals = schedule.windows(LADDER, NOOP.operations, 1)
    assert len(benchmark(shots.load, "window", arrivals, NOOP, 1, ADDRESS)) == len(arrivals)


def _answered(shot: Shot, number: int) -> Flight:
    answered = wire.Answered(
        status=200,
        headers={"server-timing": 'x;dur=1;desc="stage@x+0"'},
        body=shot.request.body,
        first_byte_s=0.1,
        done_s=0.2,
        bytes_received=99,
    )
    return Flight(number, 0.0, 0.01, answered)


def test_samples_of_a_second_at_400(benchmark: Any, tmp_path: Path) -> None:
    request = NOOP.payload(1, 0, "classify")
    shot = Shot("window", request, wire.head(request, ADDRESS))
    recorder = record.Recorder(tmp_path / "samples.arrows", 0.0)

    def second() -> None:
        for number in range(400):
            recorder.add(shots.sample(shot, _answered(shot, number), NOOP, 0.0))
        recorder.flush()

    benchmark(second)
    assert record.read(tmp_path / "samples.arrows").table.num_rows % 400 == 0


def test_one_look_at_a_warm_up(benchmark: Any) -> None:
    random = np.random.default_rng(1)
    done_s = np.sort(random.uniform(0.0, 4.0, 800))
    verdict = benchmark(warmup.judge, done_s, random.lognormal(-4, 0.3, 800), random.integers(0, 2, 800), np.ones(800, dtype=bool))
    assert verdict.reason
