"""From what several drivers recorded on one schedule to one record and one stream of samples, on this machine's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lab.load import record
from lab.load.job import DriverRecord, Window
from lab.model import ClockOffset

TIMES = ("intended_s", "sent_s", "first_byte_s", "done_s")


def merge(records: Sequence[DriverRecord], offsets: Sequence[ClockOffset], parts: Sequence[Path], stream: Path) -> DriverRecord:
    """`parts`: the drivers' streams, which become `stream`. Its clock reads 0 when the first driver's did: `origin_s`, here a moment of
    this machine's clock. Shares are summed, or the worst driver's (lab.load.job.Window); lag is over all requests of all windows."""
    origins = [r.origin_s + o.offset_s for r, o in zip(records, offsets, strict=True)]
    samples = _samples(parts, [origin - origins[0] for origin in origins])
    record.save(samples, origins[0], stream)
    for part in parts:
        if part != stream:
            part.unlink()
    first = records[0]
    lag_ms = _lag_ms(samples)
    p50, p99 = np.percentile(lag_ms, [50, 99])
    return replace(
        first,
        origin_s=origins[0],
        windows=tuple(_window(same) for same in zip(*(r.windows for r in records), strict=True)),
        lag_p50_ms=float(p50),
        lag_p99_ms=float(p99),
        lag_max_ms=float(lag_ms.max()),
        cpu_s=sum(r.cpu_s for r in records),
        sent=sum(r.sent for r in records),
        dropped=sum(r.dropped for r in records),
        censored=sum(r.censored for r in records),
        max_in_flight=sum(r.max_in_flight for r in records),
        payload_s=max(r.payload_s for r in records),
        drivers=len(records),
        clocks={f"driver-{k}": o for k, o in enumerate(offsets)},
    )


def _window(same: Sequence[Window]) -> Window:
    stolen = [w.steal_share for w in same if w.steal_share is not None]
    return replace(
        same[0],
        steal_share=max(stolen) if stolen else None,
        busy_share=max(w.busy_share for w in same),
        driver_share=sum(w.driver_share for w in same),
        parent_share=max(w.parent_share for w in same),
        host_cpus=max(w.host_cpus for w in same),
        worst_share=max(w.driver_share for w in same),
    )


def _samples(parts: Sequence[Path], shifts_s: Sequence[float]) -> pa.Table:
    """In the order of the schedule, numbered anew without the gap that drivers leave between what comes before the windows and them."""
    tables = [_shifted(record.read(part).table, shift) for part, shift in zip(parts, shifts_s, strict=True)]
    whole = pa.concat_tables([t.replace_schema_metadata(None) for t in tables]).sort_by("sequence")
    place = whole.schema.get_field_index("sequence")
    return whole.set_column(place, whole.schema.field(place), pa.array(np.arange(len(whole))))


def _shifted(table: pa.Table, shift_s: float) -> pa.Table:
    for name in TIMES if shift_s else ():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pc.add(table[name], shift_s))
    return table


def _lag_ms(samples: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    windows = samples.filter(pc.equal(samples["phase"], "window"))
    lag_s = pc.drop_null(pc.subtract(windows["sent_s"], windows["intended_s"]))
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = lag_s.to_numpy() * 1e3
    return found if len(found) else np.zeros(1)
