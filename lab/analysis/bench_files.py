"""From files that pytest-benchmark wrote, one process each, to the Verdict of head against base for every benchmark.

Rounds of one process share its memory layout, hash seed and the machine's mood at that moment: they are not independent deployments. What
differs between processes shows only in several files per side. Under 7 of each side (DESIGN 5.4) the interval takes at least PROCESS_SPREAD
for it, an assumption, beside the rounds' own error; from 7 on it is Welch's over the files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from lab import rundir
from lab.analysis.gate import decide, overall, sentence
from lab.analysis.intervals import Interval, against
from lab.analysis.results import Deployed
from lab.analysis.spending import ALPHA
from lab.analysis.stats import mean_stat, pooled_spread
from lab.analysis.verdict import Judged, Verdict
from lab.errors import InputError
from lab.model import CodeRef, Stat, Threshold
from lab.power import VERDICT_DEPLOYMENTS

METRICS = ("mean", "median", "min")
PROCESS_SPREAD = 0.05  # log scale, between processes of the same code; what it is here only several files can tell
POWER = 0.8
BATCHES = 10  # rounds follow each other and are alike: their mean's error comes from means of so many batches
HINT = "`pytest --benchmark-json=FILE` writes one"


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Seconds per round. `data`: every round, where it was saved."""

    min: float
    mean: float
    median: float
    stddev: float
    rounds: int
    data: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    fullname: str
    stats: Stats


@dataclass(frozen=True, kw_only=True)
class Cpu:
    brand_raw: str = ""
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Machine:
    machine: str = ""
    system: str = ""
    release: str = ""
    python_version: str = ""
    cpu: Cpu = field(default_factory=Cpu)


