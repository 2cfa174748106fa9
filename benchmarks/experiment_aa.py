"""How often a gate is wrong: one commit gated against itself, and against 10 % more work: `python -m benchmarks.experiment_aa`.

It makes a small service repository below `--folder` and calls `lab run gate --base` and `lab gate` in it, A/A and planted in turn. Hours;
each trial is kept as it ends, and the same command goes on after an interruption. Ends with a table of verdicts against the goals (at most
one false alarm in 40, at least 38 of 40 found, ten minutes a gate), and with what thousands of trials at the measured spread would give.
Exit 1 where a goal is missed.

A request costs rounds of SHA-256, a fixed number of them, calibrated once to 20 ms: in registers, so that neither caches nor where the
memory of a process happens to lie moves its time, as they do for work in Python; and not a time to spin or to sleep for, which would hide
what disturbs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np

from benchmarks.experiments import lab
from lab import rundir
from lab.analysis.results import Deployed, Group, Summary
from lab.analysis.stats import share_stat
from lab.analysis.verdict import Outcome, Verdict, change
from lab.errors import LabError
from lab.progress import clock
from lab.rundir import RunDir
from tests import gate_trials, repositories

Kind = Literal["same", "slower"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TRIALS, DEPLOYMENTS, SIMULATED = 40, 20, 10_000
SERVICE_MS, PLANTED = 20.0, 1.10
ALARMS, FOUND, MINUTES = 1 / 40, 38 / 40, 10.0  # goals: shares of the trials, and of the longest gate
LIMIT = 1.05
METRICS = ("p50_ms", "cpu_ms", "memory_mib")
SCENARIO = """\
schema_version: 1
kind: serve
about: A service of 20 ms of work, against itself or against 10 % more
workload: double
service:
  start: "{python} server.py"
  ready: /health
  timeout_s: 20
load: {{arrival: constant, rates_per_s: [20], window_s: 4, warmup_rate_per_s: 20, warmup_max_s: 4, drain_s: 1}}
deployments: 1
primary_metric: p50_ms
gate:
  thresholds: [{thresholds}]
  least: {least}
  most: {most}
"""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """`noise`: between deployments of base, log scale. `changes`: log(head / base) of each whole block."""

    verdict: Outcome
    effect: float | None
    noise: float | None
    changes: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Trial:
    kind: Kind
    run: str
    verdict: Outcome
    sentence: str
    deployments: int
    invalid: int
    minutes: float
    machine: Mapping[str, str | int | float]
    metrics: Mapping[str, Metric]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """`folder` has the repository and the trials that are done."""

    folder: Path
    deployments: int

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def kept(self) -> Path:
        return self.folder / "trials.jsonl"

    @property
    def looks(self) -> tuple[int, ...]:
        least, most = max(2, self.deployments // 2), self.deployments
        return tuple(sorted({least, (least + most) // 2, most}))

    @property
    def environment(self) -> dict[str, str]:
        """The machine's one lock holds for it too."""
        mine = {k: v for k, v in os.environ.items() if k == "LAB_LOCK" or not k.startswith(("LAB_", "GIT_"))}
        return mine | {"LAB_HOME": str(self.folder / "home")}

    def stand(self) -> None:
        """Makes the repository, or finds the one that it made before for the same gate."""
        limits = ", ".join(f'"{metric} vs base < +{100 * (LIMIT - 1):g} %"' for metric in METRICS)
        text = SCENARIO.format(python=sys.executable, thresholds=limits, least=self.looks[0], most=self.looks[-1])
        if not self.repository.exists():
            rounds = repositories.rounds_of(SERVICE_MS)
            repositories.working(self.repository, text, {"same": rounds, "slower": round(PLANTED * rounds)})
        elif (self.repository / "scenarios" / "gate.yaml").read_text() != text:
            raise SystemExit(f"the trials in {self.folder} are of another gate; give --folder another name, or delete it")

    def trials(self) -> list[Trial]:
        if not self.kept.exists():
            return []
        return [rundir.decode(line, Trial, str(self.kept)) for line in self.kept.read_bytes().splitlines()]

    def measure(self, kind: Kind) -> Trial:
        """A REF that is the commit itself, or the one without the planted work."""
        began = time.monotonic()
        repositories.git(self.repository, "checkout", "-q", "--detach", kind)
        run = lab("run", "gate", "--base", "same", folder=self.repository, environment=self.environment).run
        lab("gate", str(run.root), folder=self.repository, environment=self.environment, allowed=(0, 1, 4))
        trial = tried(kind, run, (time.monotonic() - began) / 60)
        rundir.append(self.kept, msgspec.json.encode(trial) + b"\n")
        return trial


