"""The command `lab`, to which a gate is decided from DECIDED_AT deployments per arm on, whatever was measured."""

import os

from lab.analysis import gate
from lab.analysis.results import Summary
from lab.cli import main
from lab.model import Plan


def decided(summary: Summary, plan: Plan, look: int) -> bool:
    assert {g.code_ref for g in summary.groups} == {"base", "head"}
    assert all(g.deployments == look for g in summary.groups), "a look is at the deployments until then, and at no other"
    return look >= int(os.environ.get("DECIDED_AT", "1000"))


if __name__ == "__main__":
    gate.decided = decided
    main()
