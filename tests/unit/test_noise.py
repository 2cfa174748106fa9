"""How fit a machine is to measure: scores over recorded readings, and readers of a system that tells or does not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lab import cpu_times, environment
from lab.cli import lab
from lab.cpu_times import CpuTimes
from lab.errors import MachineError
from lab.noise import readers, scoring
from lab.noise.probe import PROBES
from lab.noise.readings import Loop, Readings, Times
from lab.noise.scoring import judge, share


def times(p50_ms: float, p99_ms: float, max_ms: float) -> Times:
    return Times(n=1000, p50_ms=p50_ms, p99_ms=p99_ms, max_ms=max_ms)


STILL = Readings(
    clock_step_ms=0.00005,
    wake=times(0.05, 0.1, 0.3),
    wake_by="timerfd",
    sleep=times(0.06, 0.1, 0.3),
    loops=tuple(Loop(cpu=c, took=times(0.02, 0.021, 0.2)) for c in range(8)),
    steal_share=0.0,
    foreign_cores=0.01,
    load1=0.1,
    cpus=8,
    physical_cores=8,
    virtual=False,
    shared_core=False,
    isolation="pinned",
    isolated_cpus=(),
    governors=("performance",),
    turbo=False,
    memory_mib=30000,
    spread=0.005,
    spread_of="noop S p50_ms",
)
# Two virtual cores of a cloud, with another program on them; the hypervisor tells neither governor nor turbo.
BUSY: dict[str, Any] = {
    "wake": times(0.1, 14.0, 40.0),
    "loops": tuple(Loop(cpu=c, took=times(0.02, 0.05, 45.0)) for c in range(2)),
    "steal_share": 0.08,
    "foreign_cores": 0.9,
    "load1": 2.4,
    "cpus": 2,
    "physical_cores": 2,
    "virtual": True,
    "governors": None,
    "turbo": None,
    "spread": None,
}
CLAIMS = ("cpu", "bytes", "cost", "cold", "p50")


def test_the_parts_make_a_hundred_and_a_still_machine_gets_them_all() -> None:
    found = judge(STILL, (*CLAIMS, "tail", "knee"))
    assert sum(p.most for p in found.parts) == 100
    assert (found.score, found.untold, found.invalid_now) == (100, 0, ())
    assert [p.advice for p in found.parts] == [""] * len(found.parts), "there is nothing to do"
    assert [w.claim for w in found.withheld] == ["scaling"]


def test_a_busy_machine_is_told_what_to_do_and_what_would_be_invalid() -> None:
    found = judge(replace(STILL, **BUSY), CLAIMS)
    assert found.score < 30
    assert found.machine_class == "2 virtual cores"
    assert len(found.invalid_now) == 3
    assert "other programs used 0.90 of a core; limit 0.25" in found.invalid_now
    assert [(w.claim, w.why) for w in found.withheld][:2] == [
        ("tail", "2 physical cores, wanted 4"),
        ("knee", "2 physical cores, wanted 8"),
    ]
    assert all(p.advice for p in found.parts if p.points is None or p.points < p.most)


UNTOLD = {"steal": "steal_share", "governor": "governors", "turbo": "turbo", "own cores": "shared_core", "A/A spread": "spread"}


@pytest.mark.parametrize(("part", "field"), UNTOLD.items())
def test_what_is_not_told_gives_no_points_and_says_so(part: str, field: str) -> None:
    found = judge(replace(STILL, **{field: None}), CLAIMS)
    judged = next(p for p in found.parts if p.name == part)
    assert judged.points is None
    assert "not told" in judged.found
    assert judged.advice
    assert (found.untold, found.score) == (judged.most, 100 - judged.most)


@pytest.mark.parametrize(
    ("field", "better", "worse"),
    [
        ("steal_share", 0.0, 0.02),
        ("foreign_cores", 0.0, 0.2),
        ("load1", 0.1, 4.0),
        ("physical_cores", 8, 4),
        ("memory_mib", 5000, 2000),
        ("clock_step_ms", 1e-5, 0.1),
        ("wake", times(0.1, 0.1, 0.1), times(0.1, 5.0, 9.0)),
        ("loops", (Loop(cpu=0, took=times(1, 1.01, 1.5)),), (Loop(cpu=0, took=times(1, 1.01, 10.0)),)),
        ("spread", 0.01, 0.05),
        ("governors", ("performance",), ("performance", "powersave")),
        ("turbo", False, True),
        ("shared_core", False, True),
    ],
)
def test_each_reading_moves_the_score_the_right_way(field: str, better: object, worse: object) -> None:
    good, bad = (judge(replace(STILL, **{field: value}), CLAIMS).score for value in (better, worse))
    assert good > bad


def test_shares_fall_from_good_to_bad_and_never_leave_0_to_1() -> None:
    assert [share(x, 1, 10) for x in (0, 1, 10, 99)] == [1, 1, 0, 0]
    assert share(10**0.5, 1, 10) == pytest.approx(0.5)
    assert [share(x, 8, 1) for x in (0, 1, 8, 16)] == [0, 0, 1, 1]
    assert share(8**0.5, 8, 1) == pytest.approx(0.5)
    assert [share(x, 0.0, 0.05) for x in (0.0, 0.025, 0.05)] == [1, 0.5, 0]


# ---- readers ---------------------------------------------------------------------------------------------------------


def cpu(own_s: float, at_s: float, **host: float) -> CpuTimes:
    return CpuTimes(host=host, own_s=own_s, at_s=at_s)


def test_steal_and_foreign_cpu_between_two_readings() -> None:
    """Ten seconds of two CPUs: 4 s user of which 3 are ours, 1 s stolen, 2 s of waiting for the disk."""
    before = cpu(1.0, 100.0, user=50.0, system=5.0, idle=70.0, iowait=0.0, steal=2.0)
    after = cpu(4.0, 110.0, user=54.0, system=5.0, idle=83.0, iowait=2.0, steal=3.0)
    assert cpu_times.steal_share(before, after) == pytest.approx(1 / 20)
    assert cpu_times.foreign_cores(before, after) == pytest.approx(0.1)


def test_steal_is_not_told_where_the_system_has_none() -> None:
    assert cpu_times.steal_share(cpu(0, 0, user=1, idle=1), cpu(0, 1, user=2, idle=2)) is None


def test_a_system_that_tells_nothing_is_read_as_none(tmp_path: Path) -> None:
    assert readers.governors((0, 1), tmp_path) is None
    assert readers.turbo(tmp_path) is None
    assert readers.isolated(tmp_path) == ()
    assert not readers.siblings_told((0,), tmp_path)


def test_what_the_kernel_tells_is_read(tmp_path: Path) -> None:
    def tell(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    tell("isolated", "2-3")
    tell("cpufreq/boost", "0")
    for n, governor in enumerate(("performance", "powersave")):
        tell(f"cpu{n}/cpufreq/scaling_governor", governor)
        tell(f"cpu{n}/topology/thread_siblings_list", "0-1")
    assert readers.isolated(tmp_path) == (2, 3)
    assert readers.turbo(tmp_path) is False
    assert readers.governors((0, 1), tmp_path) == ("performance", "powersave")
    assert readers.governors((0, 1, 2), tmp_path) is None, "one CPU does not say"
    assert readers.siblings_told((0, 1), tmp_path)
    tell("intel_pstate/no_turbo", "0")
    assert readers.turbo(tmp_path) is True


@pytest.mark.parametrize("name", PROBES)
def test_probes_measure_this_machine_from_a_process_of_their_own(name: str) -> None:
    cpus = environment.cores()[:1] if hasattr(os, "sched_setaffinity") else ()
    found = readers.probe(name, 0.2, cpus)
    assert found.n > 1
    assert 0 < found.p50_ms <= found.p99_ms <= found.max_ms


def test_a_probe_that_fails_says_what_it_said() -> None:
    with pytest.raises(MachineError, match="KeyError"):
        readers.probe("nothing", 0.1)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_options_of_noise_alone_are_refused() -> None:
    done = CliRunner().invoke(lab, ["doctor", "--aa"])
    assert done.exit_code == 2
    assert "--noise" in done.output


def test_every_part_is_printed_with_its_limit_and_its_advice(capsys: pytest.CaptureFixture[str]) -> None:
    from lab import console

    console.noise(judge(replace(STILL, **BUSY), CLAIMS), as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    for word in (
        scoring.NOT_TOLD,
        "score",
        "20 points were not told",
        "no claim on tail",
        "INVALID now",
        "--noise --aa",
        "--noise --driver",
    ):
        assert word in shown, word
