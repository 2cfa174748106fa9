"""The machine that measured: what is hashed into its identity, what was measured, and the state it was in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | int | float


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineState:
    """At `at_s` (time.monotonic): one-minute load average, share of CPU time that the hypervisor took since the last state (None where
    it is not told), hottest sensor in degrees Celsius (None without sensors). Feeds validity, is never hashed."""

    at_s: float
    load1: float
    steal_share: float | None
    temperature_c: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """`machine` is hashed into `identity`; `subject` (git commit, dirty, scenario digest, seed, code_ref) and `states` are recorded only.

    `machine_class` names the class in words ("2 virtual cores"); `claims` lists what may be claimed on it, by metric name:
    cpu | bytes | cost | cold | p50 | tail | knee | scaling. `shared_cpus`: those of the driver that share a physical core with the
    architecture's."""

    identity: str
    machine: Mapping[str, Value]
    machine_class: str
    claims: tuple[str, ...]
    subject: Mapping[str, Value]
    command: str
    started_at: str
    finished_at: str = ""
    duration_s: float = 0.0
    states: tuple[MachineState, ...] = ()
    shared_cpus: tuple[int, ...] = ()
    schema_version: int = 1
