"""Samples as they come go into an Arrow IPC stream that reads after kill -9; the stream becomes Parquet when the cell has ended."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lab import rundir
from lab.errors import InputError
from lab.model import Sample

SCHEMA_VERSION = 1
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # what a killed writer cannot write; readers do not need it
_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string(), "Phase": pa.string()}


def _column(name: str, annotation: str) -> pa.Field:
    unit = {"_s": b"s"}.get(name[-2:]) or (b"B" if name.startswith("bytes_") else None)
    kind = annotation.removesuffix(" | None")
    return pa.field(name, _TYPES[kind], nullable=kind != annotation, metadata={b"unit": unit} if unit else None)


_COLUMNS = [_column(f.name, str(f.type)) for f in fields(Sample)]
_values = attrgetter(*(f.name for f in fields(Sample)))


def schema(origin_s: float = 0.0) -> pa.Schema:
    """The fields of lab.model.Sample with their units; `origin_s` is time.monotonic when the driver's clock read 0."""
    metadata = {"schema_version": str(SCHEMA_VERSION), "clock": "time.monotonic - origin_s", "origin_s": repr(origin_s)}
    return pa.schema(_COLUMNS, metadata=metadata)


class Recorder:
    """Appends to `path`, which begins anew. What was flushed is in the file as whole messages, so a kill loses no more than the rest.

    Raises MachineError when the disk is full; what was flushed before stays readable."""

    def __init__(self, path: Path, origin_s: float) -> None:
        self.path = path
        self._schema = schema(origin_s)
        self._waiting: list[Sample] = []
        path.unlink(missing_ok=True)
        rundir.append(path, self._schema.serialize().to_pybytes())
        self._encode([])  # pyarrow imports pandas with its first array, which must not happen under load

    def add(self, sample: Sample) -> None:
        self._waiting.append(sample)

    def take(self) -> list[Sample]:
        """What was added since; it is the caller's to `write`, in another thread if it likes."""
        taken, self._waiting = self._waiting, []
        return taken

    def write(self, samples: list[Sample]) -> None:
        if samples:
            rundir.append(self.path, self._encode(samples))

    def _encode(self, samples: list[Sample]) -> bytes:
        columns = zip(*map(_values, samples), strict=True) if samples else [()] * len(_COLUMNS)
        arrays = [pa.array(values, type=column.type) for values, column in zip(columns, _COLUMNS, strict=True)]
        encoded: bytes = pa.record_batch(arrays, schema=self._schema).serialize().to_pybytes()
        return encoded

    def flush(self) -> None:
        self.write(self.take())

    def close(self) -> None:
        self.flush()
        rundir.append(self.path, END_OF_STREAM)


@dataclass(frozen=True)
class Recovered:
    """`lost_bytes` at the end of the file belong to a message that was cut off; 0 also after a kill between two flushes."""

    table: pa.Table
    lost_bytes: int

    @property
    def origin_s(self) -> float:
        return float(self.table.schema.metadata[b"origin_s"])


def read(path: Path) -> Recovered:
    """Every whole message of a stream, however it ended. Raises InputError for a file that is not there or is no stream of ours."""
    if not path.is_file():
        raise InputError(f"there are no samples at {path}", "the cell was not measured: `lab run --resume RUN` goes on")
    data = path.read_bytes()
    source = pa.BufferReader(data)
    try:
        found = pa.ipc.read_schema(source)
    except (pa.ArrowInvalid, OSError, EOFError):
        if not schema().serialize().to_pybytes()[:8].startswith(data[:4]):
            raise InputError(f"{path} is no stream of samples: it begins with {data[:8]!r}", "measure the cell again") from None
        return Recovered(schema().empty_table(), len(data))
    version = (found.metadata or {}).get(b"schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise InputError(
            f"{path} has schema_version {version}, wanted {SCHEMA_VERSION}", "read it with the version of the lab that wrote it"
        )
    batches, good = [], source.tell()
    while True:
        try:
            batches.append(pa.ipc.read_record_batch(pa.ipc.read_message(source), found))
        except (pa.ArrowInvalid, OSError, EOFError):
            break
        good = source.tell()
    rest = data[good:]
    return Recovered(pa.Table.from_batches(batches, found), 0 if rest == END_OF_STREAM else len(rest))


def save(table: pa.Table, origin_s: float, path: Path) -> None:
    """A whole stream by atomic rename, as a Recorder leaves it."""
    whole = table.cast(schema(origin_s))
    written = [b.serialize().to_pybytes() for b in whole.combine_chunks().to_batches()]
    rundir.write(path, b"".join((whole.schema.serialize().to_pybytes(), *written, END_OF_STREAM)))


def to_parquet(stream: Path, parquet: Path) -> int:
    """The stream becomes a Parquet file by atomic rename and is removed; returns the bytes lost at its end. Raises as `read` does."""
    recovered = read(stream)
    sink = pa.BufferOutputStream()
    pq.write_table(recovered.table, sink, compression="zstd")
    rundir.write(parquet, sink.getvalue().to_pybytes())
    stream.unlink()
    return recovered.lost_bytes
