"""The pictures of the page as data: each with its caption, its legend and the table behind it, by panels of groups that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.analysis.results import Costs, Group, Summary
from lab.report import bars, charts, compared, evidence, facts, figures, palette
from lab.report.palette import Look
from lab.report.table import Table, usable

COLUMNS = 4  # architectures in one waterfall


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """`svg` is trusted markup that lab.report made. `legend`: role of the palette -> words."""

    title: str
    svg: str
    caption: str
    table: Table
    basis: str = "measured"
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Groups that may be drawn together: one workload at one model size. `title` is empty when there is only one such panel."""

    name: str
    title: str
    groups: tuple[Group, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(g.name for g in self.groups)

    @property
    def left_out(self) -> str:
        """Says which groups are drawn nowhere."""
        invalid = [g.name for g in self.groups if not usable(g)]
        return f"Not drawn, because no deployment is valid: {', '.join(invalid)}." if invalid else ""


def panels(summary: Summary) -> tuple[Panel, ...]:
    keys = list(dict.fromkeys((g.workload, g.model_size) for g in summary.groups))
    made = []
    for index, key in enumerate(keys):
        groups = tuple(g for g in summary.groups if (g.workload, g.model_size) == key)
        made.append(Panel(name=f"panel{index}", title=f"{key[0]}, model {key[1]}" if len(keys) > 1 else "", groups=groups))
    return tuple(made)


def throughput(summary: Summary, panel: Panel, looks: Mapping[str, Look]) -> Picture:
    name = f"throughput-{panel.name}"
    main, tail = charts.headline_percentile(summary), figures.percentile(summary.slo_percentile)
    thin = f" Thin lines: {tail}." if tail != main else ""
    unsure = [s.latency[main] for g in panel.groups if usable(g) for s in g.steps if main in s.latency]
    bare = " Where there is no band, the sample gives no interval; the table says why." if any(map(figures.withheld, unsure)) else ""
    caption = f"Thick lines: {main} with its 95 % band.{bare}{thin} A hollow mark is a step that did not hold. {panel.left_out}"
    return Picture(
        title="Throughput against latency",
        svg=charts.throughput(panel.groups, looks, summary, name),
        caption=caption.strip(),
        table=evidence.latency_points(panel.groups, f"{name}-data"),
    )


def monthly_cost(costs: Costs, panel: Panel, looks: Mapping[str, Look]) -> Picture:
    name = f"cost-{panel.name}"
    names = [g.name for g in panel.groups if usable(g)]
    basis = f"Allocation basis, cpu_scale {figures.plain(costs.cpu_scale)}."
    words = f"{charts.cost_words(costs, names)} {basis} {facts.pricing(costs)}".strip()
    return Picture(
        title="Dollars per month against traffic",
        svg=charts.monthly_cost(costs, names, looks, name),
        caption=" ".join(filter(None, (words, *_not_priced(costs, names), panel.left_out))),
        table=compared.cost_curves(costs, names, f"{name}-data"),
        basis="priced",
    )


def _not_priced(costs: Costs, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name not in costs.curves:
            why = next((at.month_allocation.why_missing for at in costs.at if at.group == name), "")
            yield f"Not drawn: {name}, {why or 'no cost was computed'}."


def percentiles(summary: Summary, panel: Panel, looks: Mapping[str, Look]) -> Picture:
    name = f"percentiles-{panel.name}"
    rate = figures.per_second(summary.primary_rate_per_s)
    return Picture(
        title=_titled("At the primary rate", panel),
        svg=charts.percentiles(panel.groups, looks, summary, name),
        caption=f"At {rate}. Lines end at the highest percentile that the sample supports. Shaded: what the instrument takes by itself.",
        table=evidence.percentiles(charts.picked_percentiles(panel.groups, summary), f"{name}-data"),
    )


def waterfalls(panel: Panel, looks: Mapping[str, Look]) -> Iterator[Picture]:
    groups = [g for g in panel.groups if usable(g) and g.waterfall]
    for start in range(0, len(groups), COLUMNS):
        chosen = groups[start : start + COLUMNS]
        name = f"waterfall-{panel.name}-{start}"
        yield Picture(
            title=_titled("Where the time of a median request goes", panel),
            svg=bars.waterfall(chosen, looks, name),
            caption=WATERFALL + f" Added up, beside p50: {'; '.join(_sums(chosen))}.",
            table=evidence.waterfalls(chosen, f"{name}-data"),
            legend=_legend(bars.span_fills(chosen)),
        )


WATERFALL = (
    "Means of the requests near the median, in ms; the shortest spans are in the table only. A row that only some fill is what they add. "
    "Driver lag: from the intended to the real send. Network and gateway: there and back, drawn before. Store and database lie inside the "
    "stage above them. Between the spans: the services' own code, serialisation and scheduling that no span names, drawn last."
)


def _sums(groups: Sequence[Group]) -> Iterator[str]:
    for g in groups:
        yield f"{g.name} {figures.quantity(bars.ends_at(g), 'ms')} and {figures.figure(g.primary).text}"


def timelines(summary: Summary, looks: Mapping[str, Look]) -> Iterator[Picture]:
    for index, group in enumerate(summary.groups):
        if usable(group) and group.timeline:
            name = f"timeline-{index}"
            yield Picture(
                title=group.name,
                svg=charts.timeline(group, looks[group.name], name),
                caption=_event_words(group),
                table=evidence.timeline(group, f"{name}-data"),
            )


def _event_words(group: Group) -> str:
    counts: dict[str, int] = {}
    for event in group.events:
        if event.get("kind") == "fault" and event.get("phase") != "begin":
            continue  # one fault, however many events tell of it
        kind = str(event.get("fault") or event.get("kind", "event")).replace("_", " ")
        counts[kind] = counts.get(kind, 0) + 1
    errors = sum(p.errors for p in group.timeline)
    said = [f"{n} × {kind}" for kind, n in counts.items()] + ([f"{errors} errors"] if errors else [])
    scalers = sorted({s.scaler for s in group.services if s.scaler})
    happened = ", ".join(said) or "No errors, no events"
    return f"{happened}." + (f" Instances set by {' and '.join(scalers)}." if scalers else "")


def cold(panel: Panel) -> Picture | None:
    groups = [g for g in panel.groups if usable(g) and g.cold_phases_ms]
    if not groups:
        return None
    name = f"cold-{panel.name}"
    return Picture(
        title=_titled("Cold start, phase by phase", panel),
        svg=bars.cold(groups, name),
        caption=f"{_phases(groups)} Phases are means per cold request, summed over all instances that started for it; the figure at the "
        "end is the median request of each deployment, over deployments, so the phases need not add up to it exactly. Architectures that "
        "are not here never start cold: their processes run all the time.",
        table=evidence.cold_phases(panel.groups, f"{name}-data"),
        legend=_legend(bars.phase_fills(groups)),
    )


def _phases(groups: Sequence[Group]) -> str:
    order = bars.cold_phase_order(groups)
    said = []
    for g in groups:
        each = [f"{figures.metric(p)} {figures.quantity(g.cold_phases_ms[p], 'ms')}" for p in order if p in g.cold_phases_ms]
        said.append(f"{g.name}: {', '.join(each)}")
    return "; ".join(said) + "."


def bills(costs: Costs, panel: Panel) -> Iterator[Picture]:
    kept = [at for at in costs.at if at.group in {g.name for g in panel.groups if usable(g)}]
    for index, rate in enumerate(sorted({at.traffic_per_s for at in kept})):
        chosen = [at for at in kept if at.traffic_per_s == rate]
        if any(at.lines for at in chosen):
            name = f"bill-{panel.name}-{index}"
            yield Picture(
                title=_titled(f"At {figures.per_second(rate)} all month", panel),
                svg=bars.bill(chosen, name),
                caption="",
                table=compared.cost_lines(chosen, costs.cpu_scale, f"{name}-data"),
                basis="priced",
            )


def bill_legend(costs: Costs) -> tuple[tuple[str, str], ...]:
    return _legend(bars.bill_fills([line.kind for at in costs.at for line in at.lines]))


def _legend(fills: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    roles = palette.roles()
    return tuple((roles[fill], figures.metric(kind)) for kind, fill in fills.items())


def _titled(title: str, panel: Panel) -> str:
    return f"{title}: {panel.title}" if panel.title else title
