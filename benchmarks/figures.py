"""Prints the lab's own figures as ratios or medians of this machine: `python benchmarks/figures.py [help|up|capacity]`.

help      `lab --help`, median of 10
up        `lab up` to all services ready, median of 3, and the platform's memory at rest
capacity  three_tier at M under a closed loop, beside a bare in-process loop of decode, resize and infer on the same core
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

from lab import plan, registry, scenario
from lab.model import Budget
from lab.settings import Settings, resolve

BARE = """
import io, os, sys, time
os.sched_setaffinity(0, {cpus})
from lab import registry
from lab.contracts import Tools
from lab.model import Message
workload = registry.workload("vision")
tools = Tools(store=None, database=None, model=lambda: workload.model_bytes("M")[0], model_size="M")
handlers = workload.handlers(["preprocess", "infer"], tools).single
bodies = [workload.payload(1, i, "classify").body for i in range(64)]
def one(i):
    return handlers["infer"](handlers["preprocess"](Message(body=bodies[i % 64], fields={{"id": str(i)}})))
for i in range(50): one(i)
began, n = time.perf_counter(), 0
while time.perf_counter() - began < {seconds}:
    one(n); n += 1
print(n / (time.perf_counter() - began))
"""
SECONDS = 6.0


def help_time() -> None:
    took = []
    for _ in range(10):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lab", "--help"], check=True, capture_output=True)
        took.append(time.perf_counter() - began)
    print(f"lab --help            {statistics.median(took):.2f} s (median of 10, {min(took):.2f} to {max(took):.2f})")


def up_time(settings: Settings) -> None:
    took, memory = [], []
    for _ in range(3):
        provider = registry.provider("embedded")(settings)
        began = time.perf_counter()
        provider.up()
        took.append(time.perf_counter() - began)
        memory.append(sum(u.memory_mib or 0.0 for u in provider.usage() if u.tier == "platform"))
        provider.destroy()
    print(f"lab up                {statistics.median(took):.2f} s (median of 3, {min(took):.2f} to {max(took):.2f})")
    print(f"platform at rest      {statistics.median(memory):.0f} MiB")


async def _closed_loop(url: str, bodies: list[bytes], concurrency: int) -> float:
    """Answers per second with `concurrency` clients that each wait for their answer."""
    import aiohttp

    done, until = 0, time.perf_counter() + SECONDS + 2.0

    async def client(session: aiohttp.ClientSession, i: int) -> None:
        nonlocal done
        while time.perf_counter() < until:
            async with session.post(f"{url}/v1/classify", data=bodies[i % len(bodies)], headers={"content-type": "image/jpeg"}) as answer:
                await answer.read()
                assert answer.status == 200, answer.status
            i += concurrency
            if time.perf_counter() > until - SECONDS:
                done += 1

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session, i) for i in range(concurrency)))
    return done / SECONDS


def capacity(settings: Settings, options: dict[str, object], label: str) -> None:
    provider = registry.provider("embedded")(settings)
    can = provider.capabilities()
    bare = subprocess.run(
        [sys.executable, "-c", BARE.format(cpus=set(can.system_cpus), seconds=SECONDS)], check=True, capture_output=True, text=True
    )
    loop = float(bare.stdout)
    os.sched_setaffinity(0, can.driver_cpus)
    subject = scenario.Subject(architecture="three_tier", options=options)  # type: ignore[arg-type]
    topology = plan.place(subject, "vision", "M", Budget())
    workload = registry.workload("vision")
    bodies = [workload.payload(1, i, "classify").body for i in range(64)]
    provider.up()
    try:
        url = provider.deploy(topology, "capacity", 1).url
        before = {u.service: u.cpu_s or 0.0 for u in provider.usage()}
        served = asyncio.run(_closed_loop(url, bodies, 8))
        total = served * (SECONDS + 2.0)
        costs = {u.service: 1e3 * ((u.cpu_s or 0.0) - before[u.service]) / total for u in provider.usage()}
    finally:
        provider.destroy()
        os.sched_setaffinity(0, {*can.driver_cpus, *can.system_cpus})
    each = ", ".join(f"{name} {ms:.1f}" for name, ms in costs.items())
    print(f"three_tier M {label:9s} {served:.0f}/s, bare loop {loop:.0f}/s: ratio {served / loop:.2f}  (CPU-ms per request: {each})")


def main(what: set[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="lab-figures-") as home:
        settings = replace(resolve(), home=home, provider="embedded")
        if "help" in what:
            help_time()
        if "up" in what:
            up_time(settings)
        if "capacity" in what:
            capacity(settings, {}, "")
            capacity(settings, {"batch_max": 8}, "batching")


main(set(sys.argv[1:]) or {"help", "up", "capacity"})
