"""The waterfall adds up to the median it explains, and counts what the headers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lab.analysis import cloud
from lab.analysis.results import Group, Span
from lab.analysis.summarize import summarize
from lab.analysis.waterfall import NO_HEADER, SEQUENTIAL, counts, waterfall
from lab.runtime import timing
from tests.unit.runs import DATABASE_MS, HOP_MS, HOST_MS, STAGE_MS, STORE_MS, Behaviour, Recipe, build, header


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Group]:
    recipe = Recipe(architectures={"near": Behaviour(hops=0), "far": Behaviour(hops=3, median_ms=40.0), "mute": Behaviour(timing=False)})
    return {g.name: g for g in summarize(build(tmp_path_factory.mktemp("run"), recipe)).groups}


def test_the_headers_of_these_runs_are_those_that_services_send() -> None:
    spans = timing.parse(header(2))
    assert [(s.kind, s.service) for s in spans[:3]] == [("total", "app"), ("stage", "app"), ("store", "app")]
    assert len(spans) == header(2).count("dur=")


@pytest.mark.parametrize(("name", "hops"), [("near", 0), ("far", 3)])
def test_the_bars_are_those_of_the_headers_in_order_of_time(groups: dict[str, Group], name: str, hops: int) -> None:
    bars = groups[name].waterfall
    assert [b.start_ms for b in bars] == sorted(b.start_ms for b in bars)
    by_name = {b.name: b for b in bars}
    assert (by_name["infer"].service, by_name["infer"].kind, by_name["infer"].duration_ms) == ("model", "stage", pytest.approx(STAGE_MS))
    assert by_name["put"].duration_ms == pytest.approx(STORE_MS) and by_name["execute"].duration_ms == pytest.approx(DATABASE_MS)
    assert [b.name for b in bars if b.kind == "stage"] == ["ingest", "preprocess", "infer", "record"]
    assert sum(b.count for b in bars if b.kind == "hop") == hops
    assert by_name["driver lag"].duration_ms == pytest.approx(0.5)
    assert by_name["host"].duration_ms == pytest.approx(HOST_MS)


@pytest.mark.parametrize("name", ["near", "far"])
def test_what_follows_one_another_adds_up_to_the_median(groups: dict[str, Group], name: str) -> None:
    bars = groups[name].waterfall
    whole = sum(b.duration_ms for b in bars if b.kind in (*SEQUENTIAL, "other"))
    assert groups[name].primary.value == pytest.approx(whole, rel=0.05)
    last = max(bars, key=lambda b: b.start_ms + b.duration_ms)
    assert last.start_ms + last.duration_ms == pytest.approx(whole)


def test_counts_of_one_headline_request(groups: dict[str, Group]) -> None:
    far = groups["far"].counts
    assert (far.hops, far.store_writes, far.store_reads, far.database_trips) == (3.0, 1.0, 0.0, 1.0)
    assert (far.hop_ms, far.store_ms, far.database_ms) == (HOP_MS, STORE_MS, DATABASE_MS)
    assert (far.bytes_in, far.bytes_out, far.why_missing) == (5000.0, 200.0, "")
    assert groups["near"].counts.hop_ms is None


def test_function_calls_and_busy_time_are_of_headline_requests(tmp_path: Path) -> None:
    """One in ten requests is a read, which does not call the function: 0.9 calls per request of all operations, 1 per headline request."""
    run = build(tmp_path, Recipe(architectures={"serverless": Behaviour(cold_ms=1200.0)}, deployments=1, floor=False))
    events = run.cell("01-serverless-S").events
    lines = [line for i, line in enumerate(events.read_text().splitlines()) if i % 10 or "invocation" not in line]
    events.write_text("\n".join(lines) + "\n")
    (group,) = summarize(run).groups
    model = next(s for s in group.services if s.service == "model")
    assert model.invocations_per_request == pytest.approx(0.9, rel=0.02) and set(model.durations_ms) == {8.0}
    assert (group.counts.function_calls, group.counts.functions) == (1.0, 1.0)
    assert group.counts.busy_ms == pytest.approx(4 * STAGE_MS + HOST_MS - STORE_MS - DATABASE_MS)
    of = cloud.passes(group)
    assert (of.call, of.cpu_ms) == (1.0, group.counts.busy_ms)
    assert group.cpu_ms_architecture.value != pytest.approx(of.cpu_ms, rel=0.05)


def test_a_service_that_is_no_function_is_not_called_as_one(groups: dict[str, Group]) -> None:
    assert (groups["far"].counts.function_calls, groups["far"].counts.functions) == (0.0, 0.0)
    assert groups["mute"].counts.function_calls is None and groups["mute"].counts.busy_ms is None


def test_without_headers_nothing_is_counted_and_that_is_said(groups: dict[str, Group]) -> None:
    mute = groups["mute"]
    assert mute.waterfall == ()
    assert mute.counts.why_missing == NO_HEADER and mute.counts.hop_ms is None
    assert mute.counts.bytes_in == 5000.0
    assert waterfall(()) == () and counts(()).why_missing == NO_HEADER


def test_a_span_that_only_some_requests_have_is_a_mean_over_all(tmp_path: Path) -> None:
    """Half of the requests wait 4 ms in a queue."""
    import pyarrow.parquet as pq

    run = build(tmp_path, Recipe(architectures={"alpha": Behaviour()}, deployments=1, floor=False))
    path = run.cell("01-alpha-S").samples
    table = pq.read_table(path)
    queued = np.arange(table.num_rows) % 2 == 0
    longer = header(1).replace("dur=19.0", "dur=23.0") + ', app;dur=4;desc="queue@app+0.1"'
    values = np.where(queued, longer, header(1))
    place = table.schema.get_field_index("server_timing")
    pq.write_table(table.set_column(place, table.schema.field(place), [values.tolist()]), path)
    (queue,) = (b for b in summarize(run).groups[0].waterfall if b.kind == "queue")
    assert isinstance(queue, Span)
    assert queue.duration_ms == pytest.approx(4 * queue.count) and 0.3 < queue.count < 0.9
