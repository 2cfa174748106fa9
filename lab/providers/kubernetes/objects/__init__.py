"""From topologies, jobs and credentials to the objects of a cluster; pure, every object is plain data."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from lab.providers.kubernetes.objects.architecture import architecture
from lab.providers.kubernetes.objects.gateway import routes
from lab.providers.kubernetes.objects.job import job
from lab.providers.kubernetes.objects.platform import namespace, platform
from lab.providers.kubernetes.objects.site import Images, Object, Site
from lab.providers.kubernetes.objects.stores import Store, database_address, store_address

__all__ = [
    "Images",
    "Object",
    "Site",
    "Store",
    "architecture",
    "database_address",
    "job",
    "namespace",
    "platform",
    "routes",
    "store_address",
    "to_yaml",
]


class _Dumper(yaml.SafeDumper):
    """Files in ConfigMaps as they look."""


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, "|" if "\n" in text else None))


def to_yaml(objects: Iterable[Object]) -> str:
    """As `kubectl apply -f` reads it."""
    found = [made.to_dict() for made in objects]
    return yaml.dump_all(found, Dumper=_Dumper, sort_keys=True, explicit_start=True, width=140)
