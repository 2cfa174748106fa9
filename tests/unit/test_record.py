"""The stream of samples: whole after an orderly end, readable to its last whole message however it was cut."""

from __future__ import annotations

import dataclasses
import errno
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab import rundir
from lab.errors import InputError, MachineError
from lab.load import record
from lab.model import Sample
from lab.spawn import capture

ORIGIN_S = 1234.5678901234567


def sample(number: int, **changes: object) -> Sample:
    plain = Sample(
        sequence=number, operation="classify", phase="window", step=0, intended_s=number / 100, sent_s=number / 100 + 1e-4,
        first_byte_s=number / 100 + 0.01, done_s=number / 100 + 0.02, status=200, ok=True, correct=True, cold=False, error=None,
        bytes_sent=900, bytes_received=300, server_timing='x;dur=1.2;desc="stage@model+0"',
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def written(path: Path, batches: int = 3, rows: int = 5) -> list[Sample]:
    recorder = record.Recorder(path, ORIGIN_S)
    made = []
    for batch in range(batches):
        for row in range(rows):
            made.append(sample(batch * rows + row))
            recorder.add(made[-1])
        recorder.flush()
    return made


def samples(table: pa.Table) -> list[Sample]:
    return [Sample(**row) for row in table.to_pylist()]


def test_what_is_written_is_read_with_none_where_none_was(tmp_path: Path) -> None:
    path = tmp_path / "cells" / "samples.arrows"
    recorder = record.Recorder(path, ORIGIN_S)
    dropped = sample(1, sent_s=None, first_byte_s=None, done_s=None, status=0, ok=False, correct=None, error="dropped", bytes_sent=0)
    for one in (sample(0), dropped):
        recorder.add(one)
    recorder.close()
    found = record.read(path)
    assert samples(found.table) == [sample(0), dropped]
    assert (found.lost_bytes, found.origin_s) == (0, ORIGIN_S)
    assert pa.ipc.open_stream(path.read_bytes()).read_all().num_rows == 2  # any reader of Arrow can


def test_the_schema_is_the_sample_with_units() -> None:
    schema = record.schema()
    assert schema.names == [f.name for f in dataclasses.fields(Sample)]
    units = {f.name: f.metadata[b"unit"].decode() for f in schema if f.metadata}
    assert {n for n, u in units.items() if u == "s"} == {n for n in schema.names if n.endswith("_s")}
    assert schema.metadata[b"schema_version"] == b"1"
    assert not schema.field("sequence").nullable and schema.field("done_s").nullable


@given(cut=st.integers(1, 3000))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_off_tail_loses_only_itself(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "samples.arrows"
    ends = []
    recorder = record.Recorder(path, ORIGIN_S)
    for number in range(6):
        recorder.add(sample(number))
        recorder.flush()
        ends.append(path.stat().st_size)
    data = path.read_bytes()[:-cut] or b"\xff"
    path.write_bytes(data)
    found = record.read(path)
    whole = sum(end <= len(data) for end in ends)
    assert samples(found.table) == [sample(n) for n in range(whole)]
    if whole:
        assert found.lost_bytes == len(data) - ends[whole - 1]


def test_an_empty_file_and_a_cut_header_lose_all_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "samples.arrows"
    written(path)
    path.write_bytes(path.read_bytes()[:100])
    found = record.read(path)
    assert (found.table.num_rows, found.lost_bytes) == (0, 100)
    path.write_bytes(b"")
    assert record.read(path).table.num_rows == 0


def test_a_new_recorder_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "samples.arrows"
    written(path)
    made = written(path, batches=1)
    assert samples(record.read(path).table) == made


@pytest.mark.parametrize(
    ("content", "match"), [(None, "no samples at"), (b"PAR1 what is this", "no stream of samples"), ("other version", "schema_version 99")]
)
def test_what_is_not_ours_is_refused(tmp_path: Path, content: bytes | str | None, match: str) -> None:
    path = tmp_path / "samples.arrows"
    if content == "other version":
        content = pa.schema([("a", pa.int64())], metadata={"schema_version": "99"}).serialize().to_pybytes()
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match=match):
        record.read(path)


def test_parquet_takes_the_place_of_the_stream(tmp_path: Path) -> None:
    stream, parquet = tmp_path / "samples.arrows", tmp_path / "samples.parquet"
    made = written(stream)
    stream.write_bytes(stream.read_bytes() + b"\xff\xff\xff\xff\x80")
    assert record.to_parquet(stream, parquet) == 5
    table = pq.read_table(parquet)
    assert samples(table) == made
    assert table.schema.metadata[b"schema_version"] == b"1"
    assert [p.name for p in tmp_path.iterdir()] == ["samples.parquet"]


def test_a_parquet_that_cannot_be_written_leaves_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = tmp_path / "samples.arrows"
    made = written(stream)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rundir.os, "replace", full)
    with pytest.raises(MachineError, match="no space left"):
        record.to_parquet(stream, tmp_path / "samples.parquet")
    assert samples(record.read(stream).table) == made


@pytest.fixture
def file_limit() -> Iterator[int]:
    """No file of this process may grow beyond: what a full disk does, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield 20_000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_and_what_was_there_stays_readable(tmp_path: Path, file_limit: int) -> None:
    path = tmp_path / "samples.arrows"
    recorder = record.Recorder(path, ORIGIN_S)
    kept = 0
    with pytest.raises(MachineError, match=r"samples\.arrows"):
        for number in range(1000):
            recorder.add(sample(number))
            recorder.flush()
            kept += 1
    assert kept > 5
    assert samples(record.read(path).table)[:kept] == [sample(n) for n in range(kept)]


def test_a_flush_imports_nothing(tmp_path: Path) -> None:
    """Pyarrow imports pandas with its first array; half a second of the driver's CPU that must be spent before the load begins."""
    script = (
        "import sys; from pathlib import Path; from lab.load.record import Recorder; from tests.unit.test_record import sample\n"
        f"recorder = Recorder(Path({str(tmp_path / 'samples.arrows')!r}), 0.0); recorder.add(sample(1)); before = set(sys.modules)\n"
        "recorder.flush(); print(sorted(set(sys.modules) - before))\n"
    )
    assert capture([sys.executable, "-c", script], timeout_s=60, cwd=Path(__file__).parents[2]).output.strip() == "[]"
