"""Which CPUs the architecture gets: apart from everything else where the machine has two physical cores, told as `none` where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import cores
from lab.cores import Cores

PLAIN_2 = [(0,), (1,)]
THREADED_1 = [(0, 1)]
THREADED_4 = [(0, 4), (1, 5), (2, 6), (3, 7)]


@pytest.mark.parametrize(
    ("machine", "cpus", "expected"),
    [
        (PLAIN_2, 1.0, Cores(system=(1,), rest=(0,))),
        (PLAIN_2, 0.5, Cores(system=(1,), rest=(0,))),
        (PLAIN_2, 2.0, Cores(system=(0, 1), rest=(0, 1))),
        (THREADED_1, 1.0, Cores(system=(0, 1), rest=(0, 1))),
        (THREADED_4, 1.0, Cores(system=(3,), rest=(0, 1, 2, 4, 5, 6))),
        (THREADED_4, 1.5, Cores(system=(3, 7), rest=(0, 1, 2, 4, 5, 6))),
        (THREADED_4, 3.0, Cores(system=(2, 3, 6), rest=(0, 1, 4, 5))),
        (THREADED_4, 8.0, Cores(system=tuple(range(8)), rest=tuple(range(8)))),
        ([(5,)], 1.0, Cores(system=(5,), rest=(5,))),
    ],
)
def test_share(machine: list[tuple[int, ...]], cpus: float, expected: Cores) -> None:
    found = cores.share(machine, cpus)
    assert found == expected
    assert found.isolation == ("none" if expected.system == expected.rest else "pinned")
    assert found.enforcement == "affinity"


def test_the_other_thread_of_an_architectures_core_stays_idle() -> None:
    found = cores.share(THREADED_4, 1.0)
    assert 7 not in found.rest


def test_physical_cores_are_read_from_the_thread_siblings(tmp_path: Path) -> None:
    for cpu, siblings in {0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5", 2: "2-3", 3: "2-3"}.items():
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert cores.physical(frozenset({0, 1, 2, 3, 4, 5}), tmp_path) == [(0, 4), (1, 5), (2, 3)]
    assert cores.physical(frozenset({0, 1, 5}), tmp_path) == [(0,), (1, 5)], "only those that we may use"
    assert cores.physical(frozenset({8, 9}), tmp_path) == [(8,), (9,)], "a CPU of which nothing is said is a core"


def test_without_affinity_nothing_is_claimed() -> None:
    nothing = Cores(system=(), rest=())
    assert (nothing.isolation, nothing.enforcement) == ("none", "none")
