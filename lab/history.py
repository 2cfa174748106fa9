"""The figures of every run, kept as rows: a finished run in, one Parquet file below `$LAB_HOME/history` out; and all rows back again."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from lab import rundir
from lab.analysis import trend
from lab.analysis.results import Summary
from lab.analysis.trend import FIELDS, Row
from lab.errors import InputError, LabError
from lab.model import Environment, Plan
from lab.rundir import RunDir
from lab.settings import Settings

SCHEMA_VERSION = 1
_NUMBERS = {"value": pa.float64(), "low": pa.float64(), "high": pa.float64(), "n": pa.int64()}
SCHEMA = pa.schema([(name, _NUMBERS.get(name, pa.string())) for name in FIELDS], metadata={"schema_version": str(SCHEMA_VERSION)})


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    kept: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    """Run and reason."""


def folder(settings: Settings) -> Path:
    return Path(settings.home).expanduser() / "history"


def keep(run: RunDir, settings: Settings) -> Path:
    """Takes summary.json as it stands. A run that was analyzed again replaces its rows."""
    plan, about = run.read(run.plan, Plan), run.read(run.environment, Environment)
    made = trend.rows(run.read(run.summary, Summary), plan, about)
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(zip(FIELDS, astuple(row), strict=True)) for row in made], schema=SCHEMA), file)
    path = folder(settings) / f"{run.root.resolve().name}.parquet"
    rundir.write(path, file.getvalue())
    return path


def rebuild(settings: Settings) -> Rebuilt:
    """From the run directories below the setting `runs`; rows of runs that lie elsewhere stay as they are."""
    kept, left_out = [], []
    for path in sorted(Path(settings.runs).glob("*/plan.json")):
        try:
            keep(RunDir(path.parent), settings)
            kept.append(path.parent.name)
        except LabError as error:
            left_out.append((path.parent.name, error.what))
    return Rebuilt(kept=tuple(kept), left_out=tuple(left_out))


def rows(settings: Settings, scenario: str | None = None, metric: str | None = None) -> tuple[Row, ...]:
    """In order of time. Raises InputError where there are none, or none of that scenario and metric."""
    found = [row for path in sorted(folder(settings).glob("*.parquet")) for row in _read(path)]
    if not found:
        raise InputError(
            f"there is no history in {folder(settings)}", "`lab run` keeps each run's figures; `lab history --rebuild` reads old runs"
        )
    if scenario is not None and scenario not in (known := {r.scenario for r in found}):
        raise InputError(f"no run of {scenario!r} is in the history", f"there are {', '.join(sorted(known))}")
    if metric is not None and metric not in (names := {r.metric for r in found if scenario in (None, r.scenario)}):
        raise InputError(f"no run has {metric!r}", f"there are {', '.join(sorted(names))}")
    kept = [r for r in found if scenario in (None, r.scenario) and metric in (None, r.metric)]
    return tuple(sorted(kept, key=lambda r: (r.started_at, r.run, r.group, r.metric)))


def _read(path: Path) -> Iterator[Row]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}", "delete it; `lab history --rebuild` writes it again") from error
    version = (table.schema.metadata or {}).get(b"schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION) or table.schema.names != SCHEMA.names:
        raise InputError(
            f"{path}: found schema_version {version}, wanted {SCHEMA_VERSION}", "delete it; `lab history --rebuild` writes it again"
        )
    return (Row(**values) for values in table.to_pylist())


def csv(found: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv_format.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows(astuple(row) for row in found)
    return text.getvalue()


def as_json(found: Sequence[Row]) -> str:
    return msgspec.json.format(msgspec.json.encode(list(found)), indent=1).decode() + "\n"
