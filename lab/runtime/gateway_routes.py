"""From a topology, its operations and addresses to traefik's dynamic configuration, as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from lab.errors import MachineError
from lab.model import Operation, Topology
from lab.runtime.config import FUNCTIONS_PATH, OWN_PATH, READY_PATH

PROOF_PATH = "/.lab/ready"  # answers with the id of the deployment that is routed
PROOF_HEADER = "X-Lab-Deployment"
NO_ROUTES: Mapping[str, object] = {}
_EXACT, _PATTERN, _FIXED, _PAGE = 4000, 3000, 2000, 1  # priorities: the higher one is tried first
_OURS = "PathRegexp(`(?i)^{}`)".format(OWN_PATH.removesuffix("/") + "(/|%2f)")  # traefik keeps an escaped slash; the service does not


def routes(
    deployment: str, topology: Topology, operations: Sequence[Operation], addresses: Mapping[str, Sequence[str]]
) -> Mapping[str, object]:
    """traefik's dynamic configuration: a router per operation, the page or the contract below them, and the proof of who is routed.

    Nothing below OWN_PATH is routed. A service whose addresses are names of a cluster has one server, behind which the cluster balances.
    `addresses`: base URLs per service; those of functions end in FUNCTIONS_PATH/NAME, which becomes a prefix."""
    standing = [s for s in topology.services if s.scaling != "to_zero"]
    hosts = [s.name for s in standing if s.role == "host"]
    described = (hosts or [topology.routes[op.name] for op in operations])[0]
    routers: dict[str, object] = {}
    for op in operations:
        rule, exact = _rule(op)
        routers[op.name] = _router(rule, topology.routes[op.name], _EXACT if exact else _PATTERN, topology)
    routers["lab-contract"] = _router("Path(`/openapi.json`)", described, _FIXED, topology)
    routers["lab-readiness"] = _router(f"Path(`{READY_PATH}`)", (hosts or [s.name for s in standing])[0], _FIXED, topology)
    routers["lab-proof"] = {**_router(f"Path(`{PROOF_PATH}`)", standing[0].name, _EXACT, topology), "middlewares": ["proof", "readiness"]}
    page = next((s.name for s in topology.services if s.page), None)
    if page is not None:
        routers["lab-page"] = _router(f"PathPrefix(`/`) && !{_OURS}", page, _PAGE, topology)
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
    return f"{method} && PathRegexp(`^{'[^/]+'.join(map(re.escape, parts))}$`)" + (
        f" && !{_OURS}" if OWN_PATH.startswith(parts[0]) else ""
    ), False


def _router(rule: str, service: str, priority: int, topology: Topology) -> dict[str, object]:
    router: dict[str, object] = {"rule": rule, "service": service, "priority": priority, "entryPoints": ["web"]}
    if topology.service(service).scaling == "to_zero":
        router["middlewares"] = [f"to-{service}"]
    return router


def _balancer(urls: Sequence[str]) -> dict[str, object]:
    """Paths of base URLs are left to the middleware: traefik ignores them."""
    servers = [{"url": "{0.scheme}://{0.netloc}".format(urlsplit(url))} for url in urls]
    return {"loadBalancer": {"servers": servers}}
