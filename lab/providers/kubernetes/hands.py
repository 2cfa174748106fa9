"""The Lab's agent in the cluster, as its provider asks it: buckets, schemas and readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from lab.providers.kubernetes import names
from lab.providers.kubernetes.cluster import Cluster
from lab.runtime.consumption import Reading

TARGET = f"services/{names.AGENT}:{names.PORT}"
OBJECT_S = 120.0


@dataclass(frozen=True)
class Hands:
    """Raises MachineError with what the agent says."""

    cluster: Cluster
    token: str

    def make_bucket(self, name: str) -> None:
        self._call("POST", f"/buckets/{name}")

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._call("PUT", f"/buckets/{bucket}/{quote(key)}", data, OBJECT_S)

    def remove_bucket(self, name: str) -> None:
        self._call("DELETE", f"/buckets/{name}", timeout_s=OBJECT_S)

    def drop_schemas(self, prefix: str) -> None:
        self._call("DELETE", f"/schemas/{prefix}", timeout_s=OBJECT_S)

    def usage(self, targets: Mapping[str, str]) -> Mapping[str, Reading | None]:
        """`targets`: a name -> the URL in the cluster that tells of it. None for one that did not answer."""
        answer = self._call("POST", "/usage", msgspec.json.encode({"targets": dict(targets)}))
        return msgspec.json.decode(answer, type=dict[str, Reading | None])

    def _call(self, method: str, path: str, body: bytes = b"", timeout_s: float = 30.0) -> bytes:
        return self.cluster.call(TARGET, method, path, body, {names.TOKEN_HEADER: self.token}, timeout_s)