@dataclass(frozen=True, kw_only=True)
class Commit:
    id: str | None = None
    dirty: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """One file of pytest-benchmark: what we read of it."""

    benchmarks: tuple[Benchmark, ...]
    machine_info: Machine = field(default_factory=Machine)
    commit_info: Commit = field(default_factory=Commit)
    datetime: str = ""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Independent runs of one commit; `runs` by benchmark has the figures of each file, in the order of `files`."""

    files: tuple[Path, ...]
    written: tuple[Written, ...]
    runs: Mapping[str, tuple[Stats, ...]]


def read(files: Sequence[Path]) -> Side:
    """Raises InputError for a file that is missing, cut off or of something else, holds nothing, or lacks a benchmark that another has."""
    absent = next((f for f in files if not f.is_file()), None)
    if absent is not None or not files:
        raise InputError(f"there is no file {absent or ''}".rstrip(), HINT)
    if len({f.resolve() for f in files}) < len(files):
        raise InputError("a file is named twice; two readings of one run are not two runs", HINT)
    written = tuple(rundir.decode(f.read_bytes(), Written, str(f)) for f in files)
    tables = [{b.fullname: b.stats for b in w.benchmarks} for w in written]
    for path, table in zip(files, tables, strict=True):
        if not table:
            raise InputError(f"{path} holds no benchmark", HINT)
        for name, s in table.items():
            if not all(math.isfinite(v) and v > 0 for v in (s.min, s.mean, s.median)) or s.rounds < 1:
                raise InputError(f"{path}: {name} has a time that is not above 0, or no round", "measure it again")
    names = dict.fromkeys(name for table in tables for name in table)
    _all_have(names, list(zip(files, tables, strict=True)))
    return Side(files=tuple(files), written=written, runs={name: tuple(t[name] for t in tables) for name in names})


def _all_have(names: Mapping[str, None], tables: Sequence[tuple[Path, Mapping[str, Stats]]]) -> None:
    missing = [f"{path} has no {name}" for name in names for path, table in tables if name not in table]
    if missing:
        raise InputError("a benchmark is missing in one file: nothing can be said of it", "run the same benchmarks on both sides", missing)


def judge(base: Side, head: Side, thresholds: Sequence[Threshold]) -> Verdict:
    """Raises InputError for other machines, and for a benchmark that only one side has."""
    if not thresholds:
        raise InputError("there is no threshold to judge by", "--threshold 'mean vs base < +5 %'")
    shared = {f.resolve() for f in base.files} & {f.resolve() for f in head.files}
    if shared:
        raise InputError(f"{shared.pop()} is on both sides", "base and head are different commits")
    _one_machine(base, head)
    names = dict.fromkeys((*base.runs, *head.runs))
    _all_have(names, [(s.files[0], {n: of[0] for n, of in s.runs.items()}) for s in (base, head)])
    alpha = ALPHA / (len(names) * len(thresholds))
    judged = tuple(_judged(name, base.runs[name], head.runs[name], t, alpha) for name in names for t in thresholds)
    verdict = overall([j.verdict for j in judged])
    n = min(len(base.files), len(head.files))
    machine = head.written[0].machine_info
    return Verdict(
        run=f"{_names(head)} against {_names(base)}",
        scenario="pytest-benchmark",
        verdict=verdict,
        sentence=sentence(verdict, judged),
        judged=judged,
        deployments=n,
        least=1,
        looks=(n,),
        levels=(ALPHA,),
        alpha=ALPHA,
        machine={"cpu": machine.cpu.brand_raw, "cores": machine.cpu.count, "kernel": machine.release, "python": machine.python_version},
        machine_class="",
        command=f"lab gate --from {','.join(map(str, base.files))} {','.join(map(str, head.files))}",
        started_at=head.written[0].datetime,
        refs=_refs(base, head),
        notes=_notes(n),
    )


def _names(side: Side) -> str:
    return ", ".join(f.name for f in side.files)


def _refs(base: Side, head: Side) -> tuple[CodeRef, ...]:
    """Raises InputError where the files of one side are of several commits."""
    found = []
    for name, side in (("base", base), ("head", head)):
        commits = {w.commit_info.id or "" for w in side.written}
        if len(commits) > 1:
            raise InputError(f"the files of {name} are of {len(commits)} commits", "name the runs of one commit on each side")
        dirty = any(w.commit_info.dirty or False for w in side.written)
        found.append(CodeRef(name="base" if name == "base" else "head", commit=commits.pop(), dirty=dirty))
    return tuple(found) if all(r.commit for r in found) else ()


def _one_machine(base: Side, head: Side) -> None:
    first = base.written[0].machine_info
    for path, written in zip((*base.files, *head.files), (*base.written, *head.written), strict=True):
        for name in ("machine", "system", "release", "python_version", "cpu"):
            one, other = getattr(first, name), getattr(written.machine_info, name)
            if one != other:
                what = f"{base.files[0]} and {path} come from different machines: {name} is {one} and {other}"
                raise InputError(what, "measure both sides on one machine, in turns")


def _notes(files: int) -> tuple[str, ...]:
    if files >= VERDICT_DEPLOYMENTS:
        return (f"Welch's interval over {files} processes per side, which differ as processes of one commit do",)
    return (
        f"{files} process{'es' if files > 1 else ''} per side: rounds of one process are not independent deployments, so what differs "
        f"between processes of the same code is assumed, at least {PROCESS_SPREAD:.0%}, and is in the intervals",
        f"it is measured from {VERDICT_DEPLOYMENTS} files per side on: --from base1.json,base2.json,... head1.json,head2.json,...",
    )


# ---- one benchmark -----------------------------------------------------------------------------------------------------


def _judged(name: str, base: Sequence[Stats], head: Sequence[Stats], threshold: Threshold, alpha: float) -> Judged:
    metric = threshold.metric
    a, b = ([_figure(s, metric) for s in side] for side in (base, head))
    if min(len(a), len(b)) >= VERDICT_DEPLOYMENTS:
        one, other = (Deployed(unit="s", values=tuple(values)) for values in (a, b))
        found = against((range(len(a)), one), (range(len(a), len(a) + len(b)), other), VERDICT_DEPLOYMENTS, alpha)
    else:
        found = _assumed(a, b, [_error(s) for s in base], [_error(s) for s in head], alpha)
    return decide(threshold, name, found, alpha)


def _figure(of: Stats, metric: str) -> float:
    return {"mean": of.mean, "median": of.median, "min": of.min}[metric]


def _error(of: Stats) -> float:
    """Standard error of the mean of one process's rounds, relative; 0 for one round, of which nothing is known."""
    if len(of.data) >= 2 * BATCHES:
        means = [float(np.mean(part)) for part in np.array_split(np.asarray(of.data), BATCHES)]
        return float(np.std(means, ddof=1)) / math.sqrt(BATCHES) / of.mean
    return of.stddev / math.sqrt(of.rounds) / of.mean


def _assumed(a: Sequence[float], b: Sequence[float], within_a: Sequence[float], within_b: Sequence[float], alpha: float) -> Interval:
    """Normal on the log scale; the spread between processes is the measured one or PROCESS_SPREAD, whichever is larger."""
    spread = max(PROCESS_SPREAD, pooled_spread([a, b]) or 0.0)
    error = math.sqrt(sum(spread**2 / len(w) + float(np.mean(np.square(w))) / len(w) for w in (within_a, within_b)))
    effect = float(np.mean(np.log(b)) - np.mean(np.log(a)))
    z = float(stats.norm.isf(alpha / 2))
    n = min(len(a), len(b))
    return Interval(
        effect=Stat(value=math.exp(effect), low=math.exp(effect - z * error), high=math.exp(effect + z * error), n=n, unit="ratio"),
        base=mean_stat(a, "s"),
        head=mean_stat(b, "s"),
        noise=pooled_spread([a]),
        factor=math.exp((z + float(stats.norm.ppf(POWER))) * error),
        paired=False,
    )
