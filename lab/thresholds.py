"""A threshold as a user writes it in, a typed Threshold out, or what was wanted."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from lab.model import Threshold

# Of one deployment at the primary rate; what each is says lab/analysis/deployed.py.
METRICS = (
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "mean_ms",
    "cpu_ms",
    "memory_mib",
    "achieved_per_s",
    "error_rate",
    "wrong_rate",
    "cold_ms",
    "ready_s",
)
SHARES = ("error_rate", "wrong_rate")  # their limits may be written in %
MORE_IS_BETTER = ("achieved_per_s",)
EXAMPLES = "'p99_ms < 250', 'p99_ms vs base < +5 %' or 'achieved_per_s > 95'"
_SHAPE = re.compile(r"\s*(\w+)(\s+vs\s+base)?\s*([<>])\s*([+-]?)((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(%?)\s*", re.IGNORECASE)


def parse(text: str, metrics: Collection[str] = METRICS) -> Threshold:
    """Raises ValueError whose message says what was wanted."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise ValueError(f"a threshold such as {EXAMPLES}")
    metric, against, sign, digits, percent = shape[1], bool(shape[2]), shape[4], shape[5], bool(shape[6])
    if metric not in metrics:
        raise ValueError(f"a threshold of one of {', '.join(metrics)}; {metric!r} is not measured")
    limit = _of_base(metric, sign, digits, percent) if against else _absolute(metric, sign, digits, percent)
    if not math.isfinite(limit):
        raise ValueError("a finite limit")
    return Threshold(text=" ".join(text.split()), metric=metric, limit=limit, against_base=against, below=shape[3] == "<")


def _of_base(metric: str, sign: str, digits: str, percent: bool) -> float:
    if not sign or not percent:
        raise ValueError(f"a signed change in per cent, such as '{metric} vs base < +5 %'")
    limit = 1 + float(sign + digits) / 100
    if limit <= 0:
        raise ValueError("a change of more than -100 %")
    return limit


def _absolute(metric: str, sign: str, digits: str, percent: bool) -> float:
    if sign:
        raise ValueError(f"a limit without a sign, such as '{metric} < 250'; a change is written '{metric} vs base < +5 %'")
    if percent and metric not in SHARES:
        raise ValueError(f"a limit in the metric's own unit, or '{metric} vs base < +{digits} %'")
    return float(digits) / (100 if percent else 1)
