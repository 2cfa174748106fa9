"""One measurement at a time: the lock names its holder and dies with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import ownership
from lab.errors import MachineError
from lab.measuring import exclusive
from lab.settings import Settings

HOLD = """
import sys
from lab.measuring import exclusive
with exclusive("lab run other"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of the test's own, so that a run on this machine is not in its way."""
    monkeypatch.setenv("LAB_LOCK", str(tmp_path / "lock"))


@pytest.mark.usefixtures("own_lock")
def test_the_second_is_refused_with_the_first_ones_name_until_it_dies() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(MachineError, match=rf"lab run other \(pid {other.pid}\)") as caught, exclusive("mine"):
            pass
        assert caught.value.exit_code == 3
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    with exclusive("mine"):
        pass


def test_a_lab_is_owned_as_long_as_its_owner_lives(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lab.ownership import claim\nfrom lab.settings import Settings\n"
        f"print(claim(Settings(home={str(tmp_path)!r}), 'x').state, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        state = Path(other.stdout.readline().strip())
        assert state.name == "run-x"
        assert ownership.owned(state)
        other.kill()
        other.wait()
    assert not ownership.owned(state)
    assert not ownership.owned(ownership.claim(Settings(home=str(tmp_path)), "mine").state)
