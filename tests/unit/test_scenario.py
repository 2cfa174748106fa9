"""Scenario files: the file name is the assertion; every mistake is reported at once with line, found and wanted."""

from pathlib import Path

import pytest

from lab import scenario
from lab.errors import InputError

FOLDER = Path(__file__).parent / "scenarios"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("valid-*.yaml")), ids=lambda p: p.stem)
def test_valid(path: Path) -> None:
    assert scenario.load(str(path)).name == path.stem


@pytest.mark.parametrize("path", sorted(FOLDER.glob("invalid-*.yaml")), ids=lambda p: p.stem)
def test_invalid_names_file_and_next_step(path: Path) -> None:
    with pytest.raises(InputError) as caught:
        scenario.load(str(path))
    assert path.name in caught.value.what
    assert caught.value.hint


def test_five_mistakes_give_five_problems_in_order_of_line() -> None:
    with pytest.raises(InputError) as caught:
        scenario.load(str(FOLDER / "invalid-five-mistakes.yaml"))
    problems = [p.split("invalid-five-mistakes.yaml:")[1] for p in caught.value.problems]
    starts = [
        "3: workload: found 'visionn', wanted one of",
        "4: model_size[0]: found 'XL'",
        "5: architectures[1].options.max_instanecs: found an unknown",
        "7: load.rates_per_s[1]: found 'fast', wanted number",
        "8: load.window: found an unknown key",
        "9: deployments: found 0, wanted",
    ]
    assert len(problems) == len(starts)
    for problem, start in zip(problems, starts, strict=True):
        assert problem.startswith(start)


def test_a_wrong_option_type_says_what_was_wanted() -> None:
    with pytest.raises(InputError) as caught:
        scenario.load(str(FOLDER / "invalid-option-type.yaml"))
    (problem,) = caught.value.problems
    assert "batch_max: found 'many', wanted `int`" in problem


def test_an_unknown_scenario_suggests_the_nearest_name() -> None:
    with pytest.raises(InputError, match="no scenario is called 'comprae'") as caught:
        scenario.load("comprae")
    assert "did you mean 'compare'?" in caught.value.hint
