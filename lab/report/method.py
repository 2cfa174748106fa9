"""What a reader must know to trust the page: the rules of measurement in plain words, and which file of the run directory holds what."""

from __future__ import annotations

RULES: tuple[tuple[str, str], ...] = (
    (
        "Latency counts from the schedule",
        "Requests are scheduled before the run and latency counts from the intended send time, so a stall is paid for by every "
        "request that it delayed. Service time, from the real send, is printed beside it.",
    ),
    (
        "Loads have the field's names",
        "A ladder is a few constant or Poisson rates in rising steps on one deployment; server is one rate, burst, ramp and diurnal change "
        "it over time, replay takes a recorded trace. Search looks for the largest rate that meets the SLO. single_stream and offline are "
        "closed loops: they hide waiting, so they give service times and throughput and never a latency from the intended start.",
    ),
    (
        "Only percentiles that the sample supports",
        "A percentile is printed when enough samples lie beyond it; otherwise a dash and the reason stand there. Percentiles are "
        "computed on merged histograms, never averaged.",
    ),
    (
        "Deployments, not requests, are the sample",
        "A deployment restarts every process with a fresh bucket and schema. Intervals are over deployments, whose order is "
        "interleaved and shuffled by seed. Verdicts need seven; with fewer a run is exploratory: intervals, no verdict.",
    ),
    (
        "Failures stay in",
        "Failed and timed-out requests stay in the distribution at their time-out. A wrong answer is a failure.",
    ),
    (
        "Cold and warm are apart",
        "They are separate phases and never share a percentile.",
    ),
    (
        "The instrument doubts itself",
        "A late driver, a missed rate, other programs on the machine, a process that died or too many errors make a cell INVALID, "
        "and it gives no headline. The floor is what the instrument alone takes; a difference below it is not a difference.",
    ),
    (
        "Equal budgets, and what this machine may claim",
        "An architecture gets one core set and memory budget, its activator included; it is called equal only where a quota enforces it or "
        "one core set holds all of it. Store, database and gateway are platform "
        "and counted apart. What may be claimed grows with the machine: on two virtual cores CPU per request, bytes, cost, cold "
        "phases and medians.",
    ),
    (
        "Like with like",
        "Machine identity is hashed; runs of different machines are compared only when forced, and then marked.",
    ),
    (
        "Training uses equal threads",
        "Total threads stay constant between one and many ranks.",
    ),
    (
        "Cost has two bases",
        "Allocation is what is rented, usage is what is used, and idle is shown. Money carries its price list, date and grade. "
        "cpu_scale, how many vCPUs one local core is worth, stands beside every dollar, and no figure per million stands without "
        "its monthly traffic.",
    ),
    (
        "What would hold in a cloud",
        "Rankings are recomputed over sourced ranges of what one machine cannot show: network hops, store latency, sandbox "
        "starts, a core per instance. A ranking holds when 95 % of the draws agree; one that flips gets no winner.",
    ),
)

BASES: dict[str, str] = {
    "measured": "observed on this machine in this run",
    "priced": "a measured quantity times a list price",
    "modelled": "computed over ranges of what this machine cannot show",
}

ISOLATION: dict[str, str] = {
    "pinned": "Driver and system run on cores of their own.",
    "limits": "Driver and system are held apart by limits, not by cores of their own.",
    "none": "Driver and system share cores: tails are no headline here.",
}

DRIVER: dict[str, str] = {
    "inside": "Inside the cluster, as a Job",
    "outside": "Outside, on the machine that ran `lab`",
}

ENFORCEMENT: dict[str, str] = {
    "enforced": "Equal budget, enforced: a quota holds each instance to its CPUs, fractions too, and a limit to its memory.",
    "affinity": "Equal CPU budget: the same core set for every architecture, shared freely within it; fractions of a CPU per service and "
    "memory are not enforced.",
    "none": "The same budget was asked for, but nothing holds an architecture to it.",
}
BUDGET: dict[str, str] = {
    "enforced": "equal, enforced by quota and memory limit",
    "affinity": "equal CPUs by one core set for all; memory and each service's fraction of a CPU are not enforced",
    "none": "asked for, not enforced",
}

FILES: tuple[tuple[str, str, str], ...] = (
    ("plan.json", "what was to be run: cells, loads, seeds, resolved settings", "the offered rates, the order of deployments"),
    ("environment.json", "the machine, the versions, the state while it ran", "Environment"),
    ("cells/", "one folder per deployment, named in Cells below", "everything marked measured"),
    (
        "cells/*/samples.parquet",
        "one row per request: intended, sent, first byte, done, answer, Server-Timing",
        "rates, latency, errors, waterfall",
    ),
    ("cells/*/usage.jsonl", "CPU-seconds, memory, bytes, replicas per service over time", "CPU per request, memory, services"),
    ("cells/*/events.jsonl", "starts, cold phases, scaling, crashes, invocations", "cold starts, timeline, billed time"),
    ("cells/*/topology.json", "services, edges and sizes as deployed", "what is priced"),
    ("cells/*/status.json", "how the cell ended, the windows of its steps, other clocks with their errors", "Cells"),
    ("summary.json", "every measured figure, with its interval", "tables, charts of latency"),
    ("comparison.json", "effects, costs, break-even points, cloud rankings, the answer", "the answer, strips, costs"),
)

CLAIMS: dict[str, str] = {
    "cpu": "CPU",
    "cold": "cold phases",
    "p50": "medians",
    "tail": "tails",
    "knee": "knees",
}