def tried(kind: Kind, run: RunDir, minutes: float) -> Trial:
    """Of a run that was judged."""
    path = run.root / "verdict.json"
    verdict, summary = rundir.decode(path.read_bytes(), Verdict, str(path)), run.read(run.summary, Summary)
    base, head = (next(g for g in summary.groups if g.code_ref == side) for side in ("base", "head"))
    metrics = {
        j.threshold.metric: Metric(
            verdict=j.verdict, effect=j.effect.value, noise=j.noise, changes=tuple(changes(base, head, j.threshold.metric))
        )
        for j in verdict.judged
    }
    return Trial(
        kind=kind,
        run=run.name,
        verdict=verdict.verdict,
        sentence=verdict.sentence,
        deployments=verdict.deployments,
        invalid=len(verdict.invalid),
        minutes=minutes,
        machine=summary.machine,
        metrics=metrics,
    )


def changes(base: Group, head: Group, metric: str) -> Iterator[float]:
    """log(head / base) of each block in which both are valid."""
    found = [g.deployed.get(metric, Deployed(unit="")).values for g in (base, head)]
    of = [dict(zip(g.blocks, values, strict=False)) for g, values in zip((base, head), found, strict=True)]
    yield from (float(np.log(of[1][block] / of[0][block])) for block in sorted(of[0].keys() & of[1].keys()))


# ---- what it says ----------------------------------------------------------------------------------------------------


def spread(trials: Sequence[Trial], metric: str) -> float:
    """Between deployments of one arm without the drift from block to block, pooled over all trials."""
    each = [np.asarray(t.metrics[metric].changes) for t in trials if len(t.metrics[metric].changes) > 1]
    freedom = sum(len(of) - 1 for of in each)
    return float(np.sqrt(sum(((of - of.mean()) ** 2).sum() for of in each) / freedom / 2)) if freedom else 0.0


def planted(trials: Sequence[Trial], metric: str) -> float:
    """head / base, as the planted trials found it."""
    found = [change for t in trials if t.kind == "slower" for change in t.metrics[metric].changes]
    return float(np.exp(np.mean(found))) if found else PLANTED if metric != "memory_mib" else 1.0


def table(trials: Sequence[Trial]) -> tuple[bool, list[str]]:
    """Whether every goal is reached, and the lines that say so."""
    same, slower = ([t for t in trials if t.kind == kind] for kind in KINDS)
    alarms, found = (sum(t.verdict == "FAIL" for t in of) for of in (same, slower))
    longest = max((t.minutes for t in trials), default=0.0)
    goals = (
        ("false alarms, all metrics together", counted(alarms, len(same)), "at most 1 of 40", alarms <= ALARMS * len(same)),
        ("planted +10 % found", counted(found, len(slower)), "at least 38 of 40", found >= FOUND * len(slower)),
        ("longest gate", f"{longest:.1f} minutes", f"at most {MINUTES:g}", longest <= MINUTES),
    )
    lines = [f"{what:36} {told:38} {goal:18} {'reached' if held else 'MISSED'}" for what, told, goal, held in goals]
    lines += [f"{name}: {outcomes(of)}" for name, of in (("A/A verdicts", same), ("planted verdicts", slower)) if of]
    for metric in METRICS:
        noises = [noise for t in trials if (noise := t.metrics[metric].noise) is not None]
        effects = [e for t in slower if (e := t.metrics[metric].effect) is not None]
        median = f"{statistics.median(noises):.2%}" if noises else "not known"
        effect = f", planted found as {change(statistics.median(effects))}" if effects else ""
        lines.append(f"{metric:12} median noise floor {median}, without drift {spread(trials, metric):.2%}{effect}")
    if trials:
        lines.append(
            f"median gate  {statistics.median(t.minutes for t in trials):.1f} minutes, {sum(t.invalid for t in trials)} cells INVALID"
        )
    if min(len(same), len(slower)) < TRIALS:
        lines.append(f"{len(same)} A/A and {len(slower)} planted trials settle nothing; the goals are for {TRIALS} of each")
    return all(held for *_, held in goals), lines


