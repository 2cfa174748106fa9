"""From a topology to what its service processes are told in their pods: configurations, addresses and names; pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from lab.model import Topology
from lab.providers.kubernetes import names, objects
from lab.providers.kubernetes.instances import Handle
from lab.runtime.config import FUNCTIONS_PATH, ModelAddress, ServiceConfig, StoreAddress
from lab.runtime.naming import bucket, schema_prefix
from lab.settings import Settings


def store(settings: Settings, bucket: str) -> StoreAddress:
    """Of the Lab's own, or of somebody's whose URL is the setting."""
    if "://" not in settings.object_store:
        return objects.store_address(bucket)
    parts = urlsplit(settings.object_store)
    return StoreAddress(endpoint=parts.netloc, bucket=bucket, credentials_path=names.STORE_CREDENTIALS, secure=parts.scheme == "https")


def configs(topology: Topology, deployment: str, model: ModelAddress | None, settings: Settings) -> Mapping[str, ServiceConfig]:
    """By service."""
    needs = set(topology.needs)
    functions = {s.name: names.dns(deployment, s.name) for s in topology.services if s.scaling == "to_zero"}
    handle = Handle(
        namespace=names.namespace(settings.name),
        deployment=deployment,
        services=functions,
        start_timeout_s=settings.start_timeout_s,
    )
    return {
        service.name: ServiceConfig(
            provider="kubernetes",
            deployment=deployment,
            service=service.name,
            instance=1,
            topology=topology,
            addresses_path=names.ADDRESSES_PATH,
            schema_prefix=schema_prefix(deployment),
            store=store(settings, bucket(deployment)) if needs & {"object_store", "model"} else None,
            database=objects.database_address() if "database" in needs else None,
            model=model,
            host="0.0.0.0",
            port=names.PORT,
            replicas_handle=msgspec.json.encode(handle).decode() if service.role == "activator" else "",
        )
        for service in topology.services
    }


def addresses(topology: Topology, deployment: str) -> Mapping[str, list[str]]:
    """Base URLs by service; functions are reached through the activator, whether they run or not."""
    activators = [names.url(deployment, s.name) for s in topology.services if s.role == "activator"]
    return {
        s.name: [f"{url}{FUNCTIONS_PATH}/{s.name}" for url in activators] if s.scaling == "to_zero" else [names.url(deployment, s.name)]
        for s in topology.services
    }
