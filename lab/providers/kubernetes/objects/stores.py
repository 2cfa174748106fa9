"""From a Site to the object store and the database: one pod each with a volume, closed to everybody without the Lab's credentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from lightkube.models.core_v1 import Container, EnvVar, EnvVarSource, SecretKeySelector, VolumeMount

from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects import pods, probes, volumes
from lab.providers.kubernetes.objects.services import service
from lab.providers.kubernetes.objects.site import Object, Site
from lab.providers.kubernetes.objects.volumes import Mounted
from lab.providers.kubernetes.objects.workloads import stateful
from lab.runtime.config import DatabaseAddress, StoreAddress

Store = Literal["minio", "seaweedfs", "external"]
DATA = "data"  # the claim of either
DATA_PATH = "/data"
DATABASE_NAME = "postgres"
STORE_KEYS = f"{names.FOLDER}/store"
DATABASE_KEYS = f"{names.FOLDER}/database"
OFFICIAL_UID, ALPINE_UID = 999, 70  # of the user postgres in official images
SOCKETS = volumes.scratch("sockets", "/var/run/postgresql", "1Mi")  # of official images, whose scripts look for it there
# As on the embedded provider, whose figures stand beside these. Dynamic shared memory in files: a pod's /dev/shm is small.
DATABASE_OPTIONS = {
    "listen_addresses": "*",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",
    "min_dynamic_shared_memory": "8MB",
    "jit": "off",
}


def store_address(bucket: str) -> StoreAddress:
    """Of the Lab's own as pods reach it, with the credentials that are mounted in them."""
    return StoreAddress(endpoint=f"{names.STORE}:{names.STORE_PORT}", bucket=bucket, credentials_path=names.STORE_CREDENTIALS)


def database_address() -> DatabaseAddress:
    """As pods reach it, with the credentials that are mounted in them."""
    return DatabaseAddress(host=names.DATABASE, port=names.DATABASE_PORT, name=DATABASE_NAME, credentials_path=names.DATABASE_CREDENTIALS)


def object_store(site: Site, store: Store) -> list[Object]:
    """Nothing for one that somebody else runs."""
    if store == "external":
        return []
    minio = store == "minio"
    credentials = volumes.files("credentials", volumes.secret("store", "access_key", "secret_key"))
    made = pods.container(
        names.STORE,
        site.images.store if minio else site.images.platform,
        pods.between((0.1, 4.0), (256, 1024)),
        probes.http(names.STORE_PORT, *(("/minio/health/ready", "/minio/health/live") if minio else ("/healthz", "/healthz"))),
        ports={"main": names.STORE_PORT},
        mounts=[credentials],
        command=["lab-minio", "server"] if minio else ["lab-seaweed"],
        args=["--address", f":{names.STORE_PORT}", "--certs-dir", "/tmp/certs", f"{DATA_PATH}/minio"] if minio else [DATA_PATH],
        env={
            "MINIO_ROOT_USER_FILE": f"{STORE_KEYS}/access_key",
            "MINIO_ROOT_PASSWORD_FILE": f"{STORE_KEYS}/secret_key",
            "GOMEMLIMIT": "768MiB",
        },
        pull=site.images.pull,
    )
    return _standing(site, "object_store", names.STORE_PORT, made, [credentials], size="10Gi")


def database(site: Site) -> list[Object]:
    """PostgreSQL; an official image runs with its own entry point and user, and takes the same arguments and variables as ours."""
    official = site.images.postgres
    credentials = volumes.files("credentials", volumes.secret("database", "user", "password"))
    mounted = [credentials, SOCKETS] if official else [credentials]
    made = pods.container(
        names.DATABASE,
        official or site.images.platform,
        pods.between((0.1, 4.0), (128, 1024)),
        probes.tcp(names.DATABASE_PORT),
        ports={"main": names.DATABASE_PORT},
        mounts=mounted,
        command=[] if official else ["lab-postgres"],
        args=[part for name, value in DATABASE_OPTIONS.items() for part in ("-c", f"{name}={value}")],
        env={
            "POSTGRES_PASSWORD_FILE": f"{DATABASE_KEYS}/password",
            "POSTGRES_DB": DATABASE_NAME,
            "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256 --encoding=UTF8 --locale=C",
            "POSTGRES_HOST_AUTH_METHOD": "scram-sha-256",
            "PGDATA": f"{DATA_PATH}/postgres",
        },
        pull=site.images.pull,
    )
    user = EnvVar(name="POSTGRES_USER", valueFrom=EnvVarSource(secretKeyRef=SecretKeySelector(name="database", key="user")))
    made.env = [user, *(made.env or [])]
    return _standing(site, "database", names.DATABASE_PORT, made, mounted, size="10Gi", uid=database_uid(official))


def database_uid(official: str) -> int:
    """Official images know one user, which must own the data; ours takes any."""
    if not official:
        return pods.UID
    return ALPINE_UID if "alpine" in official.rpartition(":")[2] else OFFICIAL_UID


def _standing(
    site: Site, name: str, port: int, made: Container, mounted: Sequence[Mounted], *, size: str, uid: int = pods.UID
) -> list[Object]:
    labels: Mapping[str, str] = site.labels(name, "platform")
    dns = names.host(name)
    made.volumeMounts = [*(made.volumeMounts or []), VolumeMount(name=DATA, mountPath=DATA_PATH)]
    meter, token = pods.meter(site)
    template = pods.pod(site, names.DRIVER, labels, [made, meter], [*mounted, token], uid=uid, grace_s=30)
    return [
        service(site, dns, labels, port, node_port=site.node_ports.get(name)),
        stateful(site, dns, labels, template, volumes.claim(site, DATA, size, labels)),
    ]
