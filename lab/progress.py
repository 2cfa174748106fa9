"""Shows work that takes over a second: phase names with ETA on a terminal, plain lines elsewhere, JSON lines for machines, or nothing."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Literal, Protocol, Self

Mode = Literal["auto", "quiet", "json"]


class Progress(Protocol):
    """`total_s`: what the work should take in all; `phase` names what is done now, `reach` says how many of those seconds are behind."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def phase(self, text: str) -> None: ...
    def reach(self, done_s: float) -> None: ...


def progress(mode: Mode, total_s: float) -> Progress:
    if mode == "quiet":
        return _Silent()
    if mode == "json":
        return _Lines(total_s, as_json=True)
    return _Bar(total_s) if sys.stderr.isatty() else _Lines(total_s, as_json=False)


class _Silent:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def phase(self, text: str) -> None:
        return None

    def reach(self, done_s: float) -> None:
        return None


class _Lines(_Silent):
    """One line on stderr per phase, with the minutes that are left."""

    def __init__(self, total_s: float, *, as_json: bool) -> None:
        self._total_s, self._done_s, self._json = total_s, 0.0, as_json
        self._began, self._last = time.monotonic(), ""

    def phase(self, text: str) -> None:
        if text == self._last:
            return
        self._last, left_s = text, max(0.0, self._total_s - self._done_s)
        elapsed_s = time.monotonic() - self._began
        if self._json:
            line = json.dumps({"phase": text, "elapsed_s": round(elapsed_s, 1), "eta_s": round(left_s, 1)})
        else:
            line = f"{elapsed_s:6.1f}s  {text}" + (f"  (about {clock(left_s)} left)" if left_s >= 1 else "")
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def reach(self, done_s: float) -> None:
        self._done_s = done_s


class _Bar(_Silent):
    def __init__(self, total_s: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[left]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._total_s = total_s
        self._task = self._bar.add_task("", total=total_s, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def phase(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def reach(self, done_s: float) -> None:
        self._bar.update(self._task, completed=done_s, left=f"about {clock(max(0.0, self._total_s - done_s))} left")


def clock(seconds: float) -> str:
    """4m 12s, 12 s, 1h 05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}m {whole % 60:02d}s" if whole < 3600 else f"{whole // 3600}h {whole % 3600 // 60:02d}m"
