"""Ten million samples summarised beside what pyarrow and numpy need to read and sort them: `PYTHONPATH=. python benchmarks/ten_million.py`.

Prints both times, their ratio (goal 2) and the peak memory of each (goal 2,048 MiB). Either works in a process of its own, in turn, three
times; headers are all different, as real ones are. Linux only (/proc tells the peak;
getrusage would tell that of the process which started it).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from tests.unit.runs import Behaviour, Recipe, build

CELLS, TURNS = 20, 3
SUMMARISE = """
from lab.analysis.summarize import summarize
from lab.rundir import RunDir
found = summarize(RunDir(root))
n = sum(s.error_rate.n for g in found.groups for s in g.steps)
"""
READ_AND_SORT = """
import numpy as np, pyarrow.parquet as pq
n = 0
for path in sorted(root.glob("cells/*/samples.parquet")):
    t = pq.ParquetFile(path).read()
    n += len(np.sort(t["done_s"].to_numpy() - t["intended_s"].to_numpy()))
"""
AROUND = """
import json, sys, time
from pathlib import Path
import numpy, pyarrow.parquet, lab.analysis.summarize
root, began = Path(sys.argv[1]), time.perf_counter()
{work}
took = time.perf_counter() - began
peak_kib = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([n, took, peak_kib / 1024]))
"""


def make(root: Path, samples: int) -> None:
    recipe = Recipe(
        architectures={"alpha": Behaviour(), "beta": Behaviour(median_ms=30.0, hops=3)},
        deployments=CELLS // 2,
        rates_per_s=(1000.0, 4000.0),
        window_s=samples / CELLS / 5000,
        floor=False,
    )
    for path in sorted(build(root, recipe).root.glob("cells/*/samples.parquet")):
        _tell_headers_apart(path)


def _tell_headers_apart(path: Path) -> None:
    table = pq.read_table(path)
    place = table.schema.get_field_index("server_timing")
    numbers = pa.array(np.arange(len(table)).astype(str))
    headers = pa.compute.binary_join_element_wise(table["server_timing"], numbers, ", left_out;dur=0;desc=")
    pq.write_table(table.set_column(place, table.schema.field(place), headers), path, compression="zstd")


def timed(work: str, root: Path) -> tuple[int, float, float]:
    argv = [sys.executable, "-c", AROUND.format(work=work), str(root)]
    n, took_s, peak_mib = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True, env=os.environ).stdout)
    return n, took_s, peak_mib


def main(samples: int) -> None:
    with tempfile.TemporaryDirectory(prefix="lab-ten-million-") as name:
        began = time.perf_counter()
        make(Path(name), samples)
        print(f"made {samples:,} samples in {CELLS} cells in {time.perf_counter() - began:.0f} s", flush=True)
        took: dict[str, list[tuple[int, float, float]]] = {"summarise": [], "read and sort": []}
        for _ in range(TURNS):
            took["summarise"].append(timed(SUMMARISE, Path(name)))
            took["read and sort"].append(timed(READ_AND_SORT, Path(name)))
    for what, turns in took.items():
        assert all(n == samples for n, _, _ in turns), turns
        each = ", ".join(f"{s:.1f}" for _, s, _ in turns)
        print(f"{what:14} {statistics.median(s for _, s, _ in turns):6.2f} s ({each}), peak {max(m for _, _, m in turns):,.0f} MiB")
    lab_s, bare_s = (statistics.median(s for _, s, _ in turns) for turns in took.values())
    print(f"ratio          {lab_s / bare_s:6.2f} (goal 2)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
