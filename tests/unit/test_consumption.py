"""The consumption of processes that come and go, read from real ones: nothing is lost, nothing counted twice, and the meter tells it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from lab.runtime import clock
from lab.runtime.config import TOKEN_HEADER
from lab.runtime.consumption import Ledger, of
from lab.runtime.guard import TOKEN_VARIABLE
from tests.unit.serving import LIMIT_S, ask

BURN_S = 0.3
TICK_S = 0.05  # of the kernel's counters, several times over
# Says its CPU time on each line that it reads, after having done what the line says.
PARENT = f"""
import os, signal, sys, time
def burn():
    end = time.process_time() + {BURN_S}
    while time.process_time() < end: pass
for line in sys.stdin:
    order = line.strip()
    if order == "ignore": signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if order == "burn": burn()
    if order in ("wait", "leave"):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            burn()
            os.write(writing, b"x")
            time.sleep(600)
        os.read(reading, 1)
        os.close(reading); os.close(writing)
        print(child, flush=True)
        sys.stdin.readline()
        os.kill(child, signal.SIGKILL)
        if order == "wait": os.waitpid(child, 0)
    print("done", flush=True)
"""


class Family:
    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.parent = psutil.Process(self.process.pid)

    def say(self, line: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def living(self) -> list[psutil.Process]:
        if self.process.poll() is not None:
            return []
        return [self.parent, *self.parent.children(recursive=True)]


@pytest.fixture
def family() -> Iterator[Family]:
    made = Family()
    made.say("start")
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def test_a_child_that_was_waited_for_is_counted_once(family: Family) -> None:
    ledger = Ledger(family.living)
    before = ledger.read().cpu_s
    family.say("wait")
    during = ledger.read().cpu_s
    family.say("end")
    after = ledger.read().cpu_s
    assert during - before >= BURN_S - TICK_S
    assert 0 <= after - during < BURN_S / 2 and after == pytest.approx(of(family.living()).cpu_s, abs=TICK_S)


def test_a_child_that_nobody_waits_for_is_kept(family: Family) -> None:
    family.say("ignore")
    ledger = Ledger(family.living)
    before = ledger.read().cpu_s
    pid = int(family.say("leave"))
    during = ledger.read().cpu_s
    family.say("end")
    until(lambda: not psutil.pid_exists(pid))
    after = ledger.read().cpu_s
    assert during - before >= BURN_S - TICK_S and 0 <= after - during < BURN_S / 2
    assert of(family.living()).cpu_s < before + BURN_S / 2, "the kernel forgot it: without the ledger it would be lost"


def test_a_child_that_ended_and_was_not_waited_for_yet_is_counted_once(family: Family) -> None:
    ledger = Ledger(family.living)
    pid = int(family.say("leave"))
    during = ledger.read().cpu_s
    family.say("end")
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert 0 <= ledger.read().cpu_s - during < BURN_S / 2


def test_what_ended_altogether_is_kept(family: Family) -> None:
    """As a container of the pod that ends: who waits for it is outside."""
    ledger = Ledger(family.living)
    family.say("burn")
    before = ledger.read()
    family.process.kill()
    family.process.wait()
    after = ledger.read()
    assert before.cpu_s >= BURN_S - TICK_S and after.cpu_s == pytest.approx(before.cpu_s) and after.memory_mib == 0
    assert (after.bytes_read, after.bytes_written) == (before.bytes_read, before.bytes_written)


def test_counters_never_fall_while_many_come_and_go(family: Family) -> None:
    ledger = Ledger(family.living)
    seen = [ledger.read()]
    for order in ("wait", "end", "burn", "leave", "end", "wait", "end"):
        family.say(order)
        seen += [ledger.read(), ledger.read()]
    for before, after in pairwise(seen):
        assert after.cpu_s >= before.cpu_s
        assert (after.bytes_written or 0) >= (before.bytes_written or 0)
    assert seen[-1].cpu_s >= 4 * (BURN_S - TICK_S)


# ---- the meter -------------------------------------------------------------------------------------------------------


@contextmanager
def meter(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    token = tmp_path / "token"
    token.write_text("secret\n")
    command = [sys.executable, "-m", "lab.runtime.meter", "0"]
    with subprocess.Popen(command, env={**os.environ, TOKEN_VARIABLE: str(token)}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().split()[-1]}", process
        finally:
            process.kill()


def test_the_meter_tells_of_all_processes_but_its_own(tmp_path: Path, family: Family) -> None:
    with meter(tmp_path) as (url, process):

        def read() -> dict[str, float | str]:
            return json.loads(ask(url, "GET", "/usage", headers={TOKEN_HEADER: "secret"}).body)  # type: ignore[no-any-return]

        before, at_s = read(), time.monotonic()
        family.say("wait")
        family.say("end")
        after = read()
        assert ask(url, "GET", "/readyz").status == 200
        assert float(after["cpu_s"]) - float(before["cpu_s"]) >= BURN_S - TICK_S, "its child has ended, and is counted"
        assert float(before["at_s"]) <= at_s <= float(after["at_s"]) and after["boot_id"] == clock.boot_id() != ""
        assert float(after["memory_mib"]) > 0 and {"bytes_read", "bytes_written"} <= after.keys()
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize("headers", [{}, {TOKEN_HEADER: ""}, {TOKEN_HEADER: "other"}, {TOKEN_HEADER: "gehe\u00efm"}])
def test_without_the_token_the_meter_says_nothing(tmp_path: Path, headers: dict[str, str]) -> None:
    with meter(tmp_path) as (url, _):
        answer = ask(url, "GET", "/usage", headers=headers)
        assert answer.status == 401 and json.loads(answer.body).keys() == {"error", "hint"}
        assert ask(url, "GET", "/other", headers=headers).status == 404


@pytest.mark.parametrize("content", [None, " \n"])
def test_without_a_token_the_meter_does_not_start(tmp_path: Path, content: str | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
    command = [sys.executable, "-m", "lab.runtime.meter", "0"]
    ended = subprocess.run(command, env={**os.environ, TOKEN_VARIABLE: str(token)}, capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.returncode == 3 and str(token) in ended.stderr and "Traceback" not in ended.stderr


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
