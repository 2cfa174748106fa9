"""From ConfigMaps, Secrets and sizes to what pods mount: files below /etc/lab, scratch folders, and claims of persistent volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lightkube.models.core_v1 import (
    ConfigMapProjection,
    EmptyDirVolumeSource,
    KeyToPath,
    PersistentVolumeClaimSpec,
    ProjectedVolumeSource,
    SecretProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
    VolumeResourceRequirements,
)
from lightkube.resources.core_v1 import PersistentVolumeClaim

from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects.site import Site

CREDENTIALS = "credentials.json"  # the key of a Secret that holds all its fields as JSON
READABLE = 0o440  # by the pod's group


@dataclass(frozen=True, kw_only=True)
class Mounted:
    """A volume and where it is mounted."""

    volume: Volume
    mount: VolumeMount


def files(name: str, *sources: VolumeProjection, path: str = names.FOLDER) -> Mounted:
    """Several ConfigMaps and Secrets in one folder; changes arrive in running pods."""
    volume = Volume(name=name, projected=ProjectedVolumeSource(sources=list(sources), defaultMode=READABLE))
    return Mounted(volume=volume, mount=VolumeMount(name=name, mountPath=path, readOnly=True))


def config(config_map: str, paths: Mapping[str, str]) -> VolumeProjection:
    """`paths`: key of the ConfigMap -> path in the folder."""
    return VolumeProjection(configMap=ConfigMapProjection(name=config_map, items=_items(paths)))


def secret(name: str, *keys: str) -> VolumeProjection:
    """Each key as the file <name>/<key>."""
    return VolumeProjection(secret=SecretProjection(name=name, items=_items({key: f"{name}/{key}" for key in keys})))


def token() -> VolumeProjection:
    """What guards the pods that are reached through the API server, as names.TOKEN_PATH."""
    return secret("agent", "token")


def scratch(name: str, path: str, size: str = "1Gi") -> Mounted:
    """Empty at the pod's start, gone at its end."""
    return Mounted(volume=Volume(name=name, emptyDir=EmptyDirVolumeSource(sizeLimit=size)), mount=VolumeMount(name=name, mountPath=path))


def claim(site: Site, name: str, size: str, labels: Mapping[str, str]) -> PersistentVolumeClaim:
    """A template for a StatefulSet; the volume is mounted under the claim's name."""
    return PersistentVolumeClaim(
        metadata=site.metadata(name, labels),
        spec=PersistentVolumeClaimSpec(
            accessModes=["ReadWriteOnce"],
            resources=VolumeResourceRequirements(requests={"storage": size}),
            storageClassName=site.storage_class or None,
        ),
    )


def _items(paths: Mapping[str, str]) -> list[KeyToPath]:
    return [KeyToPath(key=key, path=path) for key, path in paths.items()]
