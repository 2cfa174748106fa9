"""One run of the official MLPerf LoadGen's Server scenario against one operation of a service: `python benchmarks/loadgen.py JSON`.

JSON: url, path, body, content_type, rate_per_s, seconds, slo_ms, percentile, seed, connections, folder. LoadGen schedules Poisson arrivals
and counts from the scheduled moment; each query goes out on one of the kept connections. Prints what its summary says as one JSON line.
Needs `mlcommons-loadgen` (extra `peers`).
"""

from __future__ import annotations

import http.client
import json
import queue
import re
import sys
import threading
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

import mlperf_loadgen as loadgen  # type: ignore[import-not-found]


class Asked(TypedDict):
    url: str
    path: str
    body: str
    content_type: str
    rate_per_s: float
    seconds: float
    slo_ms: float
    percentile: float
    seed: int
    connections: int
    folder: str


def settings(asked: Asked) -> object:
    made = loadgen.TestSettings()
    made.scenario = loadgen.TestScenario.Server
    made.mode = loadgen.TestMode.PerformanceOnly
    made.server_target_qps = asked["rate_per_s"]
    made.server_target_latency_ns = int(asked["slo_ms"] * 1e6)
    made.server_target_latency_percentile = asked["percentile"] / 100
    made.min_duration_ms = int(asked["seconds"] * 1e3)
    made.min_query_count = int(asked["rate_per_s"] * asked["seconds"])
    made.schedule_rng_seed = asked["seed"]
    return made


def serve(asked: Asked, waiting: queue.SimpleQueue[int | None]) -> None:
    """One connection; an answer that is not 200 ends the run, for LoadGen knows no failed query."""
    address = urlsplit(asked["url"])
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80)
    body, headers = asked["body"].encode(), {"Content-Type": asked["content_type"]}
    while (query := waiting.get()) is not None:
        connection.request("POST", asked["path"], body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{asked['url']}{asked['path']} answered {answer.status}")
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query, 0, 0)])


def run(asked: Asked) -> None:
    waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    threads = [threading.Thread(target=serve, args=(asked, waiting), daemon=True) for _ in range(asked["connections"])]
    for thread in threads:
        thread.start()
    output, log = loadgen.LogOutputSettings(), loadgen.LogSettings()
    output.outdir = asked["folder"]
    log.log_output = output
    log.enable_trace = False
    sut = loadgen.ConstructSUT(lambda samples: [waiting.put(s.id) for s in samples] and None, lambda: None)
    qsl = loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(sut, qsl, settings(asked), log)
    loadgen.DestroyQSL(qsl)
    loadgen.DestroySUT(sut)
    for _ in threads:
        waiting.put(None)


def summary(folder: Path) -> dict[str, float | bool]:
    text = (folder / "mlperf_log_summary.txt").read_text()

    def number(name: str) -> float:
        found = re.search(rf"^{re.escape(name)}\s*:\s*([\d.]+)", text, re.MULTILINE)
        if found is None:
            raise SystemExit(f"LoadGen's summary has no {name!r}:\n{text}")
        return float(found.group(1))

    return {
        "valid": "Result is : VALID" in text,
        "reached_per_s": number("Completed samples per second"),
        "p50_ms": number("50.00 percentile latency (ns)") / 1e6,
        "p99_ms": number("99.00 percentile latency (ns)") / 1e6,
    }


if __name__ == "__main__":
    what: Asked = json.loads(sys.argv[1])
    run(what)
    print(json.dumps(summary(Path(what["folder"]))))
