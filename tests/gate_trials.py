"""Gates whose truth is known, by the thousand: drawn figures of every deployment in, each gate's verdict and the look that gave it out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lab.analysis.spending import levels

LOOKS = (10, 15, 20)
SPREAD = 0.03  # between deployments of one arm, on the log scale, of which half the variance is shared by the metrics
DRIFT = 0.03  # of the machine from block to block, which pairing takes out
Logs = NDArray[np.float64]


def drawn(
    trials: int,
    effects: Sequence[float],
    spread: float | Sequence[float] = SPREAD,
    *,
    drift: float = DRIFT,
    looks: Sequence[int] = LOOKS,
    seed: int = 5,
) -> tuple[Logs, Logs]:
    """Logs of base and head: trials x metrics x deployments; head's are higher by log(effect) of each metric. `spread`: of all metrics,
    or of each."""
    rng = np.random.default_rng(seed)
    moved = drift * rng.standard_normal((trials, 1, looks[-1]))
    scale = np.broadcast_to(np.asarray(spread, dtype=float), (len(effects),))[:, None]

    def arm() -> Logs:
        common = rng.standard_normal((trials, 1, looks[-1]))
        own = rng.standard_normal((trials, len(effects), looks[-1]))
        return np.asarray(moved + scale * math.sqrt(0.5) * (common + own))

    return arm(), arm() + np.log(effects)[:, None]


def outcomes(base: Logs, head: Logs, limit: float, looks: Sequence[int] = LOOKS) -> tuple[NDArray[np.str_], NDArray[np.int_]]:
    """Of every trial: PASS, FAIL or INCONCLUSIVE, and at which look."""
    trials, metrics, _ = base.shape
    verdict, at = np.full(trials, "INCONCLUSIVE"), np.full(trials, looks[-1])
    for look, level in zip(looks, levels(looks), strict=True):
        test = stats.ttest_1samp((head - base)[:, :, :look], 0.0, axis=-1)
        interval = test.confidence_interval(1 - level / metrics)
        failed = (interval.low >= math.log(limit)).any(axis=1)
        passed = (interval.high < math.log(limit)).all(axis=1)
        for name, hit in (("FAIL", failed), ("PASS", passed & ~failed)):
            now = hit & (verdict == "INCONCLUSIVE")
            verdict[now], at[now] = name, look
    return verdict, at


def share(verdict: NDArray[np.str_], name: str) -> float:
    return float(np.mean(verdict == name))
