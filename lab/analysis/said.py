"""One run and a pair of groups in, what it says of them on a metric out: which is better, that it flips, or why it cannot tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.analysis import parts
from lab.analysis.breakeven import SAME_COST
from lab.analysis.results import BreakEven, Ranking
from lab.analysis.sides import FLIPS, Said
from lab.analysis.taken import Taken
from lab.analysis.transfer import cost_metric, said_rate
from lab.model import Stat
from lab.model.measure import Basis

SAME = "the same"
LATENCIES = ("p50_ms", "p95_ms", "p99_ms")


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A figure that is ranked; less is better. `parts`: what b - a is made of. A difference below `floor` (of that run), or below the share
    `same` of the smaller one, is none. `floor` None: the metric has none."""

    key: str
    title: str
    basis: Basis
    unit: str
    figure: Callable[[Taken, str], Stat]
    parts: Callable[[Taken, str, str], Mapping[str, float]]
    floor: Callable[[Taken], Stat] | None = None
    same: float = 0.0


def metrics(taken: Taken) -> tuple[Metric, ...]:
    """Those of a run, as its scenario asks for them."""
    at = said_rate(taken.plan.primary_rate_per_s)
    latencies = dict.fromkeys((*(m for m in (taken.plan.primary_metric,) if m in LATENCIES), "p50_ms"))
    traffic = taken.plan.traffic_per_s if taken.comparison.costs else ()
    return (*(_latency(name, at) for name in latencies), _cpu(at), _cold(), *(_cost(rate) for rate in traffic))


def _latency(key: str, at: str) -> Metric:
    name = key.removesuffix("_ms")
    return Metric(
        key=key,
        title=f"{name} at {at}",
        basis="measured",
        unit="ms",
        figure=lambda t, group: latency(t, group, name),
        parts=latency_parts if name == "p50" else lambda t, a, b: {},
        floor=lambda t: t.summary.floor_path_ms.get(name) or Stat.missing("ms", "the scenario does not measure it"),
    )


def latency(t: Taken, group: str, name: str) -> Stat:
    step = parts.at_primary(t.groups[group], t.plan.primary_rate_per_s)
    why = t.groups[group].primary.why_missing or "the primary rate was not measured"
    return step.latency.get(name) or Stat.missing("ms", f"{name} was not computed") if step else Stat.missing("ms", why)


def latency_parts(t: Taken, a: str, b: str) -> Mapping[str, float]:
    return parts.difference(*(parts.latency_ms(t.groups[g], latency(t, g, "p50")) for g in (a, b)))


def _cpu(at: str) -> Metric:
    return Metric(
        key="cpu_ms",
        title=f"CPU per request at {at}",
        basis="measured",
        unit="ms",
        figure=lambda t, group: t.groups[group].cpu_ms_architecture,
        parts=lambda t, a, b: parts.side_by_side(a, parts.cpu_ms(t.groups[a]), b, parts.cpu_ms(t.groups[b])),
    )


def _cold() -> Metric:
    return Metric(
        key="cold_ms",
        title="cold start",
        basis="measured",
        unit="ms",
        figure=lambda t, group: t.groups[group].cold_ms,
        parts=lambda t, a, b: parts.difference(parts.cold_ms(t.groups[a]), parts.cold_ms(t.groups[b])),
        floor=lambda t: t.summary.floor_path_ms.get("p50") or Stat.missing("ms", "the scenario does not measure it"),
    )


def _cost(rate: float) -> Metric:
    return Metric(
        key=cost_metric(rate),
        title=f"cost per month at {said_rate(rate)}",
        basis="priced",
        unit="USD",
        figure=lambda t, group: t.month(group, rate),
        parts=lambda t, a, b: cost_parts(t, a, b, rate),
        same=SAME_COST,
    )


def cost_parts(t: Taken, a: str, b: str, rate: float) -> Mapping[str, float]:
    return parts.difference(*(parts.month_usd(at) if (at := t.cost_at(g, rate)) else {} for g in (a, b)))


# ---- what is measured or priced --------------------------------------------------------------------------------------


def said(metric: Metric, t: Taken, a: str, b: str) -> Said:
    """Told where the 95 % intervals lie apart: that of the ratio over deployments for the primary metric, else of the two figures."""
    if t.absent(a, b):
        return _silent(t, t.absent(a, b))
    of_a, of_b = metric.figure(t, a), metric.figure(t, b)
    if of_a.value is None or of_b.value is None:
        return _silent(t, "; ".join(f"{name}: {f.why_missing}" for name, f in ((a, of_a), (b, of_b)) if f.value is None))
    better = a if of_a.value < of_b.value else b
    words = f"{a} {amount(of_a.value, metric.unit)}, {b} {amount(of_b.value, metric.unit)}"
    apart, least = abs(of_a.value - of_b.value), min(of_a.value, of_b.value)
    if apart <= metric.same * least:
        return Said(side=t.name, says=SAME, words=f"{words}: the same within {100 * metric.same:g} %")
    why = _below_floor(metric, t, apart) or (_by_ratio(metric, t, a, b) if _has_ratio(metric, t, a, b) else _by_intervals(a, of_a, b, of_b))
    return Said(side=t.name, says="" if why else better, words=words, why=why)