def counted(hits: int, n: int) -> str:
    stat = share_stat(hits, n) if n else None
    interval = f" (95 % interval {stat.low:.0%} to {stat.high:.0%})" if stat and stat.low is not None and stat.high is not None else ""
    return f"{hits} of {n}{interval}"


def outcomes(trials: Sequence[Trial]) -> str:
    names: tuple[Outcome, ...] = get_args(Outcome)
    looks = ", ".join(f"{n} x {at}" for at in sorted({t.deployments for t in trials}) if (n := sum(t.deployments == at for t in trials)))
    return f"{', '.join(f'{sum(t.verdict == name for t in trials)} {name}' for name in names)}; deployments per arm: {looks}"


def simulated(trials: Sequence[Trial], looks: Sequence[int], number: int = SIMULATED) -> list[str]:
    """What so many gates at the spread of these trials would say."""
    spreads = [max(spread(trials, metric), 1e-6) for metric in METRICS]
    asked = (
        ("A/A", "FAIL", [1.0] * len(METRICS), "false alarms"),
        ("A/A", "PASS", [1.0] * len(METRICS), "pass"),
        ("planted +10 %", "FAIL", [planted(trials, metric) for metric in METRICS], "found"),
        ("exactly at the limit", "PASS", [LIMIT, *[1.0] * (len(METRICS) - 1)], "wrongly pass"),
    )
    lines = [f"{number:,} simulated gates of each kind at that spread:"]
    for kind, verdict, effects, word in asked:
        drawn = gate_trials.drawn(number, effects, spreads, drift=0.0, looks=looks)
        ended, _ = gate_trials.outcomes(*drawn, limit=LIMIT, looks=looks)
        lines.append(f"  {kind:22} {gate_trials.share(ended, verdict):7.2%} {word}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each kind (default %(default)s)")
    parser.add_argument(
        "--deployments", type=int, default=DEPLOYMENTS, help="of each side at most, first look at half (default %(default)s)"
    )
    parser.add_argument("--folder", type=Path, default=Path("reports/experiment-aa"), help="of what is kept (default %(default)s)")
    options = parser.parse_args()
    bench = Bench(folder=options.folder.resolve(), deployments=options.deployments)
    bench.stand()
    done = bench.trials()
    for number in range(options.trials):
        for kind in KINDS:
            if sum(t.kind == kind for t in done) > number:
                continue
            left = sum(max(0, options.trials - sum(t.kind == k for t in done)) for k in KINDS)
            eta = f"about {clock(60 * left * statistics.median(t.minutes for t in done))} left" if done else "the first one tells how long"
            print(f"trial {number + 1} of {options.trials}, {kind}: {left} to go, {eta}", file=sys.stderr, flush=True)
            done.append(trial := bench.measure(kind))
            print(f"  {trial.verdict} in {trial.minutes:.1f} minutes: {trial.sentence}", file=sys.stderr, flush=True)
    reached, lines = table(done)
    print(*lines, *simulated(done, bench.looks), sep="\n")
    return 0 if reached else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"error: {error.what}\nnext:  {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with the trials that are kept", file=sys.stderr)
        sys.exit(130)
