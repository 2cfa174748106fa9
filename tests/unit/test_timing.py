"""Server-Timing: what is recorded comes back from `parse`, on the answering service's clock, in a header of bounded size."""

from __future__ import annotations

import threading
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.runtime.timing import CURRENT, LIMIT, Recorder, Span, parse, record

TOKENS = st.from_regex(r"[a-z][a-z0-9_.-]{0,30}", fullmatch=True)


def by(spans: tuple[Span, ...], name: str, kind: str) -> Span:
    return next(s for s in spans if (s.name, s.kind) == (name, kind))


def test_the_first_entry_is_the_total_of_the_answering_service() -> None:
    recorder = Recorder("app")
    recorder.add("ingest", "stage", recorder.began, perf_counter())
    total, stage = parse(recorder.header())
    assert (total.name, total.kind, total.service, total.start_ms) == ("app", "total", "app", 0.0)
    assert (stage.name, stage.kind, stage.service, stage.count, stage.units) == ("ingest", "stage", "app", 1.0, 0)
    assert 0 <= stage.duration_ms <= total.duration_ms


def test_the_documented_form() -> None:
    text = 'infer;dur=4.81;desc="stage@model+1.96", gw;dur=3, execute;dur=1.5;desc="database@app+0.10*2.5:17"'
    assert parse(text) == (
        Span(name="infer", kind="stage", service="model", start_ms=1.96, duration_ms=4.81),
        Span(name="execute", kind="database", service="app", start_ms=0.1, duration_ms=1.5, count=2.5, units=17),
    )


@given(name=TOKENS, service=TOKENS, start=st.floats(0, 1e3), duration=st.floats(0, 1e3), units=st.integers(0, 10**9))
def test_what_is_added_is_parsed(name: str, service: str, start: float, duration: float, units: int) -> None:
    recorder = Recorder(service)
    began = recorder.began + start / 1e3
    recorder.add(name, "store", began, began + duration / 1e3, units)
    _, span = parse(recorder.header())
    assert (span.name, span.kind, span.service, span.units) == (name, "store", service, units)
    assert span.start_ms == pytest.approx(start, abs=0.01) and span.duration_ms == pytest.approx(duration, abs=0.002)


def test_equal_entries_are_added_up() -> None:
    recorder = Recorder("app")
    for at in (0.003, 0.001):
        recorder.add("put", "store", recorder.began + at, recorder.began + at + 0.010, 100)
    recorder.add("put", "stage", recorder.began, recorder.began + 1)
    store = by(parse(recorder.header()), "put", "store")
    assert (store.count, store.units) == (2.0, 200)
    assert store.start_ms == pytest.approx(1.0, abs=0.01) and store.duration_ms == pytest.approx(20.0, abs=0.01)


def test_a_hop_is_the_round_trip_without_the_callees_own_time() -> None:
    header = 'model;dur=6.0;desc="total@model+0", infer;dur=5.0;desc="stage@model+0.5"'
    recorder = Recorder("app")
    began = recorder.began + 0.010
    recorder.merge(header, "model", began, began + 0.008, 4096)
    spans = parse(recorder.header())
    hop, total, stage = by(spans, "model", "hop"), by(spans, "model", "total"), by(spans, "infer", "stage")
    assert (hop.service, hop.units) == ("app", 4096) and hop.duration_ms == pytest.approx(2.0, abs=0.01)
    assert total.start_ms == pytest.approx(11.0, abs=0.02), "the callee's time lies in the middle of its hop"
    assert stage.start_ms == pytest.approx(11.5, abs=0.02) and stage.service == "model"


def test_a_callee_that_says_nothing_is_all_hop() -> None:
    recorder = Recorder("app")
    recorder.merge("", "model", recorder.began, recorder.began + 0.003)
    assert by(parse(recorder.header()), "model", "hop").duration_ms == pytest.approx(3.0, abs=0.01)


def test_messages_of_a_batch_share_its_operations_but_each_had_all_of_its_time() -> None:
    batch, one = Recorder("model"), Recorder("model")
    batch.add("infer", "stage", batch.began, batch.began + 0.008)
    batch.add("get", "store", batch.began, batch.began + 0.004, 800)
    one.share(batch, 4)
    spans = parse(one.header())
    assert by(spans, "infer", "stage").count == 1.0
    store = by(spans, "get", "store")
    assert (store.count, store.units) == (0.25, 200) and store.duration_ms == pytest.approx(4.0, abs=0.01)


@given(names=st.lists(TOKENS, min_size=0, max_size=120, unique=True))
def test_the_header_is_bounded_and_says_what_it_left_out(names: list[str]) -> None:
    recorder = Recorder("app")
    for name in names:
        recorder.add(name, "stage", recorder.began, recorder.began + 1)
    header = recorder.header()
    spans = parse(header)
    left = [s for s in spans if s.kind == "other"]
    assert len(header) < LIMIT
    assert sum(s.kind == "stage" for s in spans) + sum(s.count for s in left) == len(names)


def test_threads_record_into_their_own_request() -> None:
    recorders = [Recorder(f"s{i}") for i in range(4)]
    together = threading.Barrier(len(recorders))

    def work(recorder: Recorder) -> None:
        CURRENT.set(recorder)
        together.wait(10)
        record(recorder.service, "database", perf_counter())

    threads = [threading.Thread(target=work, args=(r,)) for r in recorders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    for recorder in recorders:
        assert [s.name for s in parse(recorder.header())] == [recorder.service, recorder.service]


def test_outside_of_a_request_nothing_is_recorded() -> None:
    record("put", "store", perf_counter())
    assert CURRENT.get() is None
