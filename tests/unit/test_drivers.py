"""Several drivers on one schedule: what each sends, when all begin, and what is made of their records and clocks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import InputError, MachineError
from lab.load import clocks, merge, record, schedule
from lab.load.clocks import Trip
from lab.load.conduct import conduct
from lab.load.job import DriverRecord, Failure, Line, Progress
from lab.model import ClockOffset, Sample
from lab.runtime.clock import ClockReading
from tests.unit.test_drive import RECORD
from tests.unit.test_schedule import LADDER, OPERATIONS

HERE = "this kernel"

# ---- the schedule --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 7), st.integers(0, 2**32), st.sampled_from(["poisson", "constant"]))
def test_shares_are_together_the_whole_schedule(of: int, seed: int, arrival: str) -> None:
    load = replace(LADDER, arrival=arrival)
    whole = schedule.windows(load, OPERATIONS, seed)
    shares = [whole.share(index, of) for index in range(of)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    order = np.argsort(np.concatenate([s.place for s in shares]))
    for column in ("offset_s", "operation", "payload", "step", "place"):
        together = np.concatenate([getattr(s, column) for s in shares])[order]
        assert together.tolist() == getattr(whole, column).tolist()


# ---- clocks --------------------------------------------------------------------------------------------------------------


def trip(sent_s: float, read_s: float, received_s: float, boot_id: str = "another") -> Trip:
    return Trip(sent_s=sent_s, read=ClockReading(monotonic_s=read_s, boot_id=boot_id), received_s=received_s)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1.0), st.floats(0.0, 1.0))
def test_the_true_offset_lies_within_the_error_however_the_way_is_shared(true_s: float, took_s: float, share: float) -> None:
    """The other clock shows t - true_s at the moment t; the request needs `share` of the round trip."""
    found = clocks.offset(trip(50.0, 50.0 + share * took_s - true_s, 50.0 + took_s), boot_id=HERE)
    assert abs(found.offset_s - true_s) <= found.error_s + 1e-9


def test_drift_between_both_ends_is_part_of_the_error() -> None:
    found = clocks.offset(trip(10.0, 110.0, 10.02), trip(60.0, 160.03, 60.02), boot_id=HERE)
    assert (found.offset_s, found.error_s) == pytest.approx((-100.005, 0.04))


def test_a_clock_of_the_same_kernel_is_the_same_clock() -> None:
    assert clocks.offset(trip(10.0, 10.001, 10.02, HERE), boot_id=HERE) == ClockOffset(offset_s=0.0, error_s=0.0)


@pytest.mark.parametrize("boot_id", ["", HERE])
def test_unless_its_reading_says_otherwise_or_no_kernel_is_named(boot_id: str) -> None:
    assert clocks.offset(trip(10.0, 90.0, 10.02, boot_id), boot_id=boot_id).offset_s == pytest.approx(-79.99)


def test_the_round_trip_that_leaves_least_doubt_counts() -> None:
    moments = iter([0.0, 1.0, 2.0, 2.1, 3.0, 3.5])
    best = clocks.shortest(lambda: ClockReading(monotonic_s=7.0, boot_id=""), trips=3, now=lambda: next(moments))
    assert (best.sent_s, best.received_s) == (2.0, 2.1)


# ---- conducting ----------------------------------------------------------------------------------------------------------


class Scripted:
    """Says one batch of lines after the other; its clock is `ahead_s` ahead."""

    def __init__(self, *batches: Sequence[Line], ahead_s: float = 0.0) -> None:
        self._batches, self._ahead_s = list(batches), ahead_s
        self.began_s: float | None = None

    def poll(self, patience_s: float) -> Sequence[Line]:
        return self._batches.pop(0) if self._batches else ()

    def begin(self, at_s: float) -> None:
        self.began_s = at_s

    def read_clock(self) -> ClockReading:
        return ClockReading(monotonic_s=time.monotonic() + self._ahead_s, boot_id="another" if self._ahead_s else "")

    def last_words(self) -> str:
        return "it hurts"

    def end(self) -> None:
        return


def window(done: int, step: int = 0) -> Line:
    return Line(progress=Progress(phase="window", step=step, done=done, total=10, achieved_per_s=float(done)))


def test_all_begin_at_one_moment_each_on_its_own_clock_once_the_last_is_ready() -> None:
    late = Scripted([], [], [Line(ready=True)], [Line(record=RECORD)], ahead_s=500.0)
    early = Scripted([Line(ready=True)], [], [], [], [Line(record=RECORD)])
    records, offsets = conduct([early, late], lambda _: None, time.monotonic() + 10)
    assert early.began_s is not None and late.began_s is not None
    assert late.began_s - early.began_s == pytest.approx(500.0, abs=1e-3)
    assert len(records) == 2 and offsets[1].offset_s == pytest.approx(-500.0, abs=1e-3)


def test_one_driver_is_not_told_to_begin() -> None:
    alone = Scripted([Line(record=RECORD)])
    assert conduct([alone], lambda _: None, time.monotonic() + 10)[0] == (RECORD,) and alone.began_s is None


def test_progress_is_that_of_all_in_the_first_ones_step() -> None:
    seen: list[Progress] = []
    first, second = Scripted([], [window(3)], [Line(record=RECORD)]), Scripted([window(2)], [window(9, step=1)], [Line(record=RECORD)])
    conduct([first, second], seen.append, time.monotonic() + 10)
    assert [(p.done, p.total, p.achieved_per_s) for p in seen] == [(5, 20, 5.0)]


@pytest.mark.parametrize(("kind", "raised"), [("input", InputError), ("machine", MachineError)])
def test_what_goes_wrong_in_one_is_raised_here(kind: str, raised: type[Exception]) -> None:
    with pytest.raises(raised, match="no such host"):
        broken = Scripted([Line(failure=Failure(kind=kind, what="no such host", hint=""))])
        conduct([Scripted(), broken], lambda _: None, time.monotonic() + 10)


def test_drivers_that_say_nothing_end_at_the_deadline_with_their_last_words() -> None:
    with pytest.raises(MachineError, match="did not end in time: it hurts"):
        conduct([Scripted()], lambda _: None, time.monotonic() + 0.05)


# ---- merging -------------------------------------------------------------------------------------------------------------


def sample(sequence: int, intended_s: float, lag_s: float = 0.001) -> Sample:
    return Sample(
        sequence=sequence, operation="a", phase="window" if sequence > 9 else "warmup", step=0, intended_s=intended_s,
        sent_s=intended_s + lag_s, first_byte_s=None, done_s=intended_s + 0.5, status=200, ok=True, correct=True, cold=False, error=None,
        bytes_sent=1, bytes_received=1, server_timing="",
    )  # fmt: skip


def part(path: Path, origin_s: float, *samples: Sample) -> Path:
    recorder = record.Recorder(path, origin_s)
    for each in samples:
        recorder.add(each)
    recorder.close()
    return path


def merged(folder: Path) -> tuple[DriverRecord, record.Recovered]:
    """The second driver's clock reads 1000 more than ours; its own 0 is 2 s after the first one's."""
    first = part(folder / "samples.arrows", 50.0, sample(0, 1.0), sample(100, 4.0), sample(102, 4.2))
    second = part(folder / "samples-1.arrows", 1052.0, sample(101, 2.1, lag_s=0.03), sample(103, 2.3))
    worse = replace(RECORD.windows[0], driver_share=0.4, busy_share=0.1, steal_share=0.2)
    there = replace(RECORD, origin_s=1052.0, sent=7, max_in_flight=5, dropped=1, windows=(worse, RECORD.windows[1]), warmup_stable=None)
    told = [replace(RECORD, origin_s=50.0), there]
    offsets = [ClockOffset(offset_s=0.0, error_s=0.0), ClockOffset(offset_s=-1000.0, error_s=0.01)]
    made = merge.merge(told, offsets, [first, second], first)
    return made, record.read(first)


def test_samples_of_all_are_one_stream_on_one_clock_in_the_order_of_the_schedule(tmp_path: Path) -> None:
    made, recovered = merged(tmp_path)
    table = recovered.table
    assert recovered.lost_bytes == 0 and recovered.origin_s == made.origin_s == 50.0
    assert table["sequence"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["intended_s"].to_pylist() == pytest.approx([1.0, 4.0, 4.1, 4.2, 4.3])
    assert table["done_s"].to_pylist() == pytest.approx([1.5, 4.5, 4.6, 4.7, 4.8])
    assert table["first_byte_s"].null_count == 5
    assert not (tmp_path / "samples-1.arrows").exists()


def test_records_are_summed_or_tell_the_worst(tmp_path: Path) -> None:
    made, _ = merged(tmp_path)
    assert (made.sent, made.dropped, made.censored, made.max_in_flight, made.drivers) == (97, 1, 2, 9, 2)
    assert made.warmup_stable is True  # the first one's, which alone sends the warm-up
    assert made.lag_max_ms == pytest.approx(30.0) and 1.0 < made.lag_p99_ms <= 30.0
    figures = made.figures()
    assert (figures["cpu_share"], figures["driver_share_0"], figures["steal_share"]) == pytest.approx((0.4, 0.5, 0.2))
    assert made.clocks["driver-1"].error_s == 0.01 and figures["drivers"] == 2.0


def test_a_table_becomes_the_stream_that_a_recorder_writes(tmp_path: Path) -> None:
    written = record.read(part(tmp_path / "a", 3.0, sample(0, 1.0)))
    record.save(written.table.replace_schema_metadata(None), 3.0, tmp_path / "b")
    saved = record.read(tmp_path / "b")
    assert saved.table.equals(written.table) and (saved.origin_s, saved.lost_bytes) == (3.0, 0)


def test_no_request_at_all_can_be_merged(tmp_path: Path) -> None:
    parts = [part(tmp_path / name, 1.0) for name in ("a", "b")]
    same = ClockOffset(offset_s=0.0, error_s=0.0)
    assert merge.merge([RECORD, RECORD], [same, same], parts, parts[0]).lag_p99_ms == 0.0


def test_when_the_windows_begin_is_told_on_this_machines_clock() -> None:
    told: list[float] = []
    here_s = time.monotonic() + 5
    far = Scripted([Line(begins_s=here_s + 500.0)], [Line(record=RECORD)], ahead_s=500.0)
    conduct([far], lambda _: None, time.monotonic() + 10, told.append)
    assert told == [pytest.approx(here_s, abs=1e-3)]
