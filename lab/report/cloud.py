"""What would hold in a cloud, as a page shows it: rankings by metric and pair, strips of their draws, and what cannot be said, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.analysis.judge import percent
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
class Line:
    """One order that holds, best first ("a < b < c"), or one pair that flips ("a or b"); `words` says which, how sure and where."""

    order: str
    status: str
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsaid:
    """What one reason forbids to say. `pairs` is empty where it is about all of them."""

    metrics: tuple[str, ...]
    pairs: str
    sentence: str

    @property
    def words(self) -> str:
        about = ", ".join(self.metrics) + (f" of {self.pairs}" if self.pairs else "")
        said = all(name in self.sentence for name in (*self.metrics, *self.pairs.split(" or ")))
        return self.sentence if said and "; " not in self.pairs else f"{about}: {self.sentence}"


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
        Segment(name=n, percent=share * 100, words=draws(share), role=looks[n].role if n in looks else "soft")
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


def draws(share: float) -> str:
    """A share of draws as the sentences give it: never rounded up."""
    return "< 1 %" if 0 < share < 0.01 else percent(share)


def lines(comparison: Comparison) -> Iterator[tuple[str, tuple[Line, ...]]]:
    """metric -> what its rankings say, as few lines as possible: one chain of all groups where their order holds, and beside it the pairs
    that have no place of their own in it."""
    for metric, sets in _by_metric(comparison).items():
        said = tuple(line for rankings in sets for line in _lines(rankings))
        if said:
            yield figures.metric(metric), said


def winners(comparison: Comparison | None) -> set[tuple[str, str]]:
    """(metric, group) of each group whose rankings on it hold against all that it was ranked against, and which wins them."""
    found = set()
    for metric, sets in _by_metric(comparison).items() if comparison else ():
        for classes in map(levels, sets):
            if len(classes) > 1 and len(classes[0]) == 1:
                found.add((metric, classes[0][0]))
    return found


def _by_metric(comparison: Comparison) -> dict[str, list[list[Ranking]]]:
    """metric -> sets of rankings, each among groups that were ranked against each other."""
    found: dict[str, list[list[Ranking]]] = {}
    for r in comparison.rankings:
        sets = found.setdefault(r.metric, [])
        touching = [s for s in sets if any({r.a, r.b} & {o.a, o.b} for o in s)]
        found[r.metric] = [s for s in sets if s not in touching] + [[*(o for s in touching for o in s), r]]
    return found


def levels(rankings: Sequence[Ranking]) -> list[list[str]]:
    """Groups in classes, best first: between two classes every ranking holds, within one class some do not. (The classes are the strong
    components of "is not surely worse than", of which any two groups have one direction at least.)"""
    names = list(dict.fromkeys(name for r in rankings for name in (r.a, r.b)))
    worse = {(r.b if r.winner == r.a else r.a, r.winner) for r in rankings if r.status == "holds"}
    reach = {name: {other for other in names if (name, other) not in worse} for name in names}
    for between in names:
        for name in names:
            if between in reach[name]:
                reach[name] |= reach[between]
    classes: dict[frozenset[str], list[str]] = {}
    for name in sorted(names, key=lambda n: -len(reach[n])):
        classes.setdefault(frozenset(reach[name]), []).append(name)
    return list(classes.values())


def _lines(rankings: Sequence[Ranking]) -> Iterator[Line]:
    classes = levels(rankings)
    at = {name: index for index, names in enumerate(classes) for name in names}
    if len(classes) > 1:
        across = [r for r in rankings if at[r.a] != at[r.b]]
        yield Line(order=" < ".join(" or ".join(names) for names in classes), status="holds", words=_holds(across))
    for r in rankings:
        if at[r.a] == at[r.b] and r.status == "holds":
            yield Line(order=f"{r.winner} < {r.b if r.winner == r.a else r.a}", status="holds", words=_holds([r]))
        elif r.status == "flips":
            yield Line(order=f"{r.a} or {r.b}", status="flips", words=f"flips: {r.sentence or r.flip_at}")


def _holds(rankings: Sequence[Ranking]) -> str:
    shares = [r.shares[r.winner] for r in rankings if r.winner in r.shares]
    if not shares:
        return "holds"
    least = "at least " if draws(min(shares)) != draws(max(shares)) else ""
    return f"holds ({least}{draws(min(shares))} of cloud draws)"


def unsaid(comparison: Comparison) -> tuple[Unsaid, ...]:
    """Every reason why something cannot be measured, once, with the metrics and pairs that it is about."""
    everyone = {(r.a, r.b) for r in comparison.rankings}
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for metric in dict.fromkeys(r.metric for r in comparison.rankings):
        said: dict[str, list[tuple[str, str]]] = {}
        silent = [r for r in comparison.rankings if r.metric == metric and r.status == "cannot"]
        shared = {_nameless(r) for r in silent}
        for r in silent:
            said.setdefault(_nameless(r) if len(shared) == 1 else r.sentence, []).append((r.a, r.b))
        for sentence, pairs in said.items():
            found.setdefault((sentence, tuple(pairs)), []).append(figures.metric(metric))
    return tuple(
        Unsaid(metrics=tuple(m), pairs="" if set(p) == everyone else "; ".join(f"{a} or {b}" for a, b in p), sentence=sentence)
        for (sentence, p), m in found.items()
    )


def _nameless(r: Ranking) -> str:
    """'p99 of a is not supported: 12 samples' without the name, so that the same reason of many groups is said once."""
    text = r.sentence
    for name in (r.a, r.b):
        text = text.replace(f" of {name} is not supported", " is not supported")
    return text


def break_even(b: BreakEven) -> str:
    """One break-even in words, as priced from what was measured, and where it lies over the cloud ranges."""
    over = b.in_cloud
    modelled = (
        f"; over the cloud ranges below {figures.interval(over)} requests/s" if over is not None and "–" in figures.interval(over) else ""
    )
    if b.sentence:
        return b.sentence + modelled
    if b.traffic_per_s.value is None:
        dearer = b.other if b.always == b.cheaper_below else b.cheaper_below
        return f"{b.always} always costs less than {dearer}" if b.always else b.traffic_per_s.why_missing
    between = f" ({figures.interval(b.traffic_per_s)})" if figures.interval(b.traffic_per_s) else ""
    return f"{b.cheaper_below} costs less than {b.other} below {figures.number(b.traffic_per_s.value)} requests/s{between}{modelled}"
