"""Every metric that a threshold may name, one value per valid deployment, or why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.analysis import analyze
from lab.analysis.results import Deployed
from lab.thresholds import METRICS
from tests.unit import runs


def deployed(folder: Path, **changes: object) -> dict[str, Deployed]:
    """Of three deployments of one architecture with one window of 400 requests at 20/s."""
    recipe = {"rates_per_s": (20.0,), "window_s": 20.0} | changes
    behaviour = recipe.pop("behaviour", runs.Behaviour(spread=0.0))
    run = runs.build(folder / "run", runs.Recipe(architectures={"alpha": behaviour}, **recipe))  # type: ignore[arg-type, dict-item]
    (group,) = analyze.analyze(run).groups
    assert all(len(d.values) in (0, group.valid_deployments) for d in group.deployed.values())
    assert all(bool(d.values) != bool(d.why_missing) for d in group.deployed.values())
    return dict(group.deployed)


def test_what_can_be_named_is_measured(tmp_path: Path) -> None:
    assert set(deployed(tmp_path)) == set(METRICS)


def test_each_metric_has_the_value_that_was_put_in(tmp_path: Path) -> None:
    found = deployed(tmp_path, behaviour=runs.Behaviour(median_ms=20.0, spread=0.0, failed=0.005, cpu_per_s=(0.2, 0.05), cold_ms=700.0))
    assert found["p50_ms"].values == pytest.approx([20.0] * 3, rel=0.02)
    assert found["cpu_ms"].values == pytest.approx([10.0] * 3, rel=0.05)
    assert found["achieved_per_s"].values == pytest.approx([20.0] * 3, rel=0.02)
    assert found["error_rate"].values == pytest.approx([0.005] * 3, rel=0.01)
    assert found["error_rate"].asked == (400,) * 3
    assert found["wrong_rate"].values == (0.0,) * 3
    assert found["cold_ms"].values == pytest.approx([700.0] * 3, rel=0.1)
    assert found["ready_s"].values == (0.8,) * 3


def test_a_percentile_needs_its_requests_in_every_deployment(tmp_path: Path) -> None:
    found = deployed(tmp_path, window_s=10.0)
    assert found["p95_ms"].values
    assert not found["p99_ms"].values and "needs 368" in found["p99_ms"].why_missing
    assert found["p99_ms"].measured  # longer windows would bring it; nobody need take the threshold out


def test_what_nobody_measured_says_so(tmp_path: Path) -> None:
    found = deployed(tmp_path, behaviour=runs.Behaviour(cpu_per_s=None))
    for name in ("cpu_ms", "cold_ms"):
        assert not found[name].measured and found[name].why_missing and not found[name].values
