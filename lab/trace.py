"""Reads a recorded trace, a CSV file of timestamps in seconds, to the arrivals that a replay sends."""

from __future__ import annotations

import csv
import hashlib
import math
from pathlib import Path

from lab.errors import InputError
from lab.model import Trace

MOST_ARRIVALS = 10_000  # they all stand in plan.json, once for each cell
LONGEST_S = 3600.0
COLUMN = "timestamp_s"
SHOWN = 5


def read(path: Path, speed: float = 1.0) -> Trace:
    """The column `timestamp_s`, or the first where the file has no heading; others are left alone. Gaps are divided by `speed`. Raises
    InputError whose `problems` name file and line."""
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"trace {path} cannot be read: {why}", "wanted a CSV file; its path counts from the scenario") from error
    times_s, problems = _column(lines, str(path))
    problems = problems or _together(times_s, speed, str(path))
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise InputError(f"trace {path} cannot be replayed", "mend these lines", [*problems[:SHOWN], *more])
    offsets_s = tuple(round((t - times_s[0]) / speed, 6) for t in times_s)
    return Trace(file=path.name, sha256=hashlib.sha256(data).hexdigest(), offsets_s=offsets_s, speed=speed)


def _column(lines: list[str], where: str) -> tuple[list[float], list[str]]:
    """The numbers, and what is wrong with single lines."""
    times_s: list[float] = []
    problems, column, last_line = [], 0, 0
    for line, row in enumerate(csv.reader(lines), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if line == 1 and COLUMN in cells:
            column = cells.index(COLUMN)
            continue
        found = cells[column] if column < len(cells) else ""
        value = _number(found)
        if value is None:
            problems.append(f"{where}:{line}: found {found!r}, wanted seconds as a number")
            continue
        if times_s and value < times_s[-1]:
            problems.append(f"{where}:{line}: found {value:g}, wanted {times_s[-1]:g} (of line {last_line}) or later: timestamps must rise")
        times_s.append(value)
        last_line = line
    return times_s, problems


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _together(times_s: list[float], speed: float, where: str) -> list[str]:
    if len(times_s) < 2 or times_s[0] == times_s[-1]:
        return [f"{where}:1: found {len(times_s)} timestamps over 0 s, wanted at least two at different times"]
    if len(times_s) > MOST_ARRIVALS:
        return [f"{where}:1: found {len(times_s)} timestamps, wanted {MOST_ARRIVALS} at most: the plan holds them all; cut a part out"]
    if (span_s := (times_s[-1] - times_s[0]) / speed) > LONGEST_S:
        return [f"{where}:1: found {span_s:g} s at speed {speed:g}, wanted {LONGEST_S:g} s at most; cut a part out, or raise `speed`"]
    return []
