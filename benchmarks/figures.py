"""Prints the lab's own figures as ratios or medians of this machine: `python benchmarks/figures.py [help|up|capacity|driver|kind]`.

help      `lab --help`, median of 10
up        `lab up` to all services ready, median of 3, and the platform's memory at rest
capacity  three_tier at M under a closed loop, beside a bare in-process loop of decode, resize and infer on the same core
driver    the rate that one driver process holds on its core at lag p99 < 10 ms: rising constant rates of noop on the fake provider
kind      `lab --provider kind up` with warm images, beside kind, kubectl and the same objects alone; needs docker, kind and kubectl
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
from pathlib import Path

import psutil

from lab import plan, registry, scenario
from lab.model import Budget
from lab.settings import Settings, resolve

BARE = """
import io, os, sys, time
os.sched_setaffinity(0, {cpus})
from lab import registry
from lab.contracts import Tools
from lab.ml.pixels import pixels
from lab.model import Message
from lab.workloads import models
workload = registry.workload("vision")
tools = Tools(store=None, database=None, model=lambda: workload.model_bytes("M")[0], model_size="M")
infer = workload.handlers(["infer"], tools).single["infer"]
side = models.card("vision-M").input_side_px
bodies = [workload.payload(1, i, "classify").body for i in range(64)]
def one(i):
    return infer(Message(body=pixels(bodies[i % 64], side).tobytes(), fields={{"id": str(i), "side": side}}))
for i in range(50): one(i)
began, cpu, n = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - began < {seconds}:
    one(n); n += 1
