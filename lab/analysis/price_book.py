"""What a price book holds: sourced unit prices, billing rules, assumptions, and the mapping from billing class to what is bought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

Grade = Literal["A", "B", "C"]
Text = Annotated[str, Meta(min_length=1)]
Amount = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
AsOf = Annotated[str, Meta(pattern=r"^(unknown|\d{4}(-\d{2}(-\d{2})?)?)$")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """One sourced figure. `as_of`: YYYY-MM-DD, YYYY-MM, YYYY or unknown; of a range of days the first counts."""

    value: Amount
    unit: Text
    as_of: AsOf
    source: Text
    grade: Grade
    derived: str = ""

    def age_days(self, today: date) -> int | None:
        """None when the source has no date."""
        if self.as_of == "unknown":
            return None
        year, month, day = (*(int(part) for part in self.as_of.split("-")), 1, 1)[:3]
        return (today - date(year, month, day)).days


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumption:
    value: Positive
    unit: Text
    why: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class VmType:
    """`baseline` names the rule with the share of each vCPU that the hourly price of a burstable type covers."""

    vcpu: Positive
    gib: Positive
    price: str
    baseline: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class VmRule:
    """`called`, here and below: the provider's name for it."""

    called: Text
    types: Mapping[str, VmType]
    cpu_to_memory: str
    surplus: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerSize:
    vcpu: Positive
    gib: tuple[Positive, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerRule:
    called: Text
    vcpu: str
    memory: str
    sizes: tuple[ContainerSize, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tier:
    """`price` holds up to this cumulative monthly quantity; the last tier has no end."""

    price: str
    up_to: Positive | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionRule:
    called: Text
    request: str
    duration: tuple[Tier, ...]
    granularity: str
    cold_start_share: str
    mb_per_vcpu: str
    free_requests: str
    free_duration: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayRule:
    api_called: Text
    balancer_called: Text
    api: tuple[Tier, ...]
    balancer_hour: str
    unit_hour: str
    unit_connections: str
    unit_gb: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreRule:
    called: Text
    write: str
    read: str
    storage: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseRule:
    called: Text
    hour: str
    storage: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SkuMapping:
    """From billing class to what is bought. Strings name prices or rules of the book."""

    vm: VmRule
    container: ContainerRule
    function: FunctionRule
    gateway: GatewayRule
    object_store: StoreRule
    database: DatabaseRule
    egress: tuple[Tier, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumptions:
    target_utilisation: Assumption
    minimum_replicas: Assumption
    requests_per_connection: Assumption
    retention_days: Assumption
    database_storage: Assumption


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceBook:
    schema_version: Literal[1]
    name: Text
    region: Text
    currency: Literal["USD"]
    hours_per_month: Positive
    grades: Mapping[str, str]
    prices: Mapping[str, Price]
    rules: Mapping[str, Price]
    assumptions: Assumptions
    mapping: SkuMapping
    extends: str = ""
    overrides: tuple[str, ...] = ()

    def price(self, key: str) -> float:
        return self.prices[key].value

    def rule(self, key: str) -> float:
        return self.rules[key].value

    def record(self, key: str) -> Price:
        return self.prices[key] if key in self.prices else self.rules[key]
