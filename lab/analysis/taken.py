"""Runs of one scenario on several providers in, each with its groups under the same names out; or what forbids to put them side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.analysis.results import Comparison, CostAt, Group, Summary
from lab.errors import InputError
from lab.model import Environment, Plan, Stat
from lab.rundir import RunDir


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One run as it was read. `groups` have names without the provider, the same in every run of the scenario, in the run's order."""

    name: str
    plan: Plan
    about: Environment
    summary: Summary
    comparison: Comparison
    groups: Mapping[str, Group]

    def common(self, name: str) -> str:
        """The common name of a group that this run calls `name`."""
        return next((common for common, g in self.groups.items() if g.name == name), name)

    def cost_at(self, group: str, traffic_per_s: float) -> CostAt | None:
        of = self.comparison.costs.at if self.comparison.costs else ()
        return next((at for at in of if at.group == self.groups[group].name and at.traffic_per_s == traffic_per_s), None)

    def absent(self, *groups: str) -> str:
        """Which of them has no valid deployment; empty when all have one."""
        none = {name: self.groups[name].deployments for name in groups if not self.groups[name].valid_deployments}
        return "; ".join(f"{name}: no valid deployment of {n}" for name, n in none.items())

    def month(self, group: str, traffic_per_s: float) -> Stat:
        found = self.cost_at(group, traffic_per_s)
        return found.month_allocation if found else Stat.missing("USD/month", "no cost was computed", basis="priced")


def take(runs: Sequence[RunDir]) -> tuple[Taken, ...]:
    """Raises InputError with every reason why they cannot stand side by side."""
    read = [
        Taken(
            name=_provider(plan := run.read(run.plan, Plan)),
            plan=plan,
            about=run.read(run.environment, Environment),
            summary=(summary := run.read(run.summary, Summary)),
            comparison=run.read(run.comparison, Comparison),
            groups={_common(g, summary): g for g in summary.groups},
        )
        for run in runs
    ]
    problems = list(_problems(read))
    if problems:
        raise InputError("these runs cannot stand side by side", "run the same scenario once on each provider", problems)
    return tuple(read)


def provider(run: RunDir) -> str:
    return _provider(run.read(run.plan, Plan))


def _provider(plan: Plan) -> str:
    return next((c.provider for c in plan.cells if c.role == "subject"), str(plan.settings.get("provider", "unknown")))


def _common(group: Group, summary: Summary) -> str:
    sizes = {g.model_size for g in summary.groups}
    return "-".join(filter(None, (group.architecture, group.variant, group.model_size if len(sizes) > 1 else "")))


def _problems(read: Sequence[Taken]) -> Iterator[str]:
    first = read[0]
    for n, t in enumerate(read):
        twin = next((o for o in read[:n] if o.name == t.name), None)
        if twin is not None:
            yield f"{twin.summary.run} and {t.summary.run} both ran on provider {t.name}; wanted one run of each provider"
        if t.plan.scenario_sha256 != first.plan.scenario_sha256:
            yield f"{t.summary.run} ran another scenario ({_scenario(t)}) than {first.summary.run} ({_scenario(first)})"
        elif t.groups.keys() != first.groups.keys():
            yield f"{t.summary.run} has the groups {', '.join(t.groups)}, {first.summary.run} has {', '.join(first.groups)}"
        if _prices(t) != _prices(first):
            yield f"{t.summary.run} is priced with {_prices(t)}, {first.summary.run} with {_prices(first)}: `lab analyze` prices again"


def _scenario(t: Taken) -> str:
    return f"{t.plan.scenario} {t.plan.scenario_sha256[:8]}"


def _prices(t: Taken) -> str:
    costs = t.comparison.costs
    return f"{costs.prices}, cpu_scale {costs.cpu_scale:g}" if costs else "nothing"
