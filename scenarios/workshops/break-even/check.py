"""Break-even: the learner's run priced again and again, each time with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date

from lab.analysis import prices
from lab.analysis.breakeven import HIGHEST_PER_S, LOWEST_PER_S
from lab.analysis.cost import costs
from lab.analysis.functions import function_memory_mb
from lab.analysis.price_book import PriceBook
from lab.analysis.results import CostAt, Costs, Group, ServiceFigures, Summary
from lab.model import Plan
from lab.workshops import Evidence, Question, Truth

MACHINES, FUNCTIONS = "three_tier", "serverless"
LOW_PER_S, HIGH_PER_S = 1.0, 100.0
GRAIN_MS = 100.0
SPOT = 0.3  # of the on-demand price: a usual discount on spot machines
SAME = 0.02  # a break-even that moves less has not moved


@dataclass(frozen=True)
class Priced:
    """The learner's run with a price book, that may have been changed."""

    summary: Summary
    book: PriceBook
    costs: Costs

    def at(self, group: str, traffic_per_s: float) -> CostAt:
        return next(a for a in self.costs.at if (a.group, a.traffic_per_s) == (group, traffic_per_s))

    def even_per_s(self) -> float | None:
        """Where functions stop being cheaper; None where the curves do not cross that way."""
        found = self.costs.break_even[0]
        return found.traffic_per_s.value if found.cheaper_below == FUNCTIONS else None


def priced(evidence: Evidence) -> Priced:
    summary, run = evidence.summaries["break-even"], evidence.runs["break-even"]
    return _with(summary, prices.load(run.read(run.plan, Plan).prices))


def _with(summary: Summary, book: PriceBook) -> Priced:
    return Priced(summary, book, costs(summary, book, today=date.fromisoformat(summary.started_at[:10])))


def _factor(book: PriceBook, keys: Iterable[str], factor: float) -> PriceBook:
    """Prices, or rules, times `factor`."""
    wanted = set(keys)
    changed = {k: replace(p, value=p.value * factor) if k in wanted else p for k, p in book.prices.items()}
    rules = {k: replace(p, value=p.value * factor) if k in wanted else p for k, p in book.rules.items()}
    return replace(book, prices=changed, rules=rules)


def _function(now: Priced) -> ServiceFigures:
    """The function that is billed most."""
    group = next(g for g in now.summary.groups if g.name == FUNCTIONS)
    return max((s for s in group.services if s.billing == "function"), key=lambda s: s.billed_ms_per_request or 0.0)


# ---- the truths ------------------------------------------------------------------------------------------------------


def _cheaper(evidence: Evidence, traffic_per_s: float) -> Truth:
    now = priced(evidence)
    one, other = (now.at(g, traffic_per_s).month_allocation for g in (MACHINES, FUNCTIONS))
    if one.value is None or other.value is None:
        return Truth(shows=None, why=one.why_missing or other.why_missing)
    said = f"at {traffic_per_s:g} requests/s {MACHINES} costs ${one.value:,.2f} a month and {FUNCTIONS} ${other.value:,.2f}"
    apart = None not in (one.low, one.high, other.low, other.high) and (one.high < other.low or other.high < one.low)  # type: ignore[operator]
    if not apart:
        return Truth(shows=None, why=f"{said}, but the intervals overlap or are missing")
    return Truth(shows=MACHINES if one.value < other.value else FUNCTIONS, why=said)


BECAUSE = {
    FUNCTIONS: "a rented machine costs the same whether anybody asks or not, a function costs by the request",
    MACHINES: "a busy machine does a request for less than the milliseconds of a function cost",
}


def cheaper_at(traffic_per_s: float) -> Callable[[Evidence], Truth]:
    def truth(evidence: Evidence) -> Truth:
        found = _cheaper(evidence, traffic_per_s)
        return found if found.shows is None else replace(found, why=f"{found.why}: {BECAUSE[str(found.shows)]}")

    return truth


def even(evidence: Evidence) -> Truth:
    found = priced(evidence).costs.break_even[0]
    stat = found.traffic_per_s
    if stat.value is None or found.cheaper_below != FUNCTIONS:
        return Truth(shows=None, why=found.sentence or stat.why_missing)
    cloud = found.in_cloud
    modelled = f"; over the cloud ranges {cloud.low:.2g} to {cloud.high:.2g}" if cloud and cloud.low and cloud.high else ""
    return Truth(shows=stat.value, low=stat.low, high=stat.high, why=f"{found.sentence}{modelled}")


def _time_usd(found: Priced, traffic_per_s: float) -> float:
    """What of the functions' month is time in functions; as in the total, without prices of grade C."""
    return sum(x.allocation_usd for x in found.at(FUNCTIONS, traffic_per_s).lines if x.kind == "compute" and x.grade != "C")


def _moved(before: float | None, after: float | None) -> float | None:
    return after / before if before and after else None


def _direction(moved: float) -> str:
    return "it stays" if abs(moved - 1) <= SAME else "it rises" if moved > 1 else "it falls"


