"""The platform as managed services: operations and bytes per request in, gateway, object store, database and egress out."""

from __future__ import annotations

import numpy as np

from lab.analysis.bill import GIB, SECONDS_PER_HOUR, Array, Line, Variation, requests_per_month, tiered
from lab.analysis.price_book import PriceBook
from lab.analysis.results import Group


def price_platform(group: Group, book: PriceBook, traffic: Array, v: Variation, *, only_functions: bool) -> list[Line]:
    m, hours, counts = book.mapping, book.hours_per_month, group.counts
    months = requests_per_month(book, traffic)

    def line(kind: str, service: str, sku: str, keys: tuple[str, ...], usd: Array) -> Line:
        return Line(kind=kind, service=service, sku=sku, keys=keys, allocation=usd, usage=usd)

    lines = _gateway(group, book, traffic, v) if not only_functions else []
    if only_functions:
        usd, keys = tiered(book, m.gateway.api, months, v.all_grades, per=1e6)
        lines.append(line("requests", "gateway", m.gateway.api_called, keys, usd))
    if counts.store_writes + counts.store_reads > 0:
        store, kept = m.object_store, book.assumptions.retention_days.value * 24 / hours
        kept_gb = months * kept * (counts.bytes_in if counts.store_writes > 0 else 0.0) / GIB
        writes = months / 1000.0 * counts.store_writes * book.price(store.write)
        reads = months / 1000.0 * counts.store_reads * book.price(store.read)
        lines.append(line("requests", "object_store", f"{store.called} writes and listings", (store.write,), writes))
        lines.append(line("requests", "object_store", f"{store.called} reads", (store.read,), reads))
        lines.append(line("storage", "object_store", f"{store.called} storage", (store.storage,), kept_gb * book.price(store.storage)))
    if counts.database_trips > 0:
        flat = np.ones_like(traffic)
        storage = book.assumptions.database_storage.value * book.price(m.database.storage)
        lines.append(line("shared_fixed", "database", m.database.called, (m.database.hour,), flat * book.price(m.database.hour) * hours))
        lines.append(line("shared_fixed", "database", f"{m.database.called} storage", (m.database.storage,), flat * storage))
    usd, keys = tiered(book, m.egress, months * counts.bytes_out / GIB, v.all_grades)
    lines.append(line("egress", "network", "to the internet", keys, usd))
    return lines


def _gateway(group: Group, book: PriceBook, traffic: Array, v: Variation) -> list[Line]:
    """A load balancer: its hours, and capacity units by the larger of new connections and gigabytes."""
    rule, hours, counts = book.mapping.gateway, book.hours_per_month, group.counts
    connections = traffic / book.assumptions.requests_per_connection.value / book.rule(rule.unit_connections)
    gigabytes = traffic * SECONDS_PER_HOUR * (counts.bytes_in + counts.bytes_out) / GIB / book.rule(rule.unit_gb)
    fixed = np.full_like(traffic, book.price(rule.balancer_hour) * hours)
    units = np.maximum(connections, gigabytes) * book.price(rule.unit_hour) * hours
    return [
        Line(kind="shared_fixed", service="gateway", sku=rule.balancer_called, keys=(rule.balancer_hour,), allocation=fixed, usage=fixed),
        Line(
            kind="requests",
            service="gateway",
            sku=f"{rule.balancer_called} capacity units",
            keys=(rule.unit_hour,),
            allocation=units,
            usage=units,
        ),
    ]
