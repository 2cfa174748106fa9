"""The gateway's routes as plain data: from a topology, operations and addresses to what traefik serves, and what it never does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lab.model import Budget, Operation, Service, Shape, Topology
from lab.registry import architecture, workload
from lab.runtime import gateway_routes
from lab.runtime.host import app
from lab.spawn import Record, new_lab_id
from tests.unit.serving import LIMIT_S, Chain, ask, config, echo, serving, tools, topology


def placed(name: str) -> Topology:
    found, placing = workload("noop"), architecture(name)
    shape = Shape(name="noop", model_size="S", stages=found.stages, operations=found.operations)
    return placing.place(shape, Budget(), placing.Options())


def routed(
    topology: Topology, operations: Sequence[Operation], urls: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, dict[str, object]]]:
    return gateway_routes.routes("c-1", topology, operations, urls)["http"]  # type: ignore[return-value]


def routes(name: str) -> dict[str, dict[str, dict[str, object]]]:
    topology = placed(name)
    urls = {s.name: [f"http://127.0.0.1:{1000 + i}"] for i, s in enumerate(topology.services)}
    return routed(topology, workload("noop").operations, urls)


def test_an_operation_is_its_method_and_path() -> None:
    routers = routes("three_tier")["routers"]
    assert routers["classify"]["rule"] == "Method(`POST`) && Path(`/v1/classify`)"
    assert routers["result"]["rule"] == "Method(`GET`) && PathRegexp(`^/v1/results/[^/]+$`)"
    assert routers["classify"]["priority"] > routers["result"]["priority"]  # type: ignore[operator]


def test_functions_are_reached_below_the_activator() -> None:
    made = routes("serverless")
    entry = made["routers"]["classify"]["service"]
    assert made["routers"]["classify"]["middlewares"] == [f"to-{entry}"]
    assert made["middlewares"][f"to-{entry}"] == {"addPrefix": {"prefix": f"/functions/{entry}"}}
    assert "middlewares" not in made["routers"]["lab-readiness"], "asking for readiness starts no function"


def test_the_page_gets_what_nothing_else_wants() -> None:
    page = routes("three_tier")["routers"]["lab-page"]
    assert (page["rule"], page["service"]) == ("PathPrefix(`/`) && !PathRegexp(`(?i)^/-(/|%2f)`)", "app")
    assert page["priority"] == min(r["priority"] for r in routes("three_tier")["routers"].values())  # type: ignore[type-var]
    assert "lab-page" not in routes("microservices")["routers"]


def test_a_service_scaled_on_cpu_is_reached_directly() -> None:
    topology = placed("three_tier")
    urls = {s.name: [f"http://{s.name}:8080"] for s in topology.services}
    scaled = replace(topology, services=tuple(replace(s, scaling="on_cpu", max_instances=3) for s in topology.services))
    operations = workload("noop").operations
    assert routed(scaled, operations, urls) == routed(topology, operations, urls)


def test_names_of_a_cluster_are_addresses() -> None:
    topology = placed("serverless")
    door = "http://d-activator.lab-x.svc:8080"
    urls = {s.name: [f"{door}/functions/{s.name}" if s.scaling == "to_zero" else door] for s in topology.services}
    made = routed(topology, workload("noop").operations, urls)["services"]
    assert all(service == {"loadBalancer": {"servers": [{"url": door}]}} for service in made.values())


@pytest.mark.parametrize(("path", "excluded"), [("/{a}/{b}", True), ("/-{a}/usage", True), ("/v1/{a}", False), ("/--/{a}", False)])
def test_no_pattern_reaches_what_a_service_tells_the_lab_only(path: str, excluded: bool) -> None:
    operation = Operation(name="op", kind="read", method="GET", path=path, stages=("a",), weight=1.0, headline=True)
    topology = Topology(architecture="t", workload="w", services=(Service(name="one", stages=("a",)),), routes={"op": "one"})
    rule = routed(topology, [operation], {"one": ["http://one:8080"]})["routers"]["op"]["rule"]
    assert isinstance(rule, str) and ("!PathRegexp" in rule) == excluded


def test_no_spelling_of_a_path_reaches_what_a_service_tells_the_lab_only(tmp_path: Path) -> None:
    """With the real gateway in front of a real service whose page gets all other paths."""
    from lab.providers.embedded import gateway
    from lab.providers.embedded.layout import Layout, remove_tree

    layout = Layout(tmp_path / "state")
    layout.make()
    deadline = time.monotonic() + LIMIT_S
    workload = Chain({"echo": echo})
    placed = topology(Service(name="one", stages=("echo",), page=True))
    found = gateway.run(layout, Record(path=layout.processes, lab_id=new_lab_id(layout.state)), deadline)
    try:
        with serving(app(config(placed, "one"), tools(), workload)) as url:  # type: ignore[arg-type]
            found.route(gateway_routes.routes("d", placed, workload.operations, {"one": [url]}))
            found.await_deployment("d", deadline)
            assert ask(url, "GET", "/-/usage").status == 200, "the service itself tells it"
            assert ask(found.endpoint.url, "GET", "/").status == 200
            assert ask(found.endpoint.url, "GET", "/other").status == 404
            for path in (
                "/-/usage",
                "//-/usage",
                "/-//usage",
                "/%2d/usage",
                "/-%2fusage",
                "/%2d%2Fusage",
                "/x/../-/usage",
                "/./-/usage",
                "/%2D/usage?x",
                "/x%2f..%2f-%2Fusage",
                "/-%252fusage",
            ):
                answer = ask(found.endpoint.url, "GET", path)
                assert answer.status >= 300 and b"cpu_s" not in answer.body, path
    finally:
        found.process.stop()
        remove_tree(layout.run)
