"""What goes over the wire to the service, and between the driver's process and its parent."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from lab import rundir
from lab.errors import InputError, MachineError
from lab.load import shots, wire
from lab.load.drive import PATIENCE_S, drive, longest_s
from lab.load.job import DriveJob, DriverRecord, Failure, Line, Progress, Window
from lab.load.shots import Flight, Shot
from lab.load.timerfd import TimerFd
from lab.load.watch import Watch
from lab.model import Load, Request
from lab.workloads.noop import Workload

LOAD = Load(rates_per_s=(10.0, 20.0), window_s=3.0, warmup_max_s=4.0, warmup_rate_per_s=10.0, drain_s=2.0, timeout_s=5.0, cold_requests=2)
JOB = DriveJob(url="http://127.0.0.1:1/", workload="noop", load=LOAD, seed=1, stream="samples.arrows")
PLAIN = wire.Address.of("http://127.0.0.1:8080")
WRITE = Workload().payload(1, 0, "classify")


# ---- HTTP ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "authority", "prefix"),
    [
        ("http://example.org", "example.org", ""),
        ("https://example.org:443/api/", "example.org", "/api"),
        ("http://[::1]:8080/a/b", "[::1]:8080", "/a/b"),
        ("https://example.org:80", "example.org:80", ""),
    ],
)
def test_addresses_of_urls(url: str, authority: str, prefix: str) -> None:
    address = wire.Address.of(url)
    assert (address.authority, address.prefix) == (authority, prefix)


@pytest.mark.parametrize("url", ["", "example.org", "ftp://example.org", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="url: found"):
        wire.Address.of(url)


def test_heads_carry_the_prefix_the_length_and_the_workloads_own_headers() -> None:
    request = Request(operation="a", method="POST", path="/x?y=1", body=b"12345", headers={"Host": "other", "X-Key": "k"})
    lines = wire.head(request, wire.Address.of("http://h:81/api")).split(b"\r\n")
    assert lines[0] == b"POST /api/x?y=1 HTTP/1.1"
    assert set(lines[1:-2]) == {b"host: other", b"user-agent: ai-cloud-lab", b"accept: */*", b"content-length: 5", b"x-key: k"}
    assert lines[-2:] == [b"", b""]
    assert b"content-length" not in wire.head(Request(operation="a", method="GET", path="/"), PLAIN)


@pytest.mark.parametrize(
    ("path", "headers"), [("/a b", {}), ("/a\r\nx: y", {}), ("a", {}), ("/", {"x": "1\r\ny: 2"}), ("/\u4e2d", {}), ("/", {"x\n": "1"})]
)
def test_what_would_break_the_message_is_refused(path: str, headers: dict[str, str]) -> None:
    with pytest.raises(InputError, match="request op"):
        wire.head(Request(operation="op", method="GET", path=path, headers=headers), PLAIN)


@pytest.mark.parametrize(
    ("header", "cold"),
    [
        ("", False),
        ("cold;dur=12", True),
        ("cold", True),
        ("a;dur=1, cold;dur=3", True),
        ('fn;dur=812.000;desc="cold@activator+1.00"', True),
        ('cold_store;dur=1;desc="stage@x+0"', False),
        ('infer;dur=1;desc="stage@cold+0"', False),
    ],
)
def test_cold_answers_are_known_by_their_timing(header: str, cold: bool) -> None:
    assert wire.cold(header) is cold


# ---- samples -------------------------------------------------------------------------------------------------------------


def answered(body: bytes, status: int = 200) -> wire.Answered:
    return wire.Answered(status=status, headers={"server-timing": "cold"}, body=body, first_byte_s=101.2, done_s=101.5, bytes_received=70)


def test_a_right_answer_becomes_a_sample_on_the_drivers_clock() -> None:
    shot = Shot("window", WRITE, wire.head(WRITE, PLAIN), 1.0, 0, 2)
    made = shots.sample(shot, Flight(7, 101.0, 101.1, answered(WRITE.body)), Workload(), origin_s=100.0)
    assert (made.intended_s, made.sent_s, made.first_byte_s, made.done_s) == pytest.approx((1.0, 1.1, 1.2, 1.5))
    assert (made.sequence, made.step, made.ok, made.correct, made.cold, made.error) == (7, 2, True, True, True, None)
    assert (made.bytes_sent, made.bytes_received) == (len(shot.head) + len(WRITE.body), 70)


def test_wrong_answers_errors_and_answers_that_cannot_be_read_are_told_apart() -> None:
    shot = Shot("window", WRITE, b"")
    wrong = shots.sample(shot, Flight(0, 1.0, 1.0, answered(b"other")), Workload(), 0.0)
    assert (wrong.ok, wrong.correct) == (True, False)
    error = shots.sample(shot, Flight(0, 1.0, 1.0, answered(WRITE.body, 503)), Workload(), 0.0)
    assert (error.ok, error.correct, error.error, error.done_s) == (False, None, "HTTP 503", 101.5)

    class Strict(Workload):
        def check(self, request: Request, response: object) -> bool:
            return bool(int("no number"))

    assert shots.sample(shot, Flight(0, 1.0, 1.0, answered(b"")), Strict(), 0.0).correct is False


def test_a_dropped_request_was_never_sent() -> None:
    made = shots.sample(Shot("window", WRITE, b"head"), Flight(0, 1.0, error="dropped"), Workload(), 0.0)
    assert (made.sent_s, made.done_s, made.bytes_sent, made.ok, made.error) == (None, None, 0, False, "dropped")


# ---- parent and process --------------------------------------------------------------------------------------------------

RECORD = DriverRecord(
    origin_s=12.5,
    windows=tuple(
        Window(step=k, start_s=3.0 * k, end_s=3.0 * k + 3, steal_share=steal, busy_share=0.2 + k / 10, driver_share=0.1 - k / 20)
        for k, steal in enumerate((0.01, None))
    ),
    warmup_stable=True, warmup_reason="", warmup_s=2.0, lag_p50_ms=0.1, lag_p99_ms=0.4, lag_max_ms=3.0, cpu_s=0.3, wall_s=6.0, sent=90,
    dropped=0, censored=1, max_in_flight=4, payload_s=0.1,
)  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        Line(progress=Progress(phase="window", step=1, done=3, total=9, achieved_per_s=4.5)),
        Line(record=RECORD),
        Line(failure=Failure(kind="machine", what="a", hint="b")),
    ],
)
def test_lines_come_out_as_they_went_in(line: Line) -> None:
    assert rundir.decode(rundir.encode(line), Line, "test") == line


def test_a_job_comes_out_as_it_went_in() -> None:
    job = dataclasses.replace(JOB, cpus=(1, 2), control_url="http://127.0.0.1:2", fill={"infer": 2})
    assert rundir.decode(rundir.encode(job), DriveJob, "test") == job


def test_a_record_gives_what_the_cells_status_holds() -> None:
    assert RECORD.steps() == ((0, 0.0, 3.0), (1, 3.0, 6.0))
    figures = RECORD.figures()
    assert (figures["cpu_share"], figures["busy_share"], figures["steal_share"], figures["lag_p99_ms"]) == pytest.approx(
        (0.1, 0.3, 0.01, 0.4)
    )
    assert all(isinstance(value, float) for value in figures.values()) and "origin_s" not in figures
    assert [figures[f"busy_share_{k}"] for k in (0, 1)] == pytest.approx([0.2, 0.3])
    assert [figures[f"driver_share_{k}"] for k in (0, 1)] == pytest.approx([0.1, 0.05])
    assert figures["steal_share_0"] == 0.01 and "steal_share_1" not in figures and figures["host_cpus"] == 1


def test_the_deadline_leaves_room_for_every_phase() -> None:
    assert longest_s(JOB) == PATIENCE_S + 4 + 6 + 2
    assert longest_s(dataclasses.replace(JOB, control_url="http://127.0.0.1:2")) > longest_s(JOB) + 2 * LOAD.timeout_s


def test_a_driver_that_cannot_start_is_this_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "absent"))
    with pytest.raises(MachineError, match="cannot start driver"):
        drive(JOB, log=tmp_path / "driver.log")


def test_a_driver_that_dies_shows_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho it hurts here >&2\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(broken))
    with pytest.raises(MachineError, match=r"(?s)exit code 7.*it hurts here"):
        drive(JOB, log=tmp_path / "driver.log")


# ---- clocks --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not TimerFd.available, reason="timerfd is Linux's")
def test_the_timer_fires_at_its_moment_and_at_once_for_a_past_one() -> None:
    import select

    timer = TimerFd()
    for ahead_s in (0.02, -1.0):
        at = time.monotonic() + ahead_s
        timer.arm(at)
        assert select.select([timer.fd], [], [], 5.0)[0]
        timer.clear()
        assert time.monotonic() >= at
        assert not select.select([timer.fd], [], [], 0)[0]
    timer.close()


def test_a_watch_sees_this_process_work() -> None:
    watch = Watch()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    window = watch.window(0, 0.0, 0.1)
    assert window.driver_share > 0 and 0 <= window.busy_share <= 1 and window.parent_share >= 0
    assert window.busy_share * window.host_cpus > 0.5 * window.driver_share  # it is part of what was busy
    assert watch.cpu_s >= 0.1
    assert window.steal_share is None or 0 <= window.steal_share <= 1
