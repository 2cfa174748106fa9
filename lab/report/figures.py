"""How figures are written: a number, an amount or a Stat becomes text with its unit; what is missing becomes a dash with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log10

from lab.model import Stat
from lab.model.measure import Basis

DASH = "—"
NO_INTERVAL = "no interval"
MARKS: dict[str, str] = {"measured": "●", "priced": "◆", "modelled": "○"}
PER_SECOND = ("1/s", "requests/s")


def number(value: float, digits: int = 3) -> str:
    """`digits` significant ones at least, all those before the point, thousands separated: 0.0123, 9.13, 23.4, 1,234."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    rounded = round(value, decimals)
    if rounded and floor(log10(abs(rounded))) > floor(log10(abs(value))):
        decimals = max(0, decimals - 1)  # 9.996 is 10.0, not 10.00
    return f"{rounded:,.{decimals}f}"


def plain(value: float) -> str:
    """The shortest way to write a given figure, such as a rate that somebody asked for: 10, 0.5, 1,000."""
    return f"{value:,.10g}"


def money(value: float) -> str:
    if 0 < abs(value) < 1:
        return "$" + number(value, 2)
    return f"${value:,.0f}" if abs(value) >= 100 else f"${value:,.2f}"


def share(value: float) -> str:
    return "0" if value == 0 else number(value * 100, 2) + " %"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def short(unit: str) -> str:
    """A unit as it is printed: what a heading says already (per month, per million) goes."""
    if unit in PER_SECOND:
        return "/s"
    return "USD" if unit.startswith("USD") else unit


def quantity(value: float, unit: str) -> str:
    """With its unit; a share is written in percent, dollars with their sign."""
    unit = short(unit)
    if unit == "USD":
        return money(value)
    if unit in ("share", "fraction"):
        return share(value)
    if unit == "ratio":
        return "×" + number(value)
    gap = "" if unit.startswith("/") else " "
    return f"{number(value)}{gap}{unit}".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A Stat as text. `bare` has no unit where `unit` can stand once for all of a column. `why` only where it is missing, or has no
    interval."""

    text: str
    bare: str
    unit: str
    interval: str = ""
    basis: Basis | str = ""
    n: int = 0
    why: str = ""


def figure(stat: Stat) -> Figure:
    unit = short(stat.unit)
    if stat.value is None:
        return Figure(text=DASH, bare=DASH, unit=unit, basis=stat.basis, n=stat.n, why=stat.why_missing or "no reason was recorded")
    whole = quantity(stat.value, unit)
    signed = unit in ("USD", "share", "fraction", "ratio")
    return Figure(
        text=whole,
        bare=whole if signed else number(stat.value),
        unit="" if signed else unit,
        interval=interval(stat),
        basis=stat.basis,
        n=stat.n,
        why=stat.why_missing if withheld(stat) else "",
    )


def withheld(stat: Stat) -> bool:
    """Whether its sample carries the figure and no interval of it, and why is known. One deployment alone has none without a word."""
    return stat.value is not None and stat.low is None and stat.high is None and bool(stat.why_missing)


def interval(stat: Stat) -> str:
    """low–high without the unit, ≤ or ≥ where one end is open, words where it is withheld; empty where there is none, or none as wide as
    the last digit."""
    if withheld(stat):
        return NO_INTERVAL
    if stat.value is None or stat.low == stat.high:
        return ""
    unit = short(stat.unit)
    if stat.low is None or stat.high is None:
        return f"≥ {quantity(stat.low, unit)}" if stat.low is not None else f"≤ {quantity(stat.high or 0.0, unit)}"
    signed = unit in ("USD", "share", "fraction")
    low, high = (quantity(end, unit) if signed else number(end) for end in (stat.low, stat.high))
    return "" if low == high else f"{low.removesuffix(' %')}–{high.removeprefix('$')}"


def margin(stat: Stat) -> str:
    """±N of the wider side, in the unit of the figure; both ends where that side is wider than the figure itself, which no ± could mean;
    ±? where the interval is withheld; empty where there is none."""
    if withheld(stat):
        return "±?"
    if stat.value is None or stat.low is None or stat.high is None:
        return ""
    wider = max(stat.high - stat.value, stat.value - stat.low)
    if wider > abs(stat.value):
        return f"({number(stat.low, 2)}–{number(stat.high, 2)})"
    return f"±{number(wider, 1)}" if wider else ""


def per_second(rate: float) -> str:
    """A closed loop asks for no rate; its figures are at the one that it reached."""
    return f"{plain(rate)}/s" if rate else "the closed loop's own rate"


def percentile(value: float) -> str:
    """p95 for 95 and for 0.95."""
    return f"p{plain(value * 100 if value < 1 else value)}"


def metric(name: str) -> str:
    """p50_ms -> p50; cost names and others stay as words."""
    return name.removesuffix("_ms").removesuffix("_usd").replace("_", " ")
