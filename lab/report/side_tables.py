"""The tables of a comparison of providers: verdicts, figures, parts, what the providers are; a SideBySide goes in, tables come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lab.analysis import parts as parts_of
from lab.analysis.sides import Ranked, Said, SideBySide
from lab.analysis.turned import signed
from lab.report import figures, method
from lab.report.figures import DASH
from lab.report.table import Row, Table, TableCell, cell, columns, given, words
from lab.report.tables import held

# status -> sign and words
STATUS: Mapping[str, tuple[str, str]] = {
    "agree": ("✓", "agree"),
    "disagree": ("⇄", "disagree"),
    "cannot tell": ("∅", "cannot tell"),
    "nothing to rank": ("·", "nothing to rank"),
}
FILE = "comparison.json"


def overview(found: SideBySide) -> Table:
    """One row per ranking: what each side says, and the verdict."""
    rows = []
    for index, ranked in enumerate(found.rankings):
        said = [words(_said(ranked, i), f"{FILE} /rankings/{index}") for i in range(len(found.sides))]
        sign, verdict = STATUS[ranked.status]
        title = TableCell(text=ranked.title, source=f"{FILE} /rankings/{index}")
        rows.append(Row(cells=(title, *said, words(f"{sign} {verdict}")), strong=ranked.status == "disagree"))
    return Table(
        name="overview",
        caption="Every ranking, provider by provider",
        columns=columns("<ranking", *(f"<{s.name}" for s in found.sides), "<verdict"),
        rows=tuple(rows),
        source=f"{FILE} /rankings",
        remarks=("Best first: < told apart, = the same, ≈ not told apart (or it flips). What has no figure is left out.",),
    )


def _said(ranked: Ranked, side: int) -> str:
    if ranked.metric != "break_even":
        return ranked.orders[side] or DASH
    return "; ".join(_crossing(p.said[side], p.a, p.b) for p in ranked.pairs)


def _crossing(said: Said, a: str, b: str) -> str:
    return said.words if said.says and not said.why else f"{a} or {b}: not told"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Pairs of one ranking of which the sides say the same things, with what moved them; `notes`: the letters of the causes."""

    status: str
    pairs: tuple[tuple[str, str], ...]
    said: tuple[Said, ...]
    reasons: tuple[str, ...]
    notes: str


def reasons(ranked: Ranked, notes: Mapping[str, str]) -> tuple[Reason, ...]:
    """Of the pairs that do not agree, those that disagree first."""
    found: dict[tuple[str, tuple[Said, ...], tuple[str, ...], str], list[tuple[str, str]]] = {}
    for pair in sorted((p for p in ranked.pairs if p.status != "agree"), key=lambda p: p.status != "disagree"):
        behind = ", ".join(notes[c] for c in pair.causes)
        found.setdefault((pair.status, pair.said, pair.reasons, behind), []).append((pair.a, pair.b))
    return tuple(Reason(status=s, pairs=tuple(p), said=said, reasons=r, notes=n) for (s, said, r, n), p in found.items())


def rows(ranked: Ranked, sides: Sequence[str], name: str, index: int) -> Table:
    made = [
        Row(cells=(words(row.name), *(cell(s, f"{FILE} /rankings/{index}/rows/{n}/on/{i}") for i, s in enumerate(row.on))), series=row.name)
        for n, row in enumerate(ranked.rows)
    ]
    head = "<pair" if ranked.metric == "break_even" else "<architecture"
    return Table(name=name, caption=ranked.title, columns=columns(head, *sides), rows=tuple(made), source=f"{FILE} /rankings/{index}/rows")


def numbers(found: SideBySide) -> Table:
    traffic = list(dict.fromkeys(t for n in found.numbers for t in n.month))
    made = []
    for index, n in enumerate(found.numbers):
        at = f"{FILE} /numbers/{index}"
        stats = [
            (getattr(n, name), f"{at}/{name}") for name in ("p50", "cpu_ms_architecture", "cpu_ms_platform", "held_rate_per_s", "cold_ms")
        ]
        figures_of = [
            replace(cell(s, where), text=held(s)) if s is n.held_rate_per_s and s.value is not None else cell(s, where)
            for s, where in stats
        ]
        money = [(n.month[t], f"{at}/month/{t}") for t in traffic if t in n.month]
        valid = words(f"{n.valid_deployments} of {n.deployments}", at)
        made.append(Row(cells=(words(n.group), words(n.side), valid, *figures_of, *(cell(s, where) for s, where in money)), series=n.group))
    heads = ("<architecture", "<provider", "valid", "p50", "CPU architecture", "CPU platform", "held rate", "cold start")
    return Table(
        name="numbers",
        caption=f"The numbers behind, at {figures.per_second(found.primary_rate_per_s)}",
        columns=columns(*heads, *(f"$ per month at {t}/s" for t in traffic)),
        rows=tuple(made),
        source=f"{FILE} /numbers, from summary.json and comparison.json of each run",
        remarks=("CPU is CPU-ms per request; a month is on the allocation basis.",),
    )


