"""A Verdict in; the table on a terminal, the Markdown summary of a pull request, or JUnit XML out."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as xml

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.analysis.verdict import Judged, Verdict, amount, figure, told
from lab.model import Stat
from lab.report.figures import DASH
from lab.report.markdown import escaped

STYLE = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}
COLUMNS = ("threshold", "of", "base", "head", "effect", "noise floor", "could detect", "verdict")


def terminal(verdict: Verdict) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in COLUMNS:
        table.add_column(title, overflow="fold")
    for one in verdict.judged:
        table.add_row(*map(Text, _row(one)), Text(one.verdict, STYLE[one.verdict]))
    head = Text.assemble((verdict.verdict, STYLE[verdict.verdict]), f"  {verdict.sentence}")
    return Group(head, Text(), table, Text(), *(Text(line, style="dim") for line in _small_print(verdict)))


def _row(one: Judged) -> tuple[str, ...]:
    """All columns but the verdict."""
    return (
        one.threshold.text,
        one.group,
        _figure(one.base),
        _figure(one.head),
        told(one.threshold, one.effect) + (" improved" if one.improved else ""),
        DASH if one.noise is None else f"{one.noise:.1%}",
        DASH if one.detectable is None else amount(one.threshold, one.detectable, one.effect.unit),
    )


def _figure(stat: Stat | None) -> str:
    return DASH if stat is None or stat.value is None else figure(stat.value, stat.unit)


def _small_print(verdict: Verdict) -> Iterator[str]:
    yield "effect: of head against base, or head's own figure; its interval decides, at a level corrected for thresholds and looks"
    yield "noise floor: spread between deployments of the same code; could detect: the true effect that this run fails with 80 % power"
    for name, commit in ((r.name, r.commit + (" with changes" if r.dirty else "")) for r in verdict.refs):
        yield f"{name}: {commit}"
    yield from verdict.notes
    yield from (f"did not count: {line}" for line in verdict.invalid)


# ---- Markdown ----------------------------------------------------------------------------------------------------------


def markdown(verdict: Verdict) -> str:
    return "\n".join(_lines(verdict)) + "\n"


def _lines(verdict: Verdict) -> Iterator[str]:
    yield f"**{verdict.verdict}** {escaped(verdict.sentence)}"
    yield ""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + ":--|" * len(COLUMNS)
    for one in verdict.judged:
        yield "| " + " | ".join(map(escaped, (*_row(one), one.verdict))) + " |"
    yield ""
    yield from (f"- {escaped(line)}" for line in _small_print(verdict))
    machine = ", ".join(f"{key} {verdict.machine[key]}" for key in ("cpu", "cores", "kernel") if key in verdict.machine)
    yield f"- machine: {escaped(', '.join(filter(None, (verdict.machine_class, machine))))}"
    rate = "" if verdict.primary_rate_per_s is None else f" at {verdict.primary_rate_per_s:g} requests/s"
    yield f"- {escaped(f'{verdict.run}: {verdict.scenario}{rate}, {verdict.deployments} deployments per arm {verdict.started_at}'.strip())}"
    yield from ("", "Repeat it:", "", f"    {' '.join(verdict.command.split())}")


# ---- JUnit -------------------------------------------------------------------------------------------------------------


def junit(verdict: Verdict) -> bytes:
    """One testcase per threshold and subject: FAIL is a failure, INCONCLUSIVE an error, so neither shows as passed."""
    counts = {"tests": len(verdict.judged), "failures": _count(verdict, "FAIL"), "errors": _count(verdict, "INCONCLUSIVE"), "skipped": 0}
    told_counts = {key: str(value) for key, value in counts.items()}
    root = xml.Element("testsuites", {"name": "lab gate", **told_counts, "time": "0"})
    suite = xml.SubElement(root, "testsuite", {"name": _legal(f"{verdict.scenario} {verdict.run}".strip()), **told_counts, "time": "0"})
    for one in verdict.judged:
        case = xml.SubElement(suite, "testcase", {"classname": _legal(one.group), "name": _legal(one.threshold.text), "time": "0"})
        if one.verdict != "PASS":
            kind = "failure" if one.verdict == "FAIL" else "error"
            xml.SubElement(case, kind, {"type": one.verdict, "message": _legal(one.why)}).text = _legal("\n".join(_details(one)))
        xml.SubElement(case, "system-out").text = _legal("\n".join(_details(one)))
    xml.indent(root)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _count(verdict: Verdict, outcome: str) -> int:
    return sum(one.verdict == outcome for one in verdict.judged)


def _details(one: Judged) -> Iterator[str]:
    yield from (f"{title}: {text}" for title, text in zip(COLUMNS, _row(one), strict=False))
    yield f"interval: {100 * (1 - one.alpha):.4g} %; limit: {amount(one.threshold, one.threshold.limit, one.effect.unit)}"
    yield one.why


def _legal(text: str) -> str:
    """XML 1.0 has no control characters but tab and newline."""
    return "".join(c if c in "\t\n" or ord(c) >= 0x20 else "?" for c in text)
