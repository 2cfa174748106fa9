"""A price book's name or path in, a checked PriceBook out; and what its age and grades warn of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path

from lab import registry
from lab.analysis import strict_yaml
from lab.analysis.price_book import PriceBook, Tier
from lab.analysis.strict_yaml import Document, Location
from lab.errors import InputError

__all__ = ["OLD_AFTER_DAYS", "PriceBook", "age_warnings", "load"]

OLD_AFTER_DAYS = 180
MERGED = ("prices", "rules", "assumptions", "mapping", "grades")

# field of the mapping -> unit that the price or rule it names must have: the cost model multiplies with exactly these
UNITS: dict[tuple[str, ...], str] = {
    ("vm", "cpu_to_memory"): "price of one vCPU in GiB",
    ("vm", "surplus"): "USD/vCPU-hour",
    ("container", "vcpu"): "USD/vCPU-hour",
    ("container", "memory"): "USD/GB-hour",
    ("function", "request"): "USD/1e6 requests",
    ("function", "granularity"): "ms, rounded up",
    ("function", "cold_start_share"): "share of invocations",
    ("function", "mb_per_vcpu"): "MB for one vCPU",
    ("function", "free_requests"): "requests/month",
    ("function", "free_duration"): "GB-second/month",
    ("gateway", "balancer_hour"): "USD/hour",
    ("gateway", "unit_hour"): "USD/LCU-hour",
    ("gateway", "unit_connections"): "new connections/s per LCU",
    ("gateway", "unit_gb"): "GB/hour per LCU",
    ("object_store", "write"): "USD/1000 requests",
    ("object_store", "read"): "USD/1000 requests",
    ("object_store", "storage"): "USD/GB-month",
    ("database", "hour"): "USD/hour",
    ("database", "storage"): "USD/GB-month",
}


def load(name: str | Path) -> PriceBook:
    """`name` of a book in prices/ (the project's first), or a path. Raises InputError that lists every problem with its line."""
    path = registry.find("prices", str(name))
    problems: list[str] = []
    document, own = _extended(path, problems)
    book = strict_yaml.convert(document, PriceBook, problems)
    if book is not None:
        problems += _broken_dates(book, document)
        problems += _broken_references(book, document)
        problems += _broken_tiers(book, document)
        problems += _idle(book, own, document)
    if book is None or problems:
        plural = "s" if len(problems) != 1 else ""
        hint = "mend these lines; lab/prices/aws.yaml shows the form"
        raise InputError(f"price book {path} has {len(problems)} problem{plural}", hint, problems)
    return book


def _extended(path: Path, problems: list[str]) -> tuple[Document, tuple[Location, ...]]:
    """The file over the book that it extends (one level), and the entries that it brings to prices and rules."""
    document = strict_yaml.load(path, problems)
    base_name = document.raw.get("extends")
    if not base_name:
        return document, ()
    base_path = registry.find("prices", str(base_name))
    base = strict_yaml.load(base_path, problems)
    if base.raw.get("extends"):
        raise InputError(f"{path} extends {base_name!r}, which extends another book", "extend a full book such as aws")
    own = tuple((s, k) for s in ("prices", "rules") if isinstance(entries := document.raw.get(s), dict) for k in entries)
    merged = base.merge(document, MERGED)
    merged.raw["name"] = document.raw.get("name", path.stem)
    merged.raw["overrides"] = [str(key) for _, key in own]
    return merged, own


def _tiers(book: PriceBook) -> dict[Location, tuple[tuple[Tier, ...], str]]:
    m = book.mapping
    return {
        ("mapping", "function", "duration"): (m.function.duration, "USD/GB-second"),
        ("mapping", "gateway", "api"): (m.gateway.api, "USD/1e6 requests"),
        ("mapping", "egress"): (m.egress, "USD/GB"),
    }


def _references(book: PriceBook) -> Iterator[tuple[Location, str, str]]:
    """(where, key of a price or rule, unit that it must have)."""
    for name, vm in book.mapping.vm.types.items():
        yield ("mapping", "vm", "types", name, "price"), vm.price, "USD/hour"
        if vm.baseline is not None:
            yield ("mapping", "vm", "types", name, "baseline"), vm.baseline, "share of each vCPU"
    for at, (tiers, unit) in _tiers(book).items():
        for i, tier in enumerate(tiers):
            yield (*at, i, "price"), tier.price, unit
    for (part, name), unit in UNITS.items():
        key = getattr(getattr(book.mapping, part), name)
        if key is not None:
            yield ("mapping", part, name), key, unit


def _broken_references(book: PriceBook, document: Document) -> Iterator[str]:
    """Names that the book does not hold, and units that are not those of the cost model (per 1,000 against per 1e6)."""
    known = {**book.prices, **book.rules}
    for at, key, unit in _references(book):
        where = strict_yaml.dotted(at)
        if key not in known:
            yield f"{document.place(at)}: {where}: found {key!r}, wanted a price or rule of the book{_near(key, known)}"
        elif known[key].unit != unit:
            entry: Location = ("prices" if key in book.prices else "rules", key, "unit")
            yield f"{document.place(entry)}: {strict_yaml.dotted(entry)}: found {known[key].unit!r}, wanted {unit!r} for {where}"


def _broken_dates(book: PriceBook, document: Document) -> Iterator[str]:
    for section, entries in (("prices", book.prices), ("rules", book.rules)):
        for key, price in entries.items():
            try:
                price.age_days(date.min)
            except ValueError:
                at: Location = (section, key, "as_of")
                yield f"{document.place(at)}: {strict_yaml.dotted(at)}: found {price.as_of!r}, wanted a day of the calendar"


def _broken_tiers(book: PriceBook, document: Document) -> Iterator[str]:
    for at, (tiers, _) in _tiers(book).items():
        ends = [t.up_to if t.up_to is not None else float("inf") for t in tiers]
        if not ends or ends[-1] != float("inf") or any(a >= b for a, b in pairwise(ends)):
            wanted = "rising `up_to`, and none in the last tier only"
            yield f"{document.place(at)}: {strict_yaml.dotted(at)}: found up_to {[t.up_to for t in tiers]}, wanted {wanted}"


def _idle(book: PriceBook, own: Iterable[Location], document: Document) -> Iterator[str]:
    """Entries of an extending file that nothing reads: nearly always a misspelt key."""
    read = {key for _, key, _ in _references(book)}
    for at in own:
        if at[1] not in read:
            known = {**book.prices, **book.rules}.keys() & read
            wanted = f"one of the book{_near(str(at[1]), known)}"
            yield f"{document.place(at)}: {strict_yaml.dotted(at)}: found a name that no rule reads, wanted {wanted}"


def _near(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1)
    return f" such as {near[0]!r}" if near else ""


def age_warnings(book: PriceBook, used: Iterable[str], today: date) -> tuple[str, ...]:
    """One sentence each on prices (not rules) that are too old, undated, or of grade C."""
    prices = {key: book.prices[key] for key in sorted(set(used)) if key in book.prices}
    ages = {key: p.age_days(today) for key, p in prices.items()}
    old = {k: a for k, a in ages.items() if a is not None and a > OLD_AFTER_DAYS}
    undated = [k for k, a in ages.items() if a is None]
    weak = [k for k, p in prices.items() if p.grade == "C"]
    found = []
    if old:
        oldest = max(old, key=lambda k: old[k])
        share = f"{len(old)} of {len(prices)} prices used are older than {OLD_AFTER_DAYS} days on {today}"
        found.append(f"{share}; the oldest is {oldest} of {prices[oldest].as_of}")
    if undated:
        found.append(f"prices without a date: {', '.join(undated)}")
    if weak:
        found.append(f"prices of grade C, shown but left out of headline figures: {', '.join(weak)}")
    return tuple(found)
