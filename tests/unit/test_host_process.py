"""A service as a process of its own: how it starts, says that it is ready, and ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from lab.model import Service
from lab.rundir import encode
from lab.runtime import clock
from lab.runtime.config import ServiceConfig
from tests.unit.serving import LIMIT_S, ask, config, topology

SLOW = '''
import pathlib, time
from lab.contracts import Handlers
from lab.model import Operation, Stage
class Workload:
    """Its only stage makes the file `begun`, and waits for the file `go`."""
    name, model_sizes = "slow", ("S",)
    stages = (Stage(name="wait"),)
    operations = (Operation(name="write", kind="write", method="POST", path="/v1/x", stages=("wait",), weight=1.0, headline=True),)
    def handlers(self, stages, tools):
        here = pathlib.Path(__file__).parent
        if (here / "no-model").exists():
            tools.model()
        if (here / "slow-start").exists():
            (here / "begun").touch()
            time.sleep(600)
        def wait(message):
            (here / "begun").touch()
            while not (here / "go").exists():
                time.sleep(0.01)
            return message
        return Handlers(single={"wait": wait})
'''


def slow_config(tmp_path: Path, ready_fd: int, listen_fd: int | None = None, **fields: object) -> Path:
    (tmp_path / "workloads").mkdir(exist_ok=True)
    (tmp_path / "workloads" / "slow.py").write_text(SLOW)
    service = Service(name="one", stages=("wait",))
    of = replace(topology(service), workload="slow")
    made: ServiceConfig = replace(config(of, "one"), ready_fd=ready_fd, listen_fd=listen_fd, **fields)  # type: ignore[arg-type]
    path = tmp_path / "one.json"
    path.write_bytes(encode(made))
    return path


def start(path: Path, fds: Sequence[int]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lab.runtime.host", str(path)],
        pass_fds=fds,
        env={**os.environ, "LAB_PROJECT": str(path.parent)},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_process_tells_when_it_is_ready_and_finishes_its_request_on_sigterm(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener, os.fdopen(reading) as ready:
        process = start(slow_config(tmp_path, writing, listener.fileno()), [writing, listener.fileno()])
        os.close(writing)
        told = json.loads(ready.readline())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert told["port"] == int(url.rpartition(":")[2])
    assert told["phases"].keys() == {"import_ms", "open_ms", "model_ms"} and told["phases"]["import_ms"] > 0
    answers = list[object]()
    thread = threading.Thread(target=lambda: answers.append(ask(url, "POST", "/v1/x", b"kept")))
    thread.start()
    until(lambda: (tmp_path / "workloads" / "begun").exists())
    process.send_signal(signal.SIGTERM)
    until(lambda: not listens(url))
    (tmp_path / "workloads" / "go").touch()
    _, errors = process.communicate(timeout=LIMIT_S)
    thread.join(LIMIT_S)
    assert process.returncode == 0, errors
    assert [(a.status, a.body) for a in answers] == [(200, b"kept")]  # type: ignore[attr-defined]


def test_a_process_that_cannot_start_says_why_and_exits_3(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    path = slow_config(tmp_path, writing)
    (tmp_path / "workloads" / "no-model").touch()
    process = start(path, [writing])
    os.close(writing)
    with os.fdopen(reading) as ready:
        assert ready.read() == "", "it never said that it is ready"
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 3 and "was given no model" in errors and "Traceback" not in errors


def test_what_it_tells_the_lab(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = start(slow_config(tmp_path, writing), [writing])
    os.close(writing)
    with os.fdopen(reading) as ready:
        told = json.loads(ready.readline())
    url = f"http://127.0.0.1:{told['port']}"
    try:
        assert json.loads(ask(url, "GET", "/readyz").body)["phases_ms"] == told["phases"]
        first = json.loads(ask(url, "GET", "/-/usage").body)
        burned = psutil.Process(process.pid).cpu_times()
        second = json.loads(ask(url, "GET", "/-/usage").body)
        assert 0 < first["cpu_s"] <= burned.user + burned.system <= second["cpu_s"]
        assert first["boot_id"] == clock.boot_id() and first["at_s"] < second["at_s"] <= time.monotonic()
        assert second["memory_mib"] > 10
        assert "/-/usage" not in json.loads(ask(url, "GET", "/openapi.json").body)["paths"]
    finally:
        process.kill()
        process.communicate()


def test_it_ends_on_sigterm_while_it_starts(tmp_path: Path) -> None:
    """Also as the first process of a container, which the kernel spares every signal that it has no handler for."""
    reading, writing = os.pipe()
    path = slow_config(tmp_path, writing)
    (tmp_path / "workloads" / "slow-start").touch()
    process = start(path, [writing])
    os.close(writing)
    until(lambda: (tmp_path / "workloads" / "begun").exists())
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=LIMIT_S)
    os.close(reading)
    assert process.returncode == 128 + signal.SIGTERM and errors == ""


def test_kept_connections_drain_before_it_ends(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    (go := tmp_path / "workloads" / "go").parent.mkdir()
    go.touch()
    process = start(slow_config(tmp_path, writing, drain_s=600.0), [writing])
    os.close(writing)
    with os.fdopen(reading) as ready:
        port = json.loads(ready.readline())["port"]
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)

    def closes() -> bool:
        """Whether the answer on the kept connection, if it is still there, says that it is the last."""
        kept.request("POST", "/v1/x", b"kept")
        answer = kept.getresponse()
        assert (answer.status, answer.read()) == (200, b"kept"), "no request is lost"
        return answer.getheader("connection") == "close"

    assert not closes() and not closes()
    process.send_signal(signal.SIGTERM)
    until(closes)
    assert process.poll() is None and ask(f"http://127.0.0.1:{port}", "POST", "/v1/x", b"late").status == 200
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=LIMIT_S)
    kept.close()
    assert process.returncode == 0, errors


def test_it_ends_by_itself_when_it_has_drained(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = start(slow_config(tmp_path, writing, drain_s=0.3), [writing])
    os.close(writing)
    with os.fdopen(reading) as ready:
        assert ready.readline()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0 and time.monotonic() - began >= 0.3, errors


def until(condition: object) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def listens(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_service_starts_without_libraries_that_it_may_not_need() -> None:
    """They would be paid for in every cold start."""
    heavy = ["aiohttp", "minio", "numpy", "onnxruntime", "PIL", "psutil", "psycopg", "torch"]
    code = f"import sys, lab.runtime.host; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
