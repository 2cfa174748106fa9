"""Reads CPU time of the host, of this process and of its parent at the edges of a window; gives the Window with its shares."""

from __future__ import annotations

import os
import time

import psutil

from lab.load.job import Window


class Watch:
    """From one reading to the next. `cpu_s`: this process's CPU time in all windows so far."""

    def __init__(self) -> None:
        self._last = self._read()
        self.cpu_s = 0.0

    def _read(self) -> dict[str, float]:
        host = psutil.cpu_times()._asdict()  # guest time is contained in user time
        used = {"own": time.process_time(), "parent": self._parent_s(), "wall": time.monotonic()}
        return {k: v for k, v in host.items() if not k.startswith("guest")} | used

    @staticmethod
    def _parent_s() -> float:
        """0 where it may not be asked."""
        try:
            times = psutil.Process(os.getppid()).cpu_times()
        except psutil.Error:
            return 0.0
        return times.user + times.system

    def window(self, step: int, start_s: float, end_s: float) -> Window:
        last, self._last = self._last, self._read()
        spent = {name: max(0.0, value - last[name]) for name, value in self._last.items()}
        own_s, parent_s, wall_s = spent.pop("own"), spent.pop("parent"), max(1e-9, spent.pop("wall"))
        total_s = max(1e-9, sum(spent.values()))
        self.cpu_s += own_s
        return Window(
            step=step,
            start_s=start_s,
            end_s=end_s,
            steal_share=spent["steal"] / total_s if "steal" in spent else None,
            busy_share=1 - (spent["idle"] + spent.get("iowait", 0.0)) / total_s,
            driver_share=own_s / wall_s,
            parent_share=parent_s / wall_s,
            host_cpus=psutil.cpu_count() or 1,
        )
