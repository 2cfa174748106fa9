"""Small git repositories of somebody else's: a service of thirty lines in two commits, with a workload and a scenario for a gate."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

SERVICE = '''
"""Answers GET /double/N with 2 N, after `busy.py` has kept the processor busy for so many milliseconds."""
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from busy import BUSY_MS


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one segment: no wait for a delayed ACK

    def do_GET(self):
        until = time.perf_counter() + BUSY_MS / 1e3
        while time.perf_counter() < until:
            pass
        number = self.path.rpartition("/")[2]
        body = str(2 * int(number)).encode() if number.isdigit() else b"ok"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''
# The same with a fixed amount of work instead of a time: its time shows whatever disturbs it, as a real service's does.
WORKING = SERVICE.replace("for so many milliseconds", "with so many rounds of SHA-256").replace("import time\n", "import hashlib\n")
WORKING = WORKING.replace("from busy import BUSY_MS", "from busy import ROUNDS").replace(
    """        until = time.perf_counter() + BUSY_MS / 1e3
        while time.perf_counter() < until:
            pass
""",
    """        hashlib.pbkdf2_hmac("sha256", b"work", b"salt", ROUNDS)
""",
)
WORKLOAD = '''
"""Asks for the double of a number."""
from lab.model import Operation, Request


class Workload:
    operations = (Operation(name="double", kind="read", method="GET", path="/double/{n}", headline=True),)

    def payload(self, seed, index, operation):
        return Request(operation=operation, method="GET", path=f"/double/{index}", expected=str(2 * index))

    def check(self, request, response):
        return response.body == request.expected.encode()
'''
SCENARIO = """
kind: serve
about: my service, against the commit that it is merged into
workload: double
service:
  build: '{build}'
  start: "{python} server.py"
  ready: /health
  timeout_s: 20
load: {{rates_per_s: [40], window_s: 2, warmup_max_s: 4}}
slo: {{percentile: 95, latency_ms: 250}}
deployments: 1
gate: {{thresholds: ["p50_ms vs base < +20 %"], least: 2, most: 3}}
"""
IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")


def git(folder: Path, *words: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(
        ["git", *IDENTITY, *words], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, **files: str) -> str:
    """The new commit's id; a file's name with its dot as `_`: server_py."""
    for name, text in files.items():
        (folder / ".".join(name.rsplit("_", 1))).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a change")
    return git(folder, "rev-parse", "HEAD")


def begun(folder: Path, scenario: str) -> Path:
    """The repository's folder without a commit: a workload, and `scenario` as scenarios/gate.yaml."""
    for name in ("workloads", "scenarios"):
        (folder / name).mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "workloads" / "double.py").write_text(WORKLOAD)
    (folder / "scenarios" / "gate.yaml").write_text(scenario)
    (folder / ".gitignore").write_text("reports/\nhome/\ntmp/\n")
    return folder


def made(folder: Path, *, base_ms: float = 1.0, head_ms: float = 4.0, build: str = "test -f busy.py", scenario: str = SCENARIO) -> Path:
    """The repository's folder: two commits of which the second one's service is busy for `head_ms`."""
    begun(folder, scenario.format(build=build, python=sys.executable))
    (folder / "tmp").mkdir()
    commit(folder, server_py=SERVICE, busy_py=f"BUSY_MS = {base_ms}\n")
    commit(folder, busy_py=f"BUSY_MS = {head_ms}\n")
    return folder


def working(folder: Path, scenario: str, rounds: Mapping[str, int]) -> Path:
    """The repository's folder: a commit for each of `rounds`, tagged with its name."""
    begun(folder, scenario)
    for name, number in rounds.items():
        commit(folder, server_py=WORKING, busy_py=f"ROUNDS = {number}\n")
        git(folder, "tag", name)
    return folder


def rounds_of(ms: float, *, turns: int = 15) -> int:
    """So many rounds of WORKING take `ms` on a CPU of this machine now."""
    number, took_s = 20_000, []
    for _ in range(turns):
        began = time.perf_counter()
        hashlib.pbkdf2_hmac("sha256", b"work", b"salt", number)
        took_s.append(time.perf_counter() - began)
    return round(number * ms / 1e3 / statistics.median(took_s))


def environment(folder: Path) -> dict[str, str]:
    own = {"LAB_HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "LAB_LOCK": str(folder / "tmp" / "lock")}
    return {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "GIT_"))} | own


def lab(folder: Path, *words: str, program: tuple[str, ...] = ("-m", "lab")) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program, *words], cwd=folder, env=environment(folder), text=True, capture_output=True, timeout=300
    )


def processes(folder: Path) -> list[psutil.Process]:
    """Whatever still runs with a working directory below `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder.resolve()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def worktrees(folder: Path) -> list[str]:
    """All but the main one, as git knows them."""
    lines = git(folder, "worktree", "list", "--porcelain").splitlines()
    return [line for line in lines if line.startswith("worktree ")][1:]
