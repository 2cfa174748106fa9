"""What was run and on what, in plain words: the heading, the facts of the small print, the notes that nothing else says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.analysis.results import Costs, Driving, Group, Summary
from lab.model import Stat
from lab.power import tellable, tells_nothing
from lab.report import figures, load, method
from lab.report.table import usable
from lab.report.tables import scaled_by

MACHINE: Mapping[str, str] = {
    "cpu": "{}",
    "cores": "{} cores",
    "physical_cores": "{} physical",
    "memory_gib": "{} GiB",
    "system": "{}",
    "kernel": "{}",
    "python": "Python {}",
    "provider": "provider {}",
}
FUNCTION = "a function had"  # so begins what lab.analysis.cost assumes of a function's vCPU


def heading(summary: Summary) -> str:
    """What was run, in one line."""
    sizes = ", ".join(dict.fromkeys(g.model_size for g in summary.groups))
    architectures = len({g.architecture for g in summary.groups})
    variants = len({(g.architecture, g.variant) for g in summary.groups})
    count = f"{architectures} architecture" + ("s" if architectures != 1 else "")
    count += f" in {variants} variants" if variants > architectures else ""
    runs = f"{summary.deployments} deployment" + ("s" if summary.deployments != 1 else "") + " of each"
    mode = "verdicts" if summary.verdicts else "exploratory"
    return f"{summary.workload} {sizes} · {count} · {runs} · {mode} · {summary.machine_class}"


def small_print(summary: Summary, costs: Costs | None) -> tuple[tuple[str, str], ...]:
    """Term -> plain words."""
    made = [("Machine", machine(summary)), ("Class", f"{summary.machine_class}: may claim {claims(summary) or 'nothing'}.")]
    isolation = (
        f"{method.ISOLATION.get(summary.isolation, summary.isolation)} {method.ENFORCEMENT.get(summary.enforcement, summary.enforcement)}"
    )
    made += [("Isolation", isolation), ("Deployments", deployments(summary)), ("Floor", floor(summary))]
    if summary.load_kind != "ladder":
        made += [("Load", " ".join(f"{words.rstrip('.')}." for words in load.said(summary)))]
    made += [("Driver", driver(summary.driving))] if summary.driving else []
    made += [("Faults", " ".join(summary.faults))] if summary.faults else []
    made += [("Scaled by", " ".join(scalers(summary)) or "Nothing: every service had a fixed number of instances.")]
    if costs is None:
        return (*made, ("Prices", "No price list was applied."))
    grades = ", ".join(f"{n} of grade {grade}" for grade, n in sorted(costs.grades.items()))
    dates = costs.as_of_oldest if costs.as_of_oldest == costs.as_of_newest else f"{costs.as_of_oldest} to {costs.as_of_newest}"
    prices = f"{costs.prices}, {costs.region}, {costs.currency}; dated {dates}; {grades}. cpu_scale {figures.plain(costs.cpu_scale)}."
    warned = "".join(f" Warning: {w.rstrip('.')}." for w in costs.warnings)
    return (*made, ("Prices", prices + warned))


def machine(summary: Summary) -> str:
    """What most readers ask for; the section Environment has all."""
    said = [words.format(summary.machine[name]) for name, words in MACHINE.items() if name in summary.machine]
    return ", ".join(said) or ", ".join(f"{name} {value}" for name, value in summary.machine.items()) or "not recorded"


def claims(summary: Summary) -> str:
    return ", ".join(method.CLAIMS.get(claim, claim) for claim in summary.claims)


def deployments(summary: Summary) -> str:
    """How many, what that allows, and how many cells count."""
    valid = sum(c.valid for c in summary.cells)
    allowed = "verdicts are given" if summary.verdicts else "exploratory, intervals but no verdict"
    least = tellable(summary.detectable_ratio)
    smallest = f" Differences below {figures.share(least)} cannot be told." if least is not None else ""
    smallest += " So few tell no difference by a test." if tells_nothing(summary.detectable_ratio) else ""
    return f"{summary.deployments} of each: {allowed}. {valid} of {len(summary.cells)} cells are valid.{smallest}"


def floor(summary: Summary) -> str:
    return _floors(summary.floor_driver_ms, summary.floor_path_ms) + ". A difference below is not a difference."


def _floors(driver_ms: Mapping[str, Stat], path_ms: Mapping[str, Stat]) -> str:
    said = []
    for label, values in (("driver", driver_ms), ("path", path_ms)):
        stat = values.get("p50")
        said.append(f"{label} p50 {figures.figure(stat).text}" if stat is not None and stat.value is not None else f"{label} not measured")
    return " · ".join(said)


def driver(driving: Driving) -> str:
    """Where load came from, from how many processes, and what the floors are from elsewhere."""
    many = f": {driving.processes} at once, each with its share of one schedule" if driving.processes > 1 else ""
    said = f"{method.DRIVER[driving.place]}{many}."
    if driving.other:
        floors = _floors(driving.other_floor_driver_ms, driving.other_floor_path_ms)
        said += f" Floor from {driving.other}: {floors}."
    if driving.clock_error_ms is not None:
        said += f" Clocks of other machines are known within {figures.number(driving.clock_error_ms, 2)} ms."
    return said


def scalers(summary: Summary) -> tuple[str, ...]:
    """One sentence per group that something scaled: by what, and how far in the windows of the ladder."""
    return tuple(f"{g.name}: {_scaled(g)}." for g in filter(usable, summary.groups) if any(s.scaler for s in g.services))


def _scaled(group: Group) -> str:
    by: dict[str, list[str]] = {}
    for s in group.services:
        if s.scaler:
            by.setdefault(s.scaler, []).append(f"{s.service} {scaled_by(s).interval}")
    return "; ".join(f"{scaler} ({', '.join(services)})" for scaler, services in by.items())


def pricing(costs: Costs) -> str:
    """What compute is priced at, functions against all others, from the assumptions of the costs; empty without functions."""
    said = next((words for words in costs.assumptions if words.startswith(FUNCTION)), "")
    return f"{said[0].upper()}{said[1:]}; a VM or a container is priced at its configured vCPU and memory, used or not." if said else ""


def remarks(notes: Sequence[str], costs: Costs | None) -> tuple[str, ...]:
    """The notes of a comparison that the page does not say elsewhere."""
    said = [*costs.warnings, *(b.sentence for b in costs.break_even)] if costs else []
    known = tuple(words.rstrip(".").lower() for words in said if words)
    prices = f"prices: {costs.prices}, {costs.region}," if costs else "-"
    return tuple(n for n in notes if not n.lower().startswith((*known, prices)))
