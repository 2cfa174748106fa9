"""Lessons of predict, run, explain: a folder below scenarios/workshops/ in, the learner's predictions judged by their own runs out."""

from __future__ import annotations

from lab.workshops.lesson import Evidence, Judged, Question, Truth, judge

__all__ = ["Evidence", "Judged", "Question", "Truth", "judge"]