def times(found: SideBySide) -> Table:
    """Where the time of a median request goes."""
    known = [p for p in parts_of.ORDER if any(n.parts_ms.get(p) for n in found.numbers)]
    made = []
    for index, n in enumerate(found.numbers):
        why = "no answer carried a Server-Timing header, or no deployment is valid"
        each = [given(n.parts_ms.get(p, 0.0) if n.parts_ms else None, "ms", why, f"{FILE} /numbers/{index}/parts_ms") for p in known]
        made.append(Row(cells=(words(n.group), words(n.side), *each), series=n.group))
    return Table(
        name="times",
        caption="Where the time of a median request goes",
        columns=columns("<architecture", "<provider", *known),
        rows=tuple(made),
        source=f"{FILE} /numbers/*/parts_ms, from the waterfalls of each run",
    )


def parts(found: SideBySide) -> Table:
    """What the differences are made of, where the providers do not agree."""
    made = []
    for index, ranked in enumerate(found.rankings):
        for number, pair in enumerate(ranked.pairs):
            for part in pair.parts:
                amounts = [TableCell(text=signed(v, pair.unit)) for v in part.on]
                at = f"{FILE} /rankings/{index}/pairs/{number}/parts"
                made.append(Row(cells=(words(ranked.title, at), words(f"{pair.b} − {pair.a}"), words(part.name), *amounts)))
    return Table(
        name="parts",
        caption="What each difference is made of, the part that moved most first",
        columns=columns("<ranking", "<difference", "<part", *(s.name for s in found.sides)),
        rows=tuple(made),
        source=f"{FILE} /rankings/*/pairs/*/parts",
    )


def sides(found: SideBySide) -> Table:
    made = []
    for index, s in enumerate(found.sides):
        at = f"{FILE} /sides/{index}"
        valid = f"{s.cells - len(s.invalid)} of {s.cells}"
        kept = f"{method.ISOLATION.get(s.isolation, s.isolation)} {method.ENFORCEMENT.get(s.enforcement, s.enforcement)}"
        cells = (
            words(s.name, at),
            words(s.run),
            words(s.machine_class),
            words(kept),
            words(s.scaler or "none"),
            words(s.driver),
            words(valid),
        )
        floors = (cell(s.floor_driver_ms, f"{at}/floor_driver_ms"), cell(s.floor_path_ms, f"{at}/floor_path_ms"))
        made.append(Row(cells=(*cells, *floors, words(s.identity))))
    heads = (
        "<provider",
        "<run",
        "<machine",
        "<isolation and budget",
        "<scaler",
        "<driver",
        "valid cells",
        "floor of the driver",
        "floor of the path",
    )
    return Table(name="sides", caption="The providers", columns=columns(*heads, "<identity"), rows=tuple(made), source=f"{FILE} /sides")


def invalid(found: SideBySide) -> Table:
    made = [Row(cells=(words(s.name), words(c.cell), words("; ".join(c.reasons)))) for s in found.sides for c in s.invalid]
    return Table(
        name="invalid",
        caption=f"INVALID cells: {len(made)} of {sum(s.cells for s in found.sides)}",
        columns=columns("<provider", "<cell", "<because"),
        rows=tuple(made),
        source=f"{FILE} /sides/*/invalid",
    )


def differences(found: SideBySide) -> Table:
    made = [Row(cells=(words(name.replace("_", " ")), *map(words, values))) for name, values in found.differences.items()]
    return Table(
        name="differences",
        caption="Where the machines differ beside the provider",
        columns=columns("<field", *(f"<{s.name}" for s in found.sides)),
        rows=tuple(made),
        source=f"{FILE} /differences, from environment.json of each run",
    )


def causes(found: SideBySide) -> list[str]:
    """What is behind several pairs, each once, in order of appearance."""
    return list(dict.fromkeys(c for r in found.rankings for p in r.pairs for c in p.causes))


def letters(found: SideBySide) -> dict[str, str]:
    return {cause: chr(97 + n % 26) * (1 + n // 26) for n, cause in enumerate(causes(found))}