print(n / (time.perf_counter() - began), 1e3 * (time.process_time() - cpu) / n)
"""
SECONDS, WARMUP_S, CLIENTS = 6.0, 2.0, 16  # clients: as many as the application works on at once
KIND_TURNS = 3
DRIVER_RATES = (200.0, 400.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 1200.0)
DRIVER_LAG_MS, DRIVER_TURNS = 10.0, 3


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


async def _closed_loop(url: str, bodies: list[bytes], concurrency: int, seconds: float) -> int:
    """Answers in that time, to `concurrency` clients that each wait for their answer."""
    import aiohttp

    done, until = 0, time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession, i: int) -> None:
        nonlocal done
        while time.perf_counter() < until:
            async with session.post(f"{url}/v1/classify", data=bodies[i % len(bodies)], headers={"content-type": "image/jpeg"}) as answer:
                await answer.read()
                assert answer.status == 200, answer.status
            i += concurrency
            done += 1

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session, i) for i in range(concurrency)))
    return done


def _bare(cpus: tuple[int, ...]) -> tuple[float, float]:
    """Images per second and CPU-ms per image."""
    command = [sys.executable, "-c", BARE.format(cpus=set(cpus), seconds=SECONDS)]
    rate, cpu_ms = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(rate), float(cpu_ms)


def _idle_s() -> list[float]:
    """Of each CPU."""
    return [times.idle + getattr(times, "iowait", 0.0) for times in psutil.cpu_times(percpu=True)]


def capacity(settings: Settings, options: dict[str, object], label: str) -> None:
    """The rate reached is bounded by whichever core is busy first; the ratio of CPU times is not, and hardly sees other load."""
    provider = registry.provider("embedded")(settings)
    can = provider.capabilities()
    topology = plan.place(scenario.Subject(architecture="three_tier", options=options), "vision", "M", Budget())  # type: ignore[arg-type]
    services = {s.name for s in topology.services}
    workload = registry.workload("vision")
    bodies = [workload.payload(1, i, "classify").body for i in range(64)]
    loops = [_bare(can.system_cpus)]
    provider.up()  # before this process leaves the system's core: the supervisor sees the CPUs that its maker may use
    os.sched_setaffinity(0, can.driver_cpus)
    try:
        url = provider.deploy(topology, "capacity", 1).url
        asyncio.run(_closed_loop(url, bodies, CLIENTS, WARMUP_S))
        before, idle, began = {u.service: u.cpu_s or 0.0 for u in provider.usage()}, _idle_s(), time.perf_counter()
        answers = asyncio.run(_closed_loop(url, bodies, CLIENTS, SECONDS))
        took, after = time.perf_counter() - began, {u.service: u.cpu_s or 0.0 for u in provider.usage()}
        busy = [1 - (b - a) / took for a, b in zip(idle, _idle_s(), strict=True)]
    finally:
        provider.destroy()
        os.sched_setaffinity(0, {*can.driver_cpus, *can.system_cpus})
    loops.append(_bare(can.system_cpus))  # before and after, as the machine may have other work
    rate, cpu_ms = (statistics.mean(values) for values in zip(*loops, strict=True))
    costs = {name: 1e3 * (cpu_s - before[name]) / answers for name, cpu_s in after.items()}
    system_ms = sum(ms for name, ms in costs.items() if name in services)
    each = ", ".join(f"{name} {ms:.2f}" for name, ms in costs.items())
    print(f"three_tier M {label:9s} {answers / took:.0f}/s, bare loop {rate:.0f}/s: ratio {answers / took / rate:.2f}")
    print(f"  CPU-ms per request    bare loop {cpu_ms:.2f}, app and model {system_ms:.2f}: ratio {cpu_ms / system_ms:.2f}  ({each})")
    share = {name: statistics.mean(busy[cpu] for cpu in cpus) for name, cpus in (("system", can.system_cpus), ("driver", can.driver_cpus))}
    said = ", ".join(f"{name} core {part:.0%} busy" for name, part in share.items())
    print(f"  limit                 {max(share, key=lambda name: share[name])} core ({said}, other work included)")


def kind_up(settings: Settings) -> None:
    """Both make a cluster of the same configuration, bring the same images and objects, and wait; interleaved, so that other work on this
    machine meets both."""
    from lab.providers.kubernetes import images, supply

    built = images.build(settings, supply.targets(settings), lambda _: None)
    took: dict[str, list[float]] = {"lab": [], "bare": []}
    for turn in range(KIND_TURNS):
        for name in ("lab", "bare") if turn % 2 == 0 else ("bare", "lab"):
            home = replace(settings, name=f"figures-{name}-{turn}")
            took[name].append(_lab_kind(home) if name == "lab" else _bare_kind(home, tuple(built.references.values())))
            print(f"  {name:20s}{took[name][-1]:.1f} s")
    lab_s, bare_s = (statistics.median(took[name]) for name in ("lab", "bare"))
    print(f"lab --provider kind up {lab_s:.1f} s, bare {bare_s:.1f} s: ratio {lab_s / bare_s:.2f} (medians of {KIND_TURNS}, interleaved)")


def driver() -> None:
    """Each rate in DRIVER_TURNS runs of its own; it holds where the median of their lags does, and every arrival was sent."""
    import peers

    from lab.load.drive import drive
    from lab.load.job import DriveJob
    from lab.model import Load

    theirs, ours = peers.split()
    held = 0.0
    with tempfile.TemporaryDirectory(prefix="lab-driver-") as name, peers.service(Path(name), theirs) as url:
        for rate in DRIVER_RATES:
            load = Load(
                rates_per_s=(rate,),
                window_s=5.0,
                warmup_max_s=2.0,
                warmup_rate_per_s=200.0,
                drain_s=2.0,
                timeout_s=10.0,
                arrival="constant",
            )
            job = DriveJob(url=url, workload="noop", load=load, seed=1, stream=f"{name}/samples.arrows", cpus=ours)
            told = [drive(job, log=Path(name) / "driver.log") for _ in range(DRIVER_TURNS)]
            lag_ms = statistics.median(t.lag_p99_ms for t in told)
            share = statistics.median(t.cpu_s / t.wall_s for t in told)
            print(f"  {rate:5.0f}/s  lag p99 {lag_ms:7.2f} ms, {share:.0%} of its core, {sum(t.dropped for t in told)} dropped", flush=True)
            if lag_ms >= DRIVER_LAG_MS or any(t.dropped or t.sent < rate * load.window_s - 1 for t in told):
                break
            held = rate
    print(f"driver holds          {held:.0f}/s per core at lag p99 < {DRIVER_LAG_MS:g} ms (goal 800)")


def _lab_kind(settings: Settings) -> float:
    provider = registry.provider("kind")(settings)
    began = time.perf_counter()
    try:
        provider.up()
        return time.perf_counter() - began
    finally:
        provider.destroy()


def _bare_kind(settings: Settings, references: tuple[str, ...]) -> float:
    """What one would type; with every image in every node, as `kind load` does."""
    from lightkube.resources.apps_v1 import Deployment, StatefulSet

    from lab.ports import free
    from lab.providers.kind import config
    from lab.providers.kubernetes import names, objects, supply
    from lab.providers.kubernetes.state import State

    state, name = State(settings.state), config.cluster_name(settings)
    state.make(settings.provider)
    images = dict(zip(supply.targets(settings), references, strict=True))
    named = supply.Supply(built=images, references=images).images(settings)
    site = objects.Site(lab=settings.name, images=named, separate=config.separate(settings), node_ports=dict(config.NODE_PORTS))
    made = objects.platform(site, store=supply.store(settings), secrets=state.secrets(settings))
    kubeconfig, told, manifest = (settings.state / each for each in ("kubeconfig", "kind.yaml", "objects.yaml"))
    told.write_text(config.render(settings, dict(zip(config.NODE_PORTS, free(len(config.NODE_PORTS)), strict=True))))
    manifest.write_text(objects.to_yaml(made))
    space = ("-n", names.namespace(settings.name))
    workloads = [f"{type(o).__name__.lower()}/{o.metadata.name}" for o in made if isinstance(o, Deployment | StatefulSet) and o.metadata]
    began = time.perf_counter()
    try:
        _run("kind", "create", "cluster", "--config", told, "--kubeconfig", kubeconfig)
        _run("kind", "load", "docker-image", *references, "--name", name)
        _run("kubectl", "--kubeconfig", kubeconfig, "apply", "-f", manifest)
        for each in workloads:
            _run("kubectl", "--kubeconfig", kubeconfig, *space, "rollout", "status", each, "--timeout=300s")
        return time.perf_counter() - began
    finally:
        _run("kind", "delete", "cluster", "--name", name, "--kubeconfig", kubeconfig)


def _run(*argv: object) -> None:
    subprocess.run([str(each) for each in argv], check=True, capture_output=True)


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
        if "driver" in what:
            driver()
        if "kind" in what:
            kind_up(replace(settings, provider="kind", start_timeout_s=300.0))


main(set(sys.argv[1:]) or {"help", "up", "capacity"})
