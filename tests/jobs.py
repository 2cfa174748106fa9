"""A JobRunner whose Jobs are processes of this machine, each with a port, a folder and a clock of its own."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab import registry, rundir, spawn
from lab.contracts import Job
from lab.errors import MachineError
from lab.load.job import JOB_FILE, Told
from lab.runtime.config import TOKEN_HEADER
from lab.runtime.guard import TOKEN_VARIABLE

TOKEN = TOKEN_SENT = "of this test"


class LocalRunner:
    """`ahead_s`: how far the clocks of all Jobs but the first are ahead of this machine's, as on another machine."""

    def __init__(self, folder: Path, ahead_s: float = 0.0) -> None:
        self._folder, self._ahead_s = folder, ahead_s
        self.jobs: list[LocalJob] = []

    def run_job(self, job: Job) -> LocalJob:
        folder = self._folder / job.name
        told = rundir.decode(job.files[JOB_FILE], Told, JOB_FILE)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        load = replace(told.job, stream=str(folder / "samples.arrows"))
        rundir.write(folder / JOB_FILE, rundir.encode(replace(told, job=load, host="127.0.0.1", port=port)))
        rundir.write(folder / "token", TOKEN.encode())
        started = LocalJob(job, folder, port, 0.0 if job.name.endswith("-0") else self._ahead_s)
        self.jobs.append(started)
        started.await_ready()
        return started


class LocalJob:
    def __init__(self, job: Job, folder: Path, port: int, ahead_s: float) -> None:
        self._url, self._ahead_s, self.ended = f"http://127.0.0.1:{port}", ahead_s, False
        self.log = folder / "job.log"
        self.process = spawn.start(
            spawn.Command(
                argv=(sys.executable, "-m", job.module, str(folder)),
                service=job.name,
                log=self.log,
                env={TOKEN_VARIABLE: str(folder / "token"), registry.PROJECT_VARIABLE: str(registry.project())},
            )
        )

    def await_ready(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.alive:
            try:
                self.call("GET", "/readyz")
                return
            except MachineError:
                time.sleep(0.05)
        self.end()
        raise MachineError(f"the Job did not get ready: {self.process.failure()}")

    def call(self, method: str, path: str, body: bytes = b"", timeout_s: float = 30.0) -> bytes:
        if path == "/begin":
            body = repr(float(body) - self._ahead_s).encode()
        request = urllib.request.Request(self._url + path, body or None, {TOKEN_HEADER: TOKEN_SENT}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                said: bytes = answer.read()
        except (urllib.error.HTTPError, OSError) as error:
            said_no = error.read().decode() if isinstance(error, urllib.error.HTTPError) else ""
            raise MachineError(f"{method} {path}: {error} {said_no}; {self.process.failure()}") from error
        return self._ahead(path, said)

    def _ahead(self, path: str, said: bytes) -> bytes:
        """As if this Job's machine had booted earlier. Its samples count from its own 0, so only moments of the clock itself differ."""
        if not self._ahead_s:
            return said
        if path == "/clock":
            found = json.loads(said)
            return json.dumps({"monotonic_s": found["monotonic_s"] + self._ahead_s, "boot_id": "another"}).encode()
        lines = [json.loads(line) for line in said.splitlines()] if path.startswith("/lines") else []
        for line in lines:
            if line["record"]:
                line["record"]["origin_s"] += self._ahead_s
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines) if lines else said

    def logs(self) -> Iterator[str]:
        yield from spawn.tail(self.log, 100)

    def end(self) -> None:
        self.ended = True
        self.process.stop()
