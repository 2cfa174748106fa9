"""Sojourn times of M/M/1 queues, whose every law is known: what tests of statistics draw their correlated requests from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def sojourns(load: float, requests: int, windows: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """In steady state, of a server that takes 1 on average (Lindley's recursion): [request, *windows]."""
    random = np.random.default_rng(seed)
    waits = np.where(random.random(windows) < load, random.exponential(1 / (1 - load), windows), 0.0)  # the stationary law
    found = np.empty((requests, *windows))
    for i in range(requests):
        found[i] = waits + random.exponential(1.0, windows)
        waits = np.maximum(found[i] - random.exponential(1 / load, windows), 0.0)
    return found


def quantile(load: float, q: float) -> float:
    """Sojourn times are exponential with mean 1 / (1 - load)."""
    return -math.log(1 - q) / (1 - load)
