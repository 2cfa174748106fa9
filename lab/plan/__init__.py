"""Compiles a scenario and the resolved settings to a Plan: pure, seeded, with every rule that a topology breaks reported at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from lab import sides
from lab.contracts import Capabilities
from lab.errors import InputError
from lab.model import Cell, CodeRef, EnvironmentPlan, Plan, ServicePlan
from lab.plan import checks
from lab.plan.cells import Cells, Driving, budget
from lab.plan.placing import place, shape
from lab.power import VERDICT_DEPLOYMENTS, detectable_ratio
from lab.scenario import Scenario, Serve
from lab.settings import Settings
from lab.sides import Placed

__all__ = ["ASSUMED_SPREAD", "DRIVER_RATE_PER_S", "compile", "place", "shape"]

DRIVER_RATE_PER_S = 1000.0  # assumed of one driver process that is not late, until this machine's own is learned
ASSUMED_SPREAD = 0.10  # log-scale standard deviation between deployments, until this machine's own is learned


def compile(
    scenario: Scenario,
    settings: Settings,
    capabilities: Capabilities,
    *,
    spread: float | None = None,
    rate_per_driver_per_s: float | None = None,
    refs: Sequence[CodeRef] = (),
    placed: Placed | None = None,
) -> Plan:
    """`spread`: the learned log-scale standard deviation between deployments on this machine; None assumes 10 %.
    `rate_per_driver_per_s`: what one driver process was seen to send here without being late; None assumes DRIVER_RATE_PER_S. With `refs`
    (base and head) every subject is planned once of each side, as often as the gate may need; `placed`: as its own code places it."""
    body = _served(scenario, settings, capabilities, refs, placed or {})
    driving = Driving(
        capabilities=capabilities,
        asked=settings.driver_processes,
        place=capabilities.driver,
        rate_per_s=rate_per_driver_per_s or DRIVER_RATE_PER_S,
    )
    deployments = body.gate.most if refs and body.gate else body.deployments
    cells = Cells(
        body=body,
        provider=settings.provider,
        deploys=capabilities.deploys,
        driving=driving,
        deployments=deployments,
        sides=tuple(r.name for r in refs),
        placed=placed or {},
    ).all()
    checks.cells(cells, settings.provider, capabilities)
    return dataclasses.replace(
        _planned(scenario, body, capabilities, cells, driving, deployments),
        detectable_ratio=detectable_ratio(spread or ASSUMED_SPREAD, deployments, comparisons=_pairs(body, refs)),
        spread=spread or ASSUMED_SPREAD,
        spread_source="learned on this machine" if spread else "assumed",
        settings=_flat(settings),
        refs=tuple(refs),
    )


def _served(scenario: Scenario, settings: Settings, capabilities: Capabilities, refs: Sequence[CodeRef], placed: Placed) -> Serve:
    """The body of a scenario that can be planned here. Raises InputError for any other."""
    body = scenario.body
    if not isinstance(body, Serve):
        raise InputError(f"{scenario.name} is a scenario of kind {body.kind}", "`lab train` runs kind train")
    checks.sizes(body)
    sides.check(scenario.name, body, refs, placed)
    if capabilities.deploys and not body.architectures:
        raise InputError(
            f"{scenario.name} names no architecture", f"provider {settings.provider} deploys; `lab list architectures` shows which"
        )
    return body


def _planned(
    scenario: Scenario, body: Serve, capabilities: Capabilities, cells: Sequence[Cell], driving: Driving, deployments: int
) -> Plan:
    """Without what this machine taught, what the settings say, and the sides of a gate."""
    return Plan(
        scenario=scenario.name,
        scenario_sha256=scenario.sha256,
        workload=body.workload,
        budget=budget(body),
        cells=tuple(cells),
        deployments=deployments,
        verdicts=deployments >= VERDICT_DEPLOYMENTS,
        primary_metric=body.primary_metric,
        primary_rate_per_s=_primary_rate(body, driving),
        slo_percentile=body.slo.percentile,
        slo_ms=body.slo.latency_ms,
        error_rate_limit=body.slo.error_rate,
        traffic_per_s=tuple(body.traffic_per_s),
        prices=body.prices,
        seed=body.seed,
        isolation=capabilities.isolation,
        enforcement=capabilities.enforcement,
        expected_s=capabilities.up_s + sum(c.expected_s for c in cells),
        detectable_ratio=None,
        spread=ASSUMED_SPREAD,
        spread_source="assumed",
        scaler=capabilities.scaler,
        gate=sides.gate(body),
        service=ServicePlan(**body.service.model_dump()) if body.service else None,
        environment=EnvironmentPlan(**body.environment.model_dump()) if body.environment else None,
    )


def _primary_rate(body: Serve, driving: Driving) -> float:
    """Of a search the first probe's, which every deployment has; of a closed loop 0."""
    load = body.load.compile(body.slo, driving.rate_per_s)
    primary, rates = body.primary_rate_per_s or load.rates_per_s[0], load.rates_per_s
    if primary not in rates:
        wanted = "none: a closed loop asks for no rate" if load.closed else f"one of load.rates_per_s {list(rates)}"
        raise InputError(f"primary_rate_per_s: found {primary:g}, wanted {wanted}", "verdicts need a measured rate")
    return primary


def _pairs(body: Serve, refs: Sequence[CodeRef]) -> int:
    """How many comparisons share the error rate: each pair of architectures at each size; of a gate, each subject's two sides."""
    if refs:
        return max(1, len(body.architectures)) * len(body.model_size)
    return max(1, math.comb(len(body.architectures), 2) * len(body.model_size))


def _flat(settings: Settings) -> Mapping[str, str | float]:
    return {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("home", "runs")}
