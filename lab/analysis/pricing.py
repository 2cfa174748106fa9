"""One group's measured figures and a price book in, its monthly bill out, or why there can be none."""

from __future__ import annotations

from lab.analysis.bill import Array, Bill, Line, Variation, memory_mib
from lab.analysis.functions import price_functions
from lab.analysis.managed import price_platform
from lab.analysis.price_book import PriceBook
from lab.analysis.rented import container_size, rent_containers, rent_vms, vm_type
from lab.analysis.results import Group, ServiceFigures


def why_missing(group: Group, book: PriceBook) -> str:
    """Why this group cannot be priced; empty when it can."""
    billed = [s for s in group.services if is_billed(s)]
    if not billed:
        return f"{group.name}: no service of the architecture was measured"
    for s in billed:
        needed = {"CPU per request": s.cpu_ms_per_request, "memory": s.memory_mib}
        for name, stat in needed.items():
            if stat.value is None:
                return f"{s.service}: {name} is missing ({stat.why_missing or 'not measured'})"
        if s.cpus_configured <= 0 or memory_mib(s, 1.0) <= 0:
            return f"{s.service}: its configured vCPU or memory is not known"
        if s.billing == "function":
            if s.invocations_per_request is None or s.billed_ms_per_request is None:
                return f"{s.service}: invocations and their duration were not measured"
            if s.start_s.value is None:
                return f"{s.service}: cold starts are billed, and its start was not measured ({s.start_s.why_missing or 'none seen'})"
        elif s.billing == "vm" and vm_type(s, book, 1.0) is None:
            return f"{s.service}: no VM type of {book.name} holds {s.cpus_configured:g} vCPU and {memory_mib(s, 1.0):g} MiB"
        elif s.billing == "container" and container_size(s, book, 1.0) is None:
            return f"{s.service}: no container size of {book.name} holds {s.cpus_configured:g} vCPU and {memory_mib(s, 1.0):g} MiB"
    return ""


def is_billed(service: ServiceFigures) -> bool:
    """Managed parts of an architecture (the activator) come with the function platform; platform services are priced as managed."""
    return service.tier == "architecture" and service.billing != "managed"


def price(group: Group, book: PriceBook, traffic_per_s: Array, variation: Variation, *, throttled: bool) -> Bill:
    """The bill of a group for which `why_missing` is empty. `throttled`: the provider held each function to its configured vCPU; where it
    did not, a function had a core of its own and is priced with the memory that buys one."""
    lines: list[Line] = []
    replicas: dict[str, Array] = {}
    steps: dict[str, float] = {}
    services = [s for s in group.services if is_billed(s)]
    for s in services:
        if s.billing in ("vm", "container"):
            rent = rent_vms if s.billing == "vm" else rent_containers
            fleet = rent(s, book, traffic_per_s, variation)
            lines += fleet.lines
            replicas[s.service] = fleet.count
            steps[s.service] = fleet.step_per_s
    functions = [s for s in services if s.billing == "function"]
    if functions:
        lines += price_functions(functions, book, traffic_per_s, variation, throttled)
    lines += price_platform(group, book, traffic_per_s, variation, only_functions=len(functions) == len(services))
    return Bill(book=book, lines=tuple(lines), replicas=replicas, steps_per_s=steps)
