"""From a cell's sample file (Parquet, or the stream that a killed driver left) to columns of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lab.errors import InputError
from lab.rundir import CellDir

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
BATCH_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Columns of equal length, one entry per request; times in s on the driver's clock, nan where the request was never sent or answered.
    `operation` and `phase` are indices into `operations` and `phases`; `correct` is 1, 0, or -1 where nothing was checked."""

    operations: tuple[str, ...]
    phases: tuple[str, ...]
    operation: NDArray[np.int32]
    phase: NDArray[np.int32]
    step: NDArray[np.int64]
    intended_s: Floats
    sent_s: Floats
    done_s: Floats
    ok: Mask
    correct: NDArray[np.int8]
    cold: Mask
    bytes_sent: Floats
    bytes_received: Floats

    def __len__(self) -> int:
        return len(self.intended_s)

    def where(self, chosen: Mask | NDArray[np.int64]) -> Samples:
        """Those of a mask, or at these places."""
        kept: Any = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name not in ("operations", "phases")}
        return replace(self, **kept)

    def during(self, phase: str) -> Mask:
        if phase not in self.phases:
            return np.zeros(len(self), bool)
        mask: Mask = self.phase == self.phases.index(phase)
        return mask

    def of(self, operations: Sequence[str]) -> Mask:
        wanted = np.array([name in operations for name in self.operations], bool)
        return wanted[self.operation]

    @cached_property
    def answered(self) -> Mask:
        mask: Mask = np.isfinite(self.done_s)
        return mask

    @cached_property
    def wrong(self) -> Mask:
        """Answered well-formed, but not the right answer."""
        mask: Mask = self.ok & (self.correct == 0)
        return mask

    def latency_ms(self, timeout_s: float) -> Floats:
        """From the intended start. What failed, was dropped or never came back counts with the time-out, or with more if it took more."""
        return self._since(self.intended_s, timeout_s)

    def service_ms(self, timeout_s: float) -> Floats:
        """From the real send; failures as in `latency_ms`."""
        return self._since(self.sent_s, timeout_s)

    def _since(self, start_s: Floats, timeout_s: float) -> Floats:
        took = (self.done_s - start_s) * 1e3
        return np.where(self.ok & np.isfinite(took), took, np.fmax(took, timeout_s * 1e3))


_REPEATED = ("operation", "phase")
_TEXTS = (*_REPEATED, "server_timing")
_NUMBERS = ("step", "intended_s", "sent_s", "done_s", "ok", "correct", "cold", "bytes_sent", "bytes_received")


def read(cell: CellDir) -> Samples:
    """All requests of the cell; none when no file was written. Raises InputError when the Parquet file is damaged."""
    table = _table(cell, (*_REPEATED, *_NUMBERS))
    operations, operation = _codes(table["operation"])
    phases, phase = _codes(table["phase"])
    return Samples(
        operations=operations,
        phases=phases,
        operation=operation,
        phase=phase,
        step=_numbers(table, "step", -1, np.int64),
        intended_s=_numbers(table, "intended_s", np.nan),
        sent_s=_numbers(table, "sent_s", np.nan),
        done_s=_numbers(table, "done_s", np.nan),
        ok=_numbers(table, "ok", 0, bool),
        correct=_numbers(table, "correct", -1, np.int8),
        cold=_numbers(table, "cold", 0, bool),
        bytes_sent=_numbers(table, "bytes_sent", 0),
        bytes_received=_numbers(table, "bytes_received", 0),
    )


def timing_headers(cell: CellDir, rows: NDArray[np.int64]) -> list[str]:
    """The Server-Timing headers of these rows of `read`, which ascend; never more than one batch of the column is in memory."""
    found: list[str] = []
    first = 0
    for column in _headers(cell):
        begin, end = np.searchsorted(rows, (first, first + len(column)))
        found += [str(header or "") for header in column.take(pa.array(rows[begin:end] - first)).to_pylist()]
        first += len(column)
    return found


def _headers(cell: CellDir) -> Iterator[Any]:
    name = "server_timing"
    if not cell.samples.is_file():
        yield from _stream(cell, (name,))[name].chunks
        return
    with _reading(cell), pq.ParquetFile(cell.samples) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=[name]):
            yield batch[name]


def _table(cell: CellDir, columns: tuple[str, ...]) -> Any:
    if not cell.samples.is_file():
        return _stream(cell, columns)
    with _reading(cell), pq.ParquetFile(cell.samples, read_dictionary=[c for c in columns if c in _REPEATED]) as file:
        return file.read(list(columns))


@contextmanager
def _reading(cell: CellDir) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{cell.samples} cannot be read: {error}", "`lab run --resume RUN` measures this cell again") from error


def _stream(cell: CellDir, columns: tuple[str, ...]) -> Any:
    """The batches that were written whole; a kill may have cut the last one."""
    batches = []
    if cell.stream.is_file():
        # Reading ends with an error where the kill cut the file; all before it is whole.
        with suppress(pa.ArrowInvalid, OSError, EOFError), cell.stream.open("rb") as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                batches.append(batch.select(list(columns)))
    if batches:
        return pa.Table.from_batches(batches)
    return pa.table({name: pa.array([], pa.string() if name in _TEXTS else pa.float64()) for name in columns})


def _codes(column: Any) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    values = column.unify_dictionaries().combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        if values.num_chunks == 0:
            return (), np.empty(0, np.int32)
        values = values.chunk(0)
    return tuple(values.dictionary.to_pylist()), values.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)


def _numbers(table: Any, name: str, missing: float, kind: type = np.float64) -> Any:
    column = table[name]
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(missing).cast(column.type))
    return column.to_numpy().astype(kind, copy=False)
