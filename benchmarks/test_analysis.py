"""How long a run of a million samples takes to summarise, beside what pyarrow and numpy need to read and sort it, and how much memory."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from lab.analysis.summarize import summarize
from lab.rundir import RunDir
from tests.unit.runs import Behaviour, Recipe, build

SAMPLES = 1_000_000
CELLS = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Five deployments of two architectures, a tenth of the samples each, at 1,000 and 4,000 requests per second."""
    recipe = Recipe(
        architectures={"alpha": Behaviour(), "beta": Behaviour(median_ms=30.0, hops=3)},
        deployments=CELLS // 2,
        rates_per_s=(1000.0, 4000.0),
        window_s=SAMPLES / CELLS / 5000,
        floor=False,
    )
    return build(tmp_path_factory.mktemp("million"), recipe)


def test_summarise_a_million_samples(benchmark: BenchmarkFixture, run: RunDir) -> None:
    summary = benchmark.pedantic(summarize, (run,), rounds=3, warmup_rounds=1)
    assert sum(step.error_rate.n for g in summary.groups for step in g.steps) == SAMPLES
    assert all(v.valid for v in summary.cells)
    benchmark.extra_info["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_read_and_sort_a_million_samples(benchmark: BenchmarkFixture, run: RunDir) -> None:
    """The least that any analysis must do: the yardstick for the figure above."""
    assert benchmark.pedantic(_read_and_sort, (run.root / "cells",), rounds=3, warmup_rounds=1) == SAMPLES


def _read_and_sort(cells: Path) -> int:
    tables = [pq.ParquetFile(path).read() for path in sorted(cells.glob("*/samples.parquet"))]
    return sum(len(np.sort(t["done_s"].to_numpy() - t["intended_s"].to_numpy())) for t in tables)
