"""From a stranger's repository to the exit code: `lab run --base`, then `lab gate` on what it measured; also the history that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import repositories
from tests.repositories import git, lab

SCENARIO = repositories.SCENARIO.replace('["p50_ms vs base < +20 %"]', '["p50_ms vs base < +20 %", "error_rate < 20 %"]')


@pytest.mark.slow
@pytest.mark.parametrize(("base_ms", "head_ms", "verdict", "code"), [(1.0, 12.0, "FAIL", 1), (12.0, 1.0, "PASS", 0)])
def test_a_commit_is_measured_and_judged(tmp_path: Path, base_ms: float, head_ms: float, verdict: str, code: int) -> None:
    """Twelve times as long shows with three deployments of each side. On a busy machine cells are INVALID and what is left may be too
    few: then it is INCONCLUSIVE, never the opposite."""
    folder = repositories.made(tmp_path / "mine", base_ms=base_ms, head_ms=head_ms, scenario=SCENARIO)
    ran = lab(folder, "run", "gate", "--base", "HEAD~1")
    assert ran.returncode in (0, 4), ran.stderr
    (run,) = (folder / "reports" / "runs").iterdir()
    valid = all(c["valid"] for c in json.loads((run / "summary.json").read_text())["cells"] if c["measured"])

    judged = lab(folder, "--json", "gate", "last")
    found = json.loads(judged.stdout)
    fair = {(verdict, code)} if valid else {(verdict, code), ("INCONCLUSIVE", 4)}
    assert (found["verdict"], judged.returncode) in fair, judged.stderr
    assert [r["commit"] for r in found["refs"]] == [git(folder, "rev-parse", ref) for ref in ("HEAD~1", "HEAD")]
    assert (run / "gate.md").read_text().startswith(f"**{found['verdict']}** ")
    assert (run / "junit.xml").is_file()
    assert judged.stdout == lab(folder, "--json", "gate", str(run)).stdout, "the directory alone decides"

    kept = lab(folder, "history", "--export", "json", "--metric", "p50_ms")
    if valid:
        sides = {r["group"]: r["commit"] for r in json.loads(kept.stdout)}
        assert sides == {f"service @{r['name']}": r["commit"] for r in found["refs"]}
