"""Every scenario, ours and the user's own: it is valid, says what it is for, and what is to be served compiles to a plan that fits."""

from dataclasses import replace

import pytest

from lab import registry, scenario
from lab.contracts import Capabilities
from lab.plan import compile
from lab.settings import Settings

CAPABLE = Capabilities(isolation="none", enforcement="none", scaler="any", faults=("kill", "pause"), system_cpus=(0,))

each_scenario = pytest.mark.parametrize("name", registry.names("scenarios"))


@each_scenario
def test_it_is_valid_and_says_what_it_is_for(name: str) -> None:
    assert scenario.load(name).body.about


@each_scenario
def test_what_it_serves_can_be_planned(name: str) -> None:
    loaded = scenario.load(name)
    if isinstance(loaded.body, scenario.Train):
        return
    plan = compile(loaded, Settings(), replace(CAPABLE, deploys=loaded.body.service is None))
    subjects = [c for c in plan.cells if c.role == "subject"]
    assert len(subjects) == loaded.body.deployments * max(1, len(loaded.body.architectures)) * len(loaded.body.model_size)
    assert all(c.expected_s > 0 for c in plan.cells)
