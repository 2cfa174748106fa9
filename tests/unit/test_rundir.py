"""Run directories: atomic writes, tails cut off by a kill, errors that name the file."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import rundir
from lab.errors import InputError, MachineError
from lab.model import Usage
from lab.rundir import CellStatus, RunDir


def test_status_round_trip(tmp_path: Path) -> None:
    cell = RunDir(tmp_path).cell("01-x")
    status = CellStatus(cell="01-x", status="done", windows=((0, 1.0, 2.5),), driver={"lag_p99_ms": 1.5})
    cell.mark(status)
    assert cell.status() == status


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    cell = RunDir(tmp_path).cell("01-x")
    line = rundir.msgspec.json.encode(Usage(at_s=1.0, service="app", tier="architecture", instances=1, cpu_s=0.5, memory_mib=None))
    rundir.append(cell.usage, line + b"\n" + line[:20])
    assert [u.memory_mib for u in cell.lines(cell.usage, Usage)] == [None]


def test_a_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.summary.write_text('{"cell": 1}')
    with pytest.raises(InputError, match=r"summary\.json cannot be read"):
        run.read(run.summary, CellStatus)
    with pytest.raises(InputError, match=r"has no plan\.json"):
        run.read(run.plan, CellStatus)


FULL = """
import resource, signal, sys
from pathlib import Path
from lab import rundir
from lab.errors import MachineError
target = Path(sys.argv[1])
rundir.write(target, b"old")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    rundir.write(target, b"x" * 100)
except MachineError as error:
    print(error.what)
"""


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "summary.json"
    done = subprocess.run([sys.executable, "-c", FULL, str(target)], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_threads_may_write_the_same_file_at_once(tmp_path: Path) -> None:
    target, values = tmp_path / "lab", [b"%d" % i * 5000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            list(pool.map(lambda value: rundir.write(target, value), values))
            assert target.read_bytes() in values
    assert [p.name for p in tmp_path.iterdir()] == ["lab"]


def test_a_full_disk_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "replace", _no_space)
    with pytest.raises(MachineError, match="no space left") as caught:
        rundir.write(tmp_path / "a", b"x")
    assert "--resume" in caught.value.hint


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")
