"""Cost of the paths that a request or an analysis goes through often: statistics, a hop between hosts, noop, the object store."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from lab import registry, spawn
from lab.analysis import stats, worth
from lab.model import Budget, Shape
from lab.providers.embedded import leftovers, object_store
from lab.providers.embedded.layout import Layout
from lab.runtime.stores import S3Store
from lab.settings import Settings

SEVEN = np.random.default_rng(1).lognormal(3.0, 0.3, (7, 1500))


def test_interval_of_a_merged_percentile(benchmark: BenchmarkFixture) -> None:
    place = np.arange(1500) / 1500
    windows, ordered = [worth.runs(one, place) for one in SEVEN], np.sort(SEVEN.ravel())
    assert benchmark(stats.quantile_stat, ordered, 0.95, "ms", windows).low is not None


def test_ratio_of_two_arms(benchmark: BenchmarkFixture) -> None:
    a, b = SEVEN[:, 0].tolist(), SEVEN[:, 1].tolist()
    assert benchmark(stats.ratio, a, b, paired=True).stat.value is not None


@pytest.mark.parametrize("architecture", ["three_tier", "microservices"])
def test_noop_end_to_end(benchmark: BenchmarkFixture, tmp_path: Path, architecture: str) -> None:
    """One request on a kept connection; microservices adds the hops between hosts."""
    provider = registry.provider("fake")(Settings(provider="fake", name="bench", home=str(tmp_path)))
    noop, architect = registry.workload("noop"), registry.architecture(architecture)
    shape = Shape(name="noop", model_size="S", stages=noop.stages, operations=noop.operations)
    provider.up()
    try:
        url = urlsplit(provider.deploy(architect.place(shape, Budget(), architect.Options()), "bench", 1).url)
        connection = http.client.HTTPConnection(url.hostname or "", url.port)
        request = noop.payload(1, 0, "classify")

        def once() -> int:
            connection.request(request.method, request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            answer.read()
            return answer.status

        assert benchmark(once) == 200
        connection.close()
    finally:
        provider.destroy()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Store]:
    layout = Layout(tmp_path_factory.mktemp("store") / "lab")
    layout.make()
    record = spawn.Record(path=layout.processes, lab_id=spawn.new_lab_id(layout.state))
    try:
        store = object_store.run("seaweedfs", layout, record, time.monotonic() + 30.0)
        store.make_bucket("bench", {})
        yield S3Store(store.address("bench"))
    finally:
        leftovers.sweep(layout, grace_s=0)


def test_store_put(benchmark: BenchmarkFixture, bucket: S3Store) -> None:
    benchmark(bucket.put, "image", bytes(50_000))
    assert len(bucket.get("image")) == 50_000


def test_store_get(benchmark: BenchmarkFixture, bucket: S3Store) -> None:
    bucket.put("image", bytes(50_000))
    assert len(benchmark(bucket.get, "image")) == 50_000
