"""What would hold in a cloud, as a page shows it: rankings by metric and pair, strips of their draws, and what cannot be said, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.analysis.results import BreakEven, Comparison, Ranking
from lab.report import figures
from lab.report.palette import Look

# status -> sign and words
STATUS: Mapping[str, tuple[str, str]] = {
    "holds": ("✓", "holds"),
    "flips": ("⇄", "flips"),
    "cannot": ("∅", "cannot be measured here"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    name: str
    percent: float
    words: str
    role: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """One ranking. `note` is the letter of the reason why it cannot be measured."""

    status: str
    sign: str
    words: str
    sentence: str
    segments: tuple[Segment, ...]
    source: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """One row per metric, one column per pair; None where a pair was not ranked. `notes`: letter -> why something cannot be measured."""

    title: str
    pairs: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[Strip | None, ...]], ...]
    notes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsaid:
    """What one reason forbids to say."""

    metrics: tuple[str, ...]
    pairs: str
    sentence: str


def matrix(comparison: Comparison, names: Sequence[str], looks: Mapping[str, Look], title: str = "") -> Matrix:
    """Of the groups called `names`."""
    chosen = [(i, r) for i, r in enumerate(comparison.rankings) if {r.a, r.b} <= set(names)]
    pairs = tuple(dict.fromkeys((r.a, r.b) for _, r in chosen))
    reasons = dict.fromkeys(r.sentence for _, r in chosen if r.status == "cannot")
    letters = {why: chr(97 + n % 26) * (1 + n // 26) for n, why in enumerate(reasons)}
    rows = []
    for metric in dict.fromkeys(r.metric for _, r in chosen):
        found = {(r.a, r.b): _strip(r, i, looks, letters) for i, r in chosen if r.metric == metric}
        rows.append((figures.metric(metric), tuple(found.get(pair) for pair in pairs)))
    return Matrix(title=title, pairs=pairs, rows=tuple(rows), notes={letter: why for why, letter in letters.items()})


def _strip(r: Ranking, index: int, looks: Mapping[str, Look], letters: Mapping[str, str]) -> Strip:
    sign, words = STATUS[r.status]
    drawn = sorted(r.shares.items(), key=lambda share: share[0] != r.a) if r.status != "cannot" else []
    segments = [
        Segment(name=n, percent=share * 100, words=figures.share(share), role=looks[n].role if n in looks else "soft")
        for n, share in drawn
        if share > 0
    ]
    return Strip(
        status=r.status,
        sign=sign,
        words=f"flips: {r.flip_at}" if r.status == "flips" and r.flip_at else words,
        sentence=r.sentence,
        segments=tuple(segments),
        source=f"comparison.json /rankings/{index}",
        note=letters[r.sentence] if r.status == "cannot" else "",
    )


def lines(comparison: Comparison) -> Iterator[tuple[str, tuple[Ranking, ...]]]:
    """metric -> the rankings of it that hold or flip."""
    for metric in dict.fromkeys(r.metric for r in comparison.rankings):
        said = tuple(r for r in comparison.rankings if r.metric == metric and r.status != "cannot")
        if said:
            yield figures.metric(metric), said


def unsaid(comparison: Comparison) -> tuple[Unsaid, ...]:
    """Every reason why something cannot be measured, once, with the metrics and pairs that it is about."""
    everyone = tuple(dict.fromkeys((r.a, r.b) for r in comparison.rankings))
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    silent = [r for r in comparison.rankings if r.status == "cannot"]
    for sentence, metric in dict.fromkeys((r.sentence, r.metric) for r in silent):
        pairs = tuple((r.a, r.b) for r in silent if (r.sentence, r.metric) == (sentence, metric))
        found.setdefault((sentence, pairs), []).append(figures.metric(metric))
    return tuple(
        Unsaid(
            metrics=tuple(metrics),
            pairs="every pair" if set(pairs) == set(everyone) else "; ".join(f"{a} or {b}" for a, b in pairs),
            sentence=sentence,
        )
        for (sentence, pairs), metrics in found.items()
    )


def order(r: Ranking) -> str:
    """'a < b holds (99 %)' or 'a or b flips: one hop costs 0.4 ms'."""
    if r.status == "holds" and r.winner in (r.a, r.b):
        share = f" ({figures.share(r.shares[r.winner])} of draws)" if r.winner in r.shares else ""
        return f"{r.winner} < {r.b if r.winner == r.a else r.a} holds{share}"
    return f"{r.a} or {r.b} flips: {r.flip_at}" if r.flip_at else f"{r.a} or {r.b} {STATUS[r.status][1]}"


def break_even(b: BreakEven) -> str:
    """One break-even in words."""
    if b.sentence:
        return b.sentence
    if b.traffic_per_s.value is None:
        dearer = b.other if b.always == b.cheaper_below else b.cheaper_below
        return f"{b.always} always costs less than {dearer}" if b.always else b.traffic_per_s.why_missing
    between = f" ({figures.interval(b.traffic_per_s)})" if figures.interval(b.traffic_per_s) else ""
    return f"{b.cheaper_below} costs less than {b.other} below {figures.number(b.traffic_per_s.value)}{between} requests/s"
