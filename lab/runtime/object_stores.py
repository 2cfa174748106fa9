"""A bucket as stages see it: of any S3 endpoint, its twin in memory, and the clock that times each operation."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Final

from lab.contracts import ObjectStore
from lab.errors import MachineError
from lab.runtime.config import StoreAddress
from lab.runtime.credentials import StoreKeys, read_keys
from lab.runtime.timing import record

if TYPE_CHECKING:
    from aiohttp import ClientSession

CONNECT_S: Final = 2.0
ANSWER_S: Final = 10.0
TRIES_AGAIN: Final = 2
CONNECTIONS: Final = 16
SIGNED_FOR: Final = timedelta(minutes=1)


class S3Store:
    """One bucket of any S3 endpoint. The region is given, which saves a round trip per bucket. Operations are tried again on connection
    errors and 5xx, TRIES_AGAIN times at most."""

    def __init__(self, address: StoreAddress) -> None:
        import urllib3  # here, as the two take 0.3 s of CPU that a process without an object store need not spend
        from minio import Minio

        keys: StoreKeys = read_keys(address.credentials_path, StoreKeys)
        pool = urllib3.PoolManager(
            maxsize=CONNECTIONS,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S),
            retries=urllib3.Retry(total=TRIES_AGAIN, backoff_factor=0.05, status_forcelist=(500, 502, 503, 504), raise_on_status=False),
        )
        self._address, self._bucket = address, address.bucket
        self._session: ClientSession | None = None
        self._client = Minio(
            address.endpoint,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            secure=address.secure,
            region="us-east-1",
            http_client=pool,
        )

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        with self._errors(key):
            self._client.put_object(self._bucket, key, io.BytesIO(data), len(data), content_type=content_type)

    async def aput(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """One request that the SDK signs and aiohttp sends, for half the CPU of the SDK in a thread. Where it fails the SDK tries again and
        tells what is wrong."""
        import aiohttp  # as callers of other services have
        from yarl import URL

        if self._session is None:
            self._session = _session()
        url = URL(self._client.presigned_put_object(self._bucket, key, expires=SIGNED_FOR), encoded=True)
        try:
            async with self._session.put(url, data=data, headers={"content-type": content_type}) as response:
                await response.read()
                kept = response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            kept = False
        if not kept:
            await asyncio.to_thread(self.put, key, data, content_type)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def get(self, key: str) -> bytes:
        with self._errors(key):
            response = self._client.get_object(self._bucket, key)
            try:
                data: bytes = response.read()
                return data
            finally:
                response.close()
                response.release_conn()

    def keys(self, prefix: str = "") -> list[str]:
        with self._errors(prefix):
            return [found.object_name for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True)]

    def delete(self, key: str) -> None:
        with self._errors(key):
            self._client.remove_object(self._bucket, key)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        from minio.error import MinioException, S3Error
        from urllib3.exceptions import HTTPError

        where = f"the object store at {self._address.endpoint}"
        try:
            yield
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchObject"):
                raise KeyError(key) from error
            if error.code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
                hint = f"the keys in {self._address.credentials_path} are not (or no longer) its keys"
                raise MachineError(f"{where} refuses the bucket {self._bucket}: {error.code}", hint) from error
            what = f"{where} answered {error.code} for {self._bucket}/{key}"
            raise MachineError(what, "its log says why: `lab logs object_store`") from error
        except (HTTPError, MinioException, OSError) as error:
            raise MachineError(f"{where} cannot be reached: {error}", "is it running? `lab status`") from error


def _session() -> ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=ANSWER_S),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
    )


class MemoryStore:
    """A bucket in this process."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        self._objects[key] = bytes(data)

    async def aput(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        self.put(key, data, content_type)

    def get(self, key: str) -> bytes:
        return self._objects[key]

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in list(self._objects) if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)


class TimedStore:
    """Records a span of kind `store` per operation, failed ones too."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        began = perf_counter()
        try:
            self._store.put(key, data, content_type)
        finally:
            record("put", "store", began, len(data))

    async def aput(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        began = perf_counter()
        try:
            await self._store.aput(key, data, content_type)
        finally:
            record("put", "store", began, len(data))

    def get(self, key: str) -> bytes:
        began, data = perf_counter(), b""
        try:
            data = self._store.get(key)
            return data
        finally:
            record("get", "store", began, len(data))

    def keys(self, prefix: str = "") -> list[str]:
        began = perf_counter()
        try:
            return self._store.keys(prefix)
        finally:
            record("list", "store", began)

    def delete(self, key: str) -> None:
        began = perf_counter()
        try:
            self._store.delete(key)
        finally:
            record("delete", "store", began)


class AbsentStore:
    """What a service has whose stages asked for none."""

    def _refuse(self) -> MachineError:
        hint = "the topology's `needs` must name it, and a stage of the service say `stores`"
        return MachineError("this service has no object store", hint)

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        raise self._refuse()

    async def aput(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        raise self._refuse()

    def get(self, key: str) -> bytes:
        raise self._refuse()

    def keys(self, prefix: str = "") -> list[str]:
        raise self._refuse()

    def delete(self, key: str) -> None:
        raise self._refuse()