def _silent(t: Taken, why: str) -> Said:
    return Said(side=t.name, says="", words="", why=why)


def _below_floor(metric: Metric, t: Taken, apart: float) -> str:
    if metric.floor is None:
        return ""
    floor = metric.floor(t)
    if floor.value is None:
        return ""
    said_floor = f"the floor of the path, {amount(floor.value, metric.unit)}"
    return f"the difference of {amount(apart, metric.unit)} is below {said_floor}" if apart < floor.value else ""


def _has_ratio(metric: Metric, t: Taken, a: str, b: str) -> bool:
    return metric.key == t.plan.primary_metric and any({t.common(e.a), t.common(e.b)} == {a, b} for e in t.comparison.effects)


def _by_ratio(metric: Metric, t: Taken, a: str, b: str) -> str:
    """Why the ratio over deployments does not tell them apart; empty where it does."""
    effect = next(e for e in t.comparison.effects if {t.common(e.a), t.common(e.b)} == {a, b} and e.metric == metric.key)
    if effect.verdict == "cannot tell":
        return effect.reason
    low, high = effect.ratio.low, effect.ratio.high
    if low is None or high is None:
        return "one deployment of each tells no spread"
    if low <= 1 <= high:
        one, other = t.common(effect.b), t.common(effect.a)
        n = f"{effect.ratio.n} deployments of each"
        return f"the difference may be chance: {one} / {other} is {effect.ratio.value:.3g} ({low:.2g} to {high:.2g}) over {n}"
    return ""


def _by_intervals(a: str, of_a: Stat, b: str, of_b: Stat) -> str:
    if of_a.low is None or of_a.high is None or of_b.low is None or of_b.high is None:
        return of_a.why_missing or of_b.why_missing or "one deployment tells no interval"
    if of_a.high < of_b.low or of_b.high < of_a.low:
        return ""
    return f"the intervals of {a} ({of_a.low:.3g} to {of_a.high:.3g}) and {b} ({of_b.low:.3g} to {of_b.high:.3g}) overlap"


def amount(value: float, unit: str) -> str:
    if unit == "USD":
        return f"${value:,.0f}" if abs(value) >= 100 else f"${value:,.2f}"
    return f"{value:,.3g} {unit}" if abs(value) < 1000 else f"{value:,.0f} {unit}"


# ---- where costs cross, and what holds in a cloud --------------------------------------------------------------------


def break_even(t: Taken, a: str, b: str) -> BreakEven | None:
    of = t.comparison.costs.break_even if t.comparison.costs else ()
    return next((e for e in of if {t.common(e.cheaper_below), t.common(e.other)} == {a, b}), None)


def said_break_even(t: Taken, a: str, b: str) -> Said:
    found = break_even(t, a, b)
    if found is None:
        why = next((w for g in (a, b) if (w := t.month(g, t.plan.traffic_per_s[0]).why_missing)), "no break-even was computed")
        return _silent(t, t.absent(a, b) or why)
    at = found.traffic_per_s
    if at.value is None:
        always = t.common(found.always) if found.always else ""
        words = f"{always} always costs less than {b if always == a else a}" if always else ""
        return Said(side=t.name, says=always, words=words, why="" if always else at.why_missing)
    between = f" ({_end(at.low, 'under')} to {_end(at.high, 'over')})" if at.low is not None or at.high is not None else ""
    words = f"{t.common(found.cheaper_below)} costs less than {t.common(found.other)} below {at.value:.3g} requests/s{between}"
    return Said(side=t.name, says=t.common(found.cheaper_below), words=words, why="" if between else "one deployment tells no interval")


def _end(value: float | None, beyond: str) -> str:
    return f"{value:.3g}" if value is not None else f"{beyond} the range"


def said_cloud(t: Taken, metric: str, a: str, b: str) -> Said:
    found = cloud(t, metric, a, b)
    if found is None:
        return _silent(t, t.absent(a, b) or "it was not ranked")
    if found.status == "cannot":
        return _silent(t, t.absent(a, b) or found.sentence)
    return Said(side=t.name, says=FLIPS if found.status == "flips" else t.common(found.winner), words=found.sentence)


def cloud(t: Taken, metric: str, a: str, b: str) -> Ranking | None:
    return next((r for r in t.comparison.rankings if r.metric == metric and {t.common(r.a), t.common(r.b)} == {a, b}), None)