def memory(evidence: Evidence) -> Truth:
    now = priced(evidence)

    def doubled(group: Group) -> Group:
        services = tuple(
            replace(s, memory_configured_mib=2 * s.memory_configured_mib) if s.billing == "function" else s for s in group.services
        )
        return replace(group, services=services)

    after = _with(replace(now.summary, groups=tuple(map(doubled, now.summary.groups))), now.book)
    moved = _moved(now.even_per_s(), after.even_per_s())
    if moved is None:
        return Truth(shows=None, why="the curves do not cross with or without more memory")
    function, throttled = _function(now), now.summary.enforcement == "enforced"
    before_mb, after_mb = (function_memory_mb(function, now.book, m, throttled) for m in (1.0, 2.0))
    why = (
        f"{function.service} is configured with {function.memory_configured_mib:g} MiB and priced with {before_mb:.0f} MB, doubled with "
        f"{after_mb:.0f} MB; the break-even is {now.even_per_s():.3g}, then {after.even_per_s():.3g} requests/s. Memory buys CPU: what ran "
        "on a core of its own is priced with the memory that buys one"
    )
    return Truth(shows=_direction(moved), why=why)


def half_price(evidence: Evidence) -> Truth:
    now = priced(evidence)
    keys = [tier.price for tier in now.book.mapping.function.duration]
    moved = _moved(now.even_per_s(), _with(now.summary, _factor(now.book, keys, 0.5)).even_per_s())
    if moved is None:
        return Truth(shows=None, why=f"with or without the half price the curves do not cross below {HIGHEST_PER_S:g} requests/s")
    shows = "more than twice" if moved > 2.1 else "about twice" if moved > 1.9 else "less than twice"
    bill = now.at(FUNCTIONS, HIGH_PER_S)
    total, duration = bill.month_allocation.value or 0.0, _time_usd(now, HIGH_PER_S)
    why = (
        f"the break-even rises {moved:.2f} times. Of the ${total:,.0f} for functions at {HIGH_PER_S:g} requests/s only ${duration:,.0f} "
        f"({duration / total:.0%}) are time in functions: requests, gateway, store and database keep their price, some of it on both sides"
    )
    return Truth(shows=shows, why=why)


def rounding(evidence: Evidence) -> Truth:
    now = priced(evidence)
    rule = now.book.mapping.function.granularity
    after = _with(now.summary, _factor(now.book, [rule], GRAIN_MS / now.book.rule(rule)))
    paid, then = _time_usd(now, LOW_PER_S), _time_usd(after, LOW_PER_S)
    if not paid:
        return Truth(shows=None, why="no time in functions was billed")
    function = _function(now)
    mean_ms = (function.billed_ms_per_request or 0.0) / (function.invocations_per_request or 1.0)
    why = (
        f"time in functions costs ${paid:,.2f} a month at {LOW_PER_S:g} requests/s, and ${then:,.2f} in steps of {GRAIN_MS:g} ms: one "
        f"invocation of {function.service} takes {mean_ms:.1f} ms, and each is rounded up by itself"
    )
    return Truth(shows=then / paid, why=why)


def spot(evidence: Evidence) -> Truth:
    now = priced(evidence)
    keys = [t.price for t in now.book.mapping.vm.types.values()]
    after = _with(now.summary, _factor(now.book, keys, SPOT))
    before = now.even_per_s()
    if before is None:
        return Truth(shows=None, why=f"the curves do not cross between {LOWEST_PER_S:g} and {HIGHEST_PER_S:g} requests/s")
    found = after.costs.break_even[0]
    value = found.traffic_per_s
    machines, cheaper = (p.at(MACHINES, LOW_PER_S).month_allocation.value or 0.0 for p in (now, after))
    said = f"{MACHINES} costs ${machines:,.0f} a month at {LOW_PER_S:g} requests/s, on spot machines ${cheaper:,.0f}"
    if value.value is None or found.cheaper_below != FUNCTIONS:
        return Truth(shows=None, why=f"{said}; then {found.sentence}")
    why = f"{said}: the break-even falls from {before:.3g} to {value.value:.3g} requests/s. What is no machine keeps its price"
    return Truth(shows=value.value, low=value.low, high=value.high, why=why)


BOTH = (MACHINES, FUNCTIONS)
QUESTIONS = (
    Question(
        id="cheaper_at_1_per_s", ask="At 1 request/s, day and night: which costs less a month?", choices=BOTH, truth=cheaper_at(LOW_PER_S)
    ),
    Question(id="cheaper_at_100_per_s", ask="And at 100 requests/s?", choices=BOTH, truth=cheaper_at(HIGH_PER_S)),
    Question(id="break_even_per_s", ask="At which traffic do both cost the same?", unit="requests/s", within=2.0, truth=even),
    Question(
        id="double_memory",
        ask="Each function gets twice the memory configured. What does the break-even do?",
        choices=("it falls", "it stays", "it rises"),
        truth=memory,
    ),
    Question(
        id="half_duration_price",
        ask="The provider halves the price of a GB-second. How much higher is the break-even then?",
        choices=("less than twice", "about twice", "more than twice"),
        truth=half_price,
    ),
    Question(
        id="rounding_to_100_ms",
        ask="Durations are rounded up to 100 ms instead of 1 ms. How many times as much does time in functions cost?",
        unit="times",
        within=1.5,
        truth=rounding,
    ),
    Question(
        id="spot_break_even_per_s",
        ask="The machines are spot machines at 30 % of their price. Where is the break-even then?",
        unit="requests/s",
        within=2.0,
        truth=spot,
    ),
)
