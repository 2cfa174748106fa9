"""What summary.json and comparison.json hold: figures of a run with their intervals, verdicts, costs and cloud rankings."""

from lab.analysis.results.comparison import BreakEven, Comparison, CostAt, CostLine, Costs, Effect, Ranking, Win
from lab.analysis.results.summary import (
    SCHEMA_VERSION,
    CellVerdict,
    Counts,
    Curve,
    Deployed,
    Driving,
    Group,
    ServiceFigures,
    Span,
    StepFigures,
    Summary,
    TimelinePoint,
)

__all__ = [
    "SCHEMA_VERSION",
    "BreakEven",
    "CellVerdict",
    "Comparison",
    "CostAt",
    "CostLine",
    "Costs",
    "Counts",
    "Curve",
    "Deployed",
    "Driving",
    "Effect",
    "Group",
    "Ranking",
    "ServiceFigures",
    "Span",
    "StepFigures",
    "Summary",
    "TimelinePoint",
    "Win",
]
