"""The command `lab` with a judge of the test's own, to whom the gate is decided from DECIDED_AT deployments per arm on."""

import importlib.util
import os
import sys
from types import ModuleType

from lab.model import Threshold

gate = ModuleType("lab.analysis.gate")
gate.decided = lambda summary, plan, look: _decided(summary, plan, look)  # type: ignore[attr-defined]
sys.modules[gate.__name__] = gate
if importlib.util.find_spec("lab.thresholds") is None:
    thresholds = ModuleType("lab.thresholds")
    thresholds.parse = lambda text: Threshold(text=text, metric="p50_ms", limit=1.2, against_base=True)  # type: ignore[attr-defined]
    sys.modules[thresholds.__name__] = thresholds


def _decided(summary, plan, look):  # type: ignore[no-untyped-def]
    assert {g.code_ref for g in summary.groups} == {"base", "head"}
    assert all(g.deployments == look for g in summary.groups), "a look is at the deployments until then, and at no other"
    return look >= int(os.environ.get("DECIDED_AT", "1000"))


if __name__ == "__main__":
    from lab.cli import main

    main()
