"""VMs and containers: a service's CPU and memory in, the smallest listed machines that fit and their monthly rent out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.analysis.bill import EDGE, MIB_PER_GIB, Array, Line, Variation, cpu_s, memory_mib
from lab.analysis.price_book import PriceBook
from lab.analysis.results import ServiceFigures


@dataclass(frozen=True, slots=True)
class Fleet:
    lines: tuple[Line, ...]
    count: Array
    step_per_s: float


def _count(need_vcpu: Array, capacity_vcpu: float, least: float) -> Array:
    return np.maximum(least, np.ceil(need_vcpu / capacity_vcpu - EDGE))


def measured_instances(s: ServiceFigures, traffic: Array, v: Variation) -> Array | None:
    """Of a service that a scaler on CPU sized: the mean number seen at each rate, between the rates in proportion, above the highest in
    proportion to its CPU; with other CPU per request (`v`) as at the rate that took as much. None: nothing scaled it."""
    local_s = (s.cpu_ms_per_request.value or 0.0) / 1000.0
    if s.replicas is None or not local_s:
        return None
    as_here = traffic * cpu_s(s, v) / local_s
    rates, counts = np.array(s.replicas.x), np.array(s.replicas.y)
    return np.asarray(np.interp(as_here, rates, counts) * np.maximum(1.0, as_here / rates[-1]), np.float64)


def _step_per_s(s: ServiceFigures, capacity_vcpu: float, v: Variation, measured: Array | None) -> float:
    """The traffic that one replica more takes; a scaler's mean has no steps."""
    return capacity_vcpu / cpu_s(s, v) if measured is None and cpu_s(s, v) > 0 else float("inf")


def _rent(s: ServiceFigures, sku: str, keys: tuple[str, ...], asset: Array, used: Array) -> tuple[Line, ...]:
    """What is used of the rented machines, and what stands idle."""
    idle = np.maximum(asset - used, 0.0)
    return (
        Line(kind="compute", service=s.service, sku=sku, keys=keys, allocation=asset - idle, usage=asset - idle),
        Line(kind="idle", service=s.service, sku=sku, keys=keys, allocation=idle, usage=np.zeros_like(asset)),
    )


def vm_type(s: ServiceFigures, book: PriceBook, memory: float) -> str | None:
    """The cheapest listed type that holds one instance."""
    types = book.mapping.vm.types
    fits = [n for n, t in types.items() if t.vcpu >= s.cpus_configured and t.gib * MIB_PER_GIB >= memory_mib(s, memory)]
    return min(fits, key=lambda n: book.price(types[n].price), default=None)


def rent_vms(s: ServiceFigures, book: PriceBook, traffic: Array, v: Variation) -> Fleet:
    """A VM of a service holds as many of its instances as fit; CPU above a burstable type's baseline is bought as surplus credits."""
    rule, hours = book.mapping.vm, book.hours_per_month
    name = vm_type(s, book, v.memory) or max(rule.types, key=lambda n: rule.types[n].gib)
    vm = rule.types[name]
    instances = max(1.0, np.floor(min(vm.vcpu / s.cpus_configured, vm.gib * MIB_PER_GIB / memory_mib(s, v.memory)) + EDGE))
    capacity = min(instances * s.cpus_configured, vm.vcpu) * book.assumptions.target_utilisation.value
    need = traffic * cpu_s(s, v)
    least, measured = book.assumptions.minimum_replicas.value, measured_instances(s, traffic, v)
    count = _count(need, capacity, least) if measured is None else np.maximum(least, measured / instances)
    hourly, ratio = book.price(vm.price), book.rule(rule.cpu_to_memory)
    gib_hour = hourly / (vm.vcpu * ratio + vm.gib)
    used_gib = np.minimum((s.memory_mib.value or 0.0) / MIB_PER_GIB * np.ceil(need / (capacity / instances) - EDGE).clip(1), count * vm.gib)
    used = np.minimum(need, count * vm.vcpu) * gib_hour * ratio + used_gib * gib_hour
    lines = _rent(s, f"{rule.called} {name}", (vm.price,), count * hourly * hours, used * hours)
    if vm.baseline is not None and rule.surplus is not None:
        surplus = np.maximum(need - count * vm.vcpu * book.rule(vm.baseline), 0.0) * book.price(rule.surplus) * hours
        sku, keys = f"surplus CPU credits of {name}", (rule.surplus, vm.baseline)
        lines += (Line(kind="compute", service=s.service, sku=sku, keys=keys, allocation=surplus, usage=surplus),)
    return Fleet(lines, count, _step_per_s(s, capacity, v, measured))


def container_size(s: ServiceFigures, book: PriceBook, memory: float) -> tuple[float, float] | None:
    """(vCPU, GiB) of the cheapest size that holds one instance."""
    rule = book.mapping.container
    fits = [
        (size.vcpu, gib)
        for size in rule.sizes
        for gib in size.gib
        if size.vcpu >= s.cpus_configured and gib * MIB_PER_GIB >= memory_mib(s, memory)
    ]
    return min(fits, key=lambda x: x[0] * book.price(rule.vcpu) + x[1] * book.price(rule.memory), default=None)


def rent_containers(s: ServiceFigures, book: PriceBook, traffic: Array, v: Variation) -> Fleet:
    rule, hours = book.mapping.container, book.hours_per_month
    vcpu, gib = container_size(s, book, v.memory) or (rule.sizes[-1].vcpu, rule.sizes[-1].gib[-1])
    capacity = vcpu * book.assumptions.target_utilisation.value
    need = traffic * cpu_s(s, v)
    least, measured = book.assumptions.minimum_replicas.value, measured_instances(s, traffic, v)
    count = _count(need, capacity, least) if measured is None else np.maximum(least, measured)
    cpu_hour, gib_hour = book.price(rule.vcpu), book.price(rule.memory)
    asset = count * (vcpu * cpu_hour + gib * gib_hour) * hours
    used_gib = np.minimum((s.memory_mib.value or 0.0) / MIB_PER_GIB, gib) * count
    used = (np.minimum(need, count * vcpu) * cpu_hour + used_gib * gib_hour) * hours
    lines = _rent(s, f"{rule.called} {vcpu:g} vCPU / {gib:g} GB", (rule.vcpu, rule.memory), asset, used)
    return Fleet(lines, count, _step_per_s(s, capacity, v, measured))
