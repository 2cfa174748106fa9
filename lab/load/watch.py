"""Reads CPU time of the host and of this process at the edges of a window; gives the Window with its shares."""

from __future__ import annotations

import time

import psutil

from lab.load.job import Window


class Watch:
    """From one reading to the next. `cpu_s`: this process's CPU time in all windows so far."""

    def __init__(self) -> None:
        self._last = self._read()
        self.cpu_s = 0.0

    @staticmethod
    def _read() -> dict[str, float]:
        host = psutil.cpu_times()._asdict()  # guest time is contained in user time
        return {k: v for k, v in host.items() if not k.startswith("guest")} | {"own": time.process_time(), "wall": time.monotonic()}

    def window(self, step: int, start_s: float, end_s: float) -> Window:
        last, self._last = self._last, self._read()
        spent = {name: max(0.0, value - last[name]) for name, value in self._last.items()}
        own_s, wall_s = spent.pop("own"), max(1e-9, spent.pop("wall"))
        total_s = max(1e-9, sum(spent.values()))
        self.cpu_s += own_s
        return Window(
            step=step,
            start_s=start_s,
            end_s=end_s,
            steal_share=spent["steal"] / total_s if "steal" in spent else None,
            busy_share=1 - (spent["idle"] + spent.get("iowait", 0.0)) / total_s,
            driver_share=own_s / wall_s,
        )
