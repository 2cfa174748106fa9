"""A URL that already runs: nothing is deployed and nothing is measured inside it; load, validity and report work on it all the same."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from lab.contracts import Capabilities, Deployment, Endpoint, Fault
from lab.errors import InputError, MachineError
from lab.model import Event, Topology, Usage
from lab.settings import Settings

ANSWER_S = 10.0


class Provider:
    """`settings.url` is the service under test; its paths are those of the workload's operations, below the URL's own path."""

    name = "external"

    def __init__(self, settings: Settings) -> None:
        self._url = settings.url.rstrip("/")
        self._timeout_s = min(ANSWER_S, settings.start_timeout_s)
        self._endpoints: tuple[Endpoint, ...] = ()

    def capabilities(self, cpus: float = 1.0) -> Capabilities:
        """`cpus` is a budget of deployments, and there are none."""
        all_of_them = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
        return Capabilities(isolation="none", enforcement="none", deploys=False, driver_cpus=all_of_them)

    def prepare(self) -> None:
        self._connection().close()

    def up(self, report: Callable[[str], None] = lambda _: None, *, owner_pid: int | None = None) -> tuple[Endpoint, ...]:
        """Any answer will do, whatever its status. Raises MachineError when there is none."""
        report(f"asking {self._url}")
        status, server = self._ask()
        report(f"{self._url} answers {status}")
        self._endpoints = (Endpoint(service="external", kind="http", url=self._url, ready_s=0.0, version=server),)
        return self._endpoints

    def find(self) -> tuple[Endpoint, ...] | None:
        try:
            return self.up()
        except MachineError:
            return None

    def deploy(self, topology: Topology, deployment: str, seed: int) -> Deployment:
        self._ask()
        return Deployment(id=deployment, url=self._url, ready_s={})

    def retire(self, deployment: str) -> None:
        """What was not deployed stays."""

    def endpoints(self) -> tuple[Endpoint, ...]:
        return self._endpoints

    def logs(self, service: str = "", deployment: str = "") -> Iterator[str]:
        return iter(())

    def events(self, deployment: str) -> Sequence[Event]:
        return ()

    def usage(self) -> tuple[Usage, ...]:
        return ()

    def inject(self, deployment: str, service: str, fault: Fault, duration_s: float = 0.0) -> None:
        raise InputError(f"fault {fault}: what runs at {self._url} is not ours to break", "provider embedded or kind")

    def down(self) -> None:
        """It was not started here."""

    def destroy(self) -> tuple[str, ...]:
        return ()

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"url: found {self._url!r}, wanted http(s)://host[:port][/path]", "set `url` in lab.toml, LAB_URL or --url")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname, parts.port, timeout=self._timeout_s)

    def _ask(self) -> tuple[int, str]:
        """Status, and what the server calls itself."""
        connection = self._connection()
        try:
            connection.request("GET", urlsplit(self._url).path or "/")
            answer = connection.getresponse()
            return answer.status, answer.getheader("server") or ""
        except (OSError, http.client.HTTPException) as error:
            what = f"{self._url} does not answer within {self._timeout_s:g} s: {error or type(error).__name__}"
            raise MachineError(what, "start the service, or set `url` to where it runs") from error
        finally:
            connection.close()
