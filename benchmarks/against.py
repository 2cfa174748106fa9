"""The lab's own hot paths here beside those of another commit, on this machine, in turn, judged: `python benchmarks/against.py BASE`.

Either side's suites run ROUNDS times, each in a process of its own, in the order ABBA; `lab gate --from` judges the files. Absolute times
are never kept: they say nothing on another machine, or tomorrow. The exit code is that of the gate.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 4
HERE = Path(__file__).parent.parent
THRESHOLD = "median vs base < +10 %"


def measure(tree: Path, told: Path) -> None:
    """PYTHONPATH goes before the editable install, so the tree's own lab is measured."""
    argv = ["-m", "pytest", "benchmarks", "--benchmark-enable", "--benchmark-only", "-q", f"--benchmark-json={told}"]
    subprocess.run([sys.executable, *argv], cwd=tree, check=True, env={**os.environ, "PYTHONPATH": str(tree)})


def main(base: str) -> int:
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as name:
        folder = Path(name)
        trees = {"base": folder / "tree", "head": HERE}
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(trees["base"]), base], cwd=HERE, check=True)
        told: dict[str, list[Path]] = {"base": [], "head": []}
        try:
            for turn in range(ROUNDS):
                for side in ("base", "head") if turn % 2 == 0 else ("head", "base"):
                    told[side].append(folder / f"{side}-{turn}.json")
                    measure(trees[side], told[side][-1])
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(trees["base"])], cwd=HERE, check=True)
        files = [",".join(map(str, told[side])) for side in ("base", "head")]
        return subprocess.run([sys.executable, "-m", "lab", "gate", "--from", *files, "--threshold", THRESHOLD], cwd=HERE).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
