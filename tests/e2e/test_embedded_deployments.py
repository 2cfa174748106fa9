"""Deployments on the embedded platform: they come, crash, are told, and leave nothing of theirs."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from lab import registry
from lab.contracts import Deployment
from lab.errors import MachineError
from lab.model import Budget, Shape, Topology
from lab.providers.embedded import Provider
from lab.providers.embedded.control import Client, DeployRequest
from lab.providers.embedded.layout import Layout
from lab.runtime.answers import MAX_BODY_BYTES
from lab.runtime.config import ModelAddress
from lab.runtime.object_stores import S3Store
from lab.settings import Settings
from tests.asking import ask
from tests.embedded import deadline, noop, processes, stores


def test_replicas_come_and_go(standing: Provider) -> None:
    made = standing.deploy(noop("serverless"), "c-1", seed=1)
    replicas = standing.replicas("c-1")
    name = next(s.name for s in noop("serverless").services if s.scaling == "to_zero")
    assert replicas.get(name) == ()
    url, phases = replicas.add(name)
    assert replicas.get(name) == (url,)
    assert ask(url, "/readyz").status == 200
    assert {"spawn_ms", "import_ms", "open_ms", "model_ms", "total_ms"} <= set(phases)
    assert phases["total_ms"] >= phases["import_ms"] + phases["open_ms"]
    used = next(u.cpu_s for u in standing.usage() if u.service == name)
    replicas.remove(name, url)
    replicas.remove(name, url)
    assert replicas.get(name) == ()
    after = next(u for u in standing.usage() if u.service == name)
    assert after.instances == 0
    assert after.cpu_s is not None and used is not None and after.cpu_s >= used > 0, "the dead count on"
    assert after.memory_mib == 0
    replicas.set(name, 2)
    assert len(replicas.get(name)) == 2
    replicas.set(name, 0)
    assert replicas.get(name) == ()
    assert ask(made.control_url, "/readyz").status == 200
    standing.retire("c-1")


def test_a_service_that_crashes_later_is_an_event_and_counts_no_more(standing: Provider, shared: Settings) -> None:
    standing.deploy(noop("three_tier"), "c-1", seed=1)
    processes(shared)["model"].kill()
    limit = deadline()
    while not (crashes := [e for e in standing.events("c-1") if e.kind == "crash"]):
        assert time.monotonic() < limit
    assert [e.service for e in crashes] == ["model"]
    assert crashes[0].values["exit"] == -9
    assert {u.service: u.instances for u in standing.usage() if u.tier == "architecture"} == {"app": 1, "model": 0}
    standing.retire("c-1")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no CPU affinity")
def test_architecture_and_platform_sit_on_their_cores(standing: Provider, shared: Settings) -> None:
    can = standing.capabilities()
    standing.deploy(noop("three_tier"), "c-1", seed=1)
    for service, process in processes(shared).items():
        expected = can.system_cpus if service in ("app", "model") else can.driver_cpus
        for thread in process.threads():
            assert os.sched_getaffinity(thread.id) == set(expected), service
    standing.retire("c-1")


def vision() -> Topology:
    workload, placing = registry.workload("vision"), registry.architecture("three_tier")
    shape = Shape(name="vision", model_size="S", stages=workload.stages, operations=workload.operations)
    return placing.place(shape, Budget(), placing.Options())


def test_a_body_over_the_limit_gets_its_answer_through_the_gateway(standing: Provider) -> None:
    made = standing.deploy(noop("three_tier"), "c-1", seed=1)
    request = replace(registry.workload("noop").payload(1, 0, "classify"), body=b"x" * (2 * MAX_BODY_BYTES))
    assert ask(made.url, request).status == 413


def test_what_the_store_has_against_a_deployment_is_told(standing: Provider, shared: Settings) -> None:
    store, database = stores(shared, standing.endpoints())
    database.close()
    store.make_bucket("d-c-1", {})
    with pytest.raises(MachineError, match=r"did not make bucket d-c-1: .*BucketAlready"):
        standing.deploy(vision(), "c-1", seed=1)
    standing.deploy(noop("three_tier"), "c-1", seed=1)


def test_a_bug_of_the_supervisor_is_told_and_its_log_says_where(standing: Provider) -> None:
    request = DeployRequest(
        topology=vision(),
        deployment="c-1",
        seed=1,
        operations=(),
        project=".",
        model=ModelAddress(key="m", sha256=""),
        model_path="/no/file",
    )
    with pytest.raises(MachineError, match=r"the supervisor failed at 'deploy': FileNotFoundError: .*/no/file") as told:
        Client(standing._layout.control).call("deploy", request, Deployment)
    assert "`lab logs supervisor`" in told.value.hint
    assert standing.find() is not None
    limit = deadline()
    while not any("Traceback" in line for line in standing.logs("supervisor")):
        assert time.monotonic() < limit


def test_a_fresh_bucket_and_schemas_for_each_deployment_and_none_after(standing: Provider, shared: Settings) -> None:
    store, database = stores(shared, standing.endpoints())
    workload = registry.workload("vision")
    made = standing.deploy(vision(), "c-1", seed=1)
    request = workload.payload(1, 0, "classify")
    assert workload.check(request, ask(made.url, request)) in (True, False)
    keys = S3Store(store.address("d-c-1")).keys()
    assert f"models/{workload.model_name('S')}.onnx" in keys
    schemas = "select count(*) from pg_namespace where nspname like 'd\\_c\\_1\\_%%'"
    assert database.execute(schemas)[0][0] > 0
    standing.retire("c-1")
    assert not store.client().bucket_exists(bucket_name="d-c-1")
    assert database.execute(schemas)[0][0] == 0
    assert not Layout(shared.state).deployment("c-1").exists()
    database.close()


def test_logs_are_lines_of_a_service_or_of_a_deployment(standing: Provider) -> None:
    assert any("ready to accept connections" in line for line in standing.logs("database"))
    assert {line.partition(" | ")[0] for line in standing.logs("database")} == {"database"}
    assert {line.partition(" | ")[0] for line in standing.logs()} >= {"database", "object_store"}
    made = standing.deploy(noop("serverless"), "c-1", seed=1)
    assert ask(made.url, registry.workload("noop").payload(1, 0, "classify")).status == 200
    limit = deadline()
    while not (lines := list(standing.logs("activator", deployment="c-1"))):
        assert time.monotonic() < limit
    assert {line.partition(" | ")[0] for line in lines} == {"activator-1"}
    assert list(standing.logs("gateway", deployment="c-1")) == []
    assert "cold_start" in {e.kind for e in standing.events("c-1")}
    standing.retire("c-1")
    assert standing.events("c-1") == ()
