"""From the latencies of a warm-up so far: whether they are stable, or why not yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Method: the diagnostic of Geweke (1992) made robust. The latter half of the warm-up (never the first half: it holds the transient, as in
# MSER, White 1997) is cut into two halves of equally many samples. Stable when
#   1. the shift between them (Hodges-Lehmann, on log latencies) is within TOLERANCE, FLOOR_S, or 2 standard errors of none, and
#   2. there is no trend: Kendall's tau against time is not significant at 1 %, or the Theil-Sen line moves less than TOLERANCE or FLOOR_S.
# Latencies are first divided by their own operation's median, so that a mix of quick reads and slow writes is not noise.
# Noise may not pass for stability: while 2 standard errors exceed a factor of two the answer is "not yet"; the growing span lowers them.
TOLERANCE = float(np.log(1.15))
MOST_NOISE = float(np.log(2.0))
FLOOR_S = 0.0005  # shifts below it are the driver's own noise
LEAST_SPAN_S = 1.0
LEAST_SAMPLES = 12
MOST_SAMPLES = 256  # bounds the pairs of the trend test: 2 ms of the driver's CPU
TREND_Z = 2.58
_SHIFT_ERROR = 1.0233 * 1.4826  # of a Hodges-Lehmann estimate under a normal law x from MAD to standard deviation


@dataclass(frozen=True, slots=True)
class Verdict:
    stable: bool
    reason: str


def judge(done_s: Sequence[float], latency_s: Sequence[float], operation: Sequence[int], ok: Sequence[bool]) -> Verdict:
    """One entry per answered warm-up request, in order of `done_s` (since warm-up began). A failure in the span is never stable."""
    times = np.asarray(done_s, dtype=float)
    if not len(times):
        return Verdict(False, "no answer yet")
    inside = times >= times[-1] / 2
    span_s = float(times[-1]) / 2
    if span_s < LEAST_SPAN_S or inside.sum() < LEAST_SAMPLES:
        return Verdict(False, f"{int(inside.sum())} answers in {span_s:.1f} s, wanted {LEAST_SAMPLES} in {LEAST_SPAN_S:g} s")
    if not np.all(np.asarray(ok)[inside]):
        return Verdict(False, "a request failed")
    latencies = np.asarray(latency_s, dtype=float)[inside]
    level = _levels(latencies, np.asarray(operation)[inside])[-MOST_SAMPLES:]
    if len(level) < LEAST_SAMPLES:
        return Verdict(False, f"{len(level)} answers of operations seen four times, wanted {LEAST_SAMPLES}")
    return _judge(level, max(TOLERANCE, float(np.log1p(FLOOR_S / max(1e-6, np.median(latencies))))))


def _levels(latency_s: NDArray[np.float64], operation: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log latency relative to the operation's median; operations with fewer than 4 answers are left out."""
    level = np.log(np.maximum(latency_s, 1e-6))
    known = np.zeros(len(level), dtype=bool)
    for name in np.unique(operation):
        mine = operation == name
        if mine.sum() >= 4:
            known |= mine
            level[mine] -= np.median(level[mine])
    return level[known]


def _judge(level: NDArray[np.float64], tolerance: float) -> Verdict:
    early, late = np.array_split(level, 2)
    shift = float(np.median(late[:, None] - early[None, :]))
    noise = 2 * float(np.hypot(_error(early), _error(late)))
    if noise > max(MOST_NOISE, tolerance):
        return Verdict(False, f"the shift is known only within {np.expm1(noise):.0%}, wanted {np.expm1(MOST_NOISE):.0%}")
    if abs(shift) > max(tolerance, noise):
        return Verdict(False, f"later answers take {np.expm1(shift):+.0%}, wanted within {np.expm1(max(tolerance, noise)):.0%}")
    score, move = _trend(level)
    if abs(score) > TREND_Z and abs(move) > tolerance:
        return Verdict(False, f"latency still moves by {np.expm1(move):+.0%} over the span")
    return Verdict(True, f"later answers take {np.expm1(shift):+.0%}")


def _error(level: NDArray[np.float64]) -> float:
    return float(_SHIFT_ERROR * np.median(np.abs(level - np.median(level))) / np.sqrt(len(level)))


def _trend(level: NDArray[np.float64]) -> tuple[float, float]:
    """Kendall's tau against the order as a z score, and what the Theil-Sen line moves from the first sample to the last."""
    n = len(level)
    first, second = np.triu_indices(n, k=1)
    rise = level[second] - level[first]
    score = np.sign(rise).sum() / np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return float(score), float(np.median(rise / (second - first)) * (n - 1))
