"""From the addresses of an object store and a database to what deployments need there: buckets and schemas, made, filled and removed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lab.errors import MachineError
from lab.runtime.config import DatabaseAddress, StoreAddress
from lab.runtime.credentials import DatabaseKeys, StoreKeys, read_keys

if TYPE_CHECKING:
    import psycopg
    from minio import Minio

PROBE_BUCKET = "lab-ready"
CONNECT_S, ANSWER_S = 2.0, 30.0
STORE_LOG, DATABASE_LOG = "`lab logs object_store` shows why", "`lab logs database` shows why"


# ---- buckets ---------------------------------------------------------------------------------------------------------


def store_client(store: StoreAddress) -> Minio:
    """Of the whole store: its `bucket` is not looked at."""
    import urllib3
    from minio import Minio

    keys: StoreKeys = read_keys(store.credentials_path, StoreKeys)
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S), retries=False)
    return Minio(
        endpoint=store.endpoint,
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        secure=store.secure,
        region="us-east-1",  # asking for it would cost a request
        http_client=pool,
    )


def make_bucket(store: StoreAddress, objects: Mapping[str, bytes]) -> None:
    """Raises MachineError also when it is there already: a deployment begins with nothing."""
    client = store_client(store)
    with _asking(store, f"make bucket {store.bucket}"):
        client.make_bucket(bucket_name=store.bucket)
    for key, data in objects.items():
        _put(client, store, key, data)


def put_object(store: StoreAddress, key: str, data: bytes) -> None:
    _put(store_client(store), store, key, data)


def _put(client: Minio, store: StoreAddress, key: str, data: bytes) -> None:
    with _asking(store, f"take {store.bucket}/{key}"):
        client.put_object(bucket_name=store.bucket, object_name=key, data=io.BytesIO(data), length=len(data))


def remove_bucket(store: StoreAddress) -> None:
    """With all its objects and their versions; fine if it is not there."""
    from minio.error import S3Error

    client = store_client(store)
    with _asking(store, f"remove bucket {store.bucket}"):
        try:
            client.remove_bucket(bucket_name=store.bucket)  # SeaweedFS drops the contents with it
        except S3Error as error:
            if error.code == "NoSuchBucket":
                return
            if error.code != "BucketNotEmpty":
                raise
            _empty(client, store.bucket)
            client.remove_bucket(bucket_name=store.bucket)


def _empty(client: Minio, bucket: str) -> None:
    from minio.deleteobjects import DeleteObject

    listed = client.list_objects(bucket_name=bucket, recursive=True, include_version=True)
    names = (DeleteObject(str(found.object_name), found.version_id) for found in listed)
    for failed in client.remove_objects(bucket_name=bucket, delete_object_list=names):
        raise MachineError(f"cannot delete {failed.name} in bucket {bucket}: {failed.message}", STORE_LOG)


def probe_store(store: StoreAddress) -> None:
    """Writes one object: a store that lists buckets may still be unable to store."""
    probe = store_client(store)
    with _asking(store, "take an object"):
        if not probe.bucket_exists(bucket_name=PROBE_BUCKET):
            probe.make_bucket(bucket_name=PROBE_BUCKET)
        probe.put_object(bucket_name=PROBE_BUCKET, object_name="ready", data=io.BytesIO(b"1"), length=1)


def remove_probe(store: StoreAddress) -> None:
    """From a store that somebody else runs."""
    with _asking(store, "delete an object"):
        store_client(store).remove_object(bucket_name=PROBE_BUCKET, object_name="ready")


def reach_store(store: StoreAddress) -> None:
    """Writes nothing. Raises MachineError unless the store answers with our credentials."""
    with _asking(store, "answer"):
        store_client(store).bucket_exists(bucket_name=PROBE_BUCKET)


@contextlib.contextmanager
def _asking(store: StoreAddress, what: str) -> Iterator[None]:
    """Raises MachineError for whatever the store or the way to it has against `what`."""
    from minio.error import MinioException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (MinioException, HTTPError, OSError) as error:
        url = f"{'https' if store.secure else 'http'}://{store.endpoint}"
        raise MachineError(f"the object store at {url} did not {what}: {error}", STORE_LOG) from error


# ---- schemas ---------------------------------------------------------------------------------------------------------


def drop_schemas(database: DatabaseAddress, prefix: str) -> None:
    """All schemas called <prefix>_..., with what is in them."""
    from psycopg.sql import SQL, Identifier

    with _connected(database) as connection:
        names = [str(row[0]) for row in connection.execute("SELECT nspname FROM pg_namespace")]
        for name in names:
            if name.startswith(f"{prefix}_"):
                connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(name)))


def reach_database(database: DatabaseAddress) -> None:
    """Raises MachineError unless the server answers with our credentials."""
    with _connected(database):
        pass


@contextlib.contextmanager
def _connected(database: DatabaseAddress) -> Iterator[psycopg.Connection]:
    import psycopg
    from psycopg.conninfo import make_conninfo

    keys: DatabaseKeys = read_keys(database.credentials_path, DatabaseKeys)
    to = make_conninfo(
        host=database.host, port=database.port, dbname=database.name, user=keys.user, password=keys.password, connect_timeout=5
    )
    try:
        with psycopg.connect(to, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise MachineError(f"the database at {database.host}:{database.port} refuses: {error}", DATABASE_LOG) from error
