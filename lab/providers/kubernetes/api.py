"""How one namespace of a cluster is talked to: requests, watches, logs, calls to pods; what fails is a MachineError."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec
from lightkube import ApiError, Client
from lightkube.config.client_adapter import Client as http_client
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError
from lightkube.core.resource import NamespacedResource, api_info

from lab.errors import MachineError
from lab.providers.kubernetes.connection import connection

T = TypeVar("T", bound=NamespacedResource)

FIELD_MANAGER = "lab"
ANSWER_S = 20.0


class Api:
    """Connects at the first call. Safe for several threads."""

    def __init__(self, kubeconfig: Path | None, context: str, namespace: str) -> None:
        self._kubeconfig, self._context = kubeconfig, context
        self.namespace = namespace

    @cached_property
    def config(self) -> SingleConfig:
        return connection(self._kubeconfig, self._context)

    @property
    def server(self) -> str:
        return str(self.config.cluster.server)

    @property
    def _trusts_proxies(self) -> bool:
        """As kubectl does: those of the environment, but never for this very machine."""
        return urlsplit(self.server).hostname not in ("127.0.0.1", "localhost", "::1")

    @cached_property
    def client(self) -> Client:
        with self.errors("connect"):
            made = Client(
                config=self.config,
                namespace=self.namespace,
                field_manager=FIELD_MANAGER,
                timeout=_timeout(ANSWER_S),
                trust_env=self._trusts_proxies,
            )
        weakref.finalize(self, made.close)
        return made

    @cached_property
    def http(self) -> httpx2.Client:
        """For what is not an object of the API: calls to pods, raw lists, streams."""
        with self.errors("connect"):
            made = http_client(self.config, ConnectionParams(timeout=_timeout(ANSWER_S), trust_env=self._trusts_proxies))
        weakref.finalize(self, made.close)
        return made

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            raise _refused(what, error) from error
        except (httpx2.HTTPError, OSError, ConfigError) as error:
            why = str(error) or type(error).__name__
            raise MachineError(
                f"the cluster at {self.server} does not answer ({what}): {why}", "does it still stand? `kubectl cluster-info`; `lab clean`"
            ) from error

    def watch(self, kind: type[T], selector: str, timeout_s: int) -> Iterator[tuple[str, T]]:
        """(ADDED | MODIFIED | DELETED, object), beginning with those that are there; ends after `timeout_s`."""
        info = api_info(kind)
        base = f"/apis/{info.resource.group}" if info.resource.group else "/api"
        params = {"watch": "true", "labelSelector": selector, "timeoutSeconds": str(timeout_s)}
        url = f"{base}/{info.resource.version}/namespaces/{self.namespace}/{info.plural}"
        patience = httpx2.Timeout(ANSWER_S, read=timeout_s + ANSWER_S)
        with self.errors(f"watch {kind.__name__}"), self.http.stream("GET", url, params=params, timeout=patience) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                change = msgspec.json.decode(line, type=_Change)
                if change.type in ("ADDED", "MODIFIED", "DELETED"):
                    yield change.type, kind.from_dict(change.object)  # type: ignore[attr-defined]

    # ---- pods ----------------------------------------------------------------------------------------------------------

    def call(
        self, target: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, timeout_s: float = 30.0
    ) -> bytes:
        """Through the API server's proxy; `target` is "pods/NAME:PORT" or "services/NAME:PORT". Raises MachineError for any status but
        2xx, with what the answer says."""
        answer = self.request(target, method, path, body, headers, timeout_s)
        if answer.is_success:
            return bytes(answer.content)
        said = _words(answer.content)
        raise MachineError(f"{target} answered {answer.status_code} to {method} {path}: {said}", "`lab logs` says more")

    def request(
        self, target: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, timeout_s: float = 30.0
    ) -> httpx2.Response:
        """As `call`, but whatever the status is."""
        with self.errors(f"{method} {path} of {target}"):
            return self.http.request(
                method, self.proxied(target, path), content=body, headers=dict(headers or {}), timeout=_timeout(timeout_s)
            )

    def proxied(self, target: str, path: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{target}/proxy{path}"

    def logs(self, pod: str, container: str = "", *, lines: int | None = None, previous: bool = False) -> list[str]:
        """Empty where the container has none (yet)."""
        params = {"container": container, "tailLines": "" if lines is None else str(lines), "previous": "true" if previous else ""}
        with self.errors(f"logs of {pod}"):
            answer = self.http.get(
                f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log", params={k: v for k, v in params.items() if v}, timeout=_timeout(60.0)
            )
        return answer.text.splitlines() if answer.status_code == 200 else []


class _Change(msgspec.Struct):
    type: str
    object: dict[str, Any]


def _timeout(seconds: float) -> httpx2.Timeout:
    return httpx2.Timeout(seconds, connect=min(5.0, seconds))


def _words(content: bytes) -> str:
    """What an error answer says: of a service of ours, of the API server, or as it is."""
    with contextlib.suppress(msgspec.DecodeError):
        told = msgspec.json.decode(content)
        if isinstance(told, dict):
            return "; ".join(str(told[k]) for k in ("error", "message", "hint") if told.get(k))
    return content[:500].decode(errors="replace")


def _refused(what: str, error: ApiError) -> MachineError:
    code, message = error.status.code, error.status.message or str(error)
    hints = {
        401: "the kubeconfig's credentials are not (or no longer) accepted: log in again",
        403: "ask for the permission, or use another context (kubernetes.context)",
    }
    return MachineError(f"the cluster refuses to {what}: {message}", hints.get(code or 0, "`kubectl get events -A` may say more"))
