"""Every workshop, ours and the user's own: what a learner and a trainer need is there, and its questions can be answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from lab import registry, scenario
from lab.contracts import Capabilities
from lab.errors import InputError
from lab.plan import compile
from lab.settings import Settings
from lab.workshops import learner

CAPABLE = Capabilities(isolation="none", enforcement="none", scales_to_zero=True, scaler="any", faults=("kill", "pause"), system_cpus=(0,))

MINUTES = 20
READING_S = 15 * 60  # predicting and explaining
CAPABLE = Capabilities(isolation="none", enforcement="none", scales_to_zero=True, scaler="any", faults=("kill", "pause"), system_cpus=(0,))

each_workshop = pytest.mark.parametrize("name", registry.workshops())


@each_workshop
def test_it_has_pages_scenarios_and_questions_of_its_own(name: str) -> None:
    found = learner.lesson(name)
    assert found.title
    assert found.scenarios
    page = (found.folder / "lesson.md").read_text()
    assert re.findall(rf"lab run ({name}/\S+)", page) == [f"{name}/{path.name}" for path in found.scenarios]
    assert f"lab workshop check {name}" in page
    assert re.search(r"usually get wrong", (found.folder / "trainer.md").read_text())
    questions = found.questions()
    assert len({q.id for q in questions}) == len(questions) >= 3
    assert all(q.ask.strip().endswith("?") for q in questions)
    assert all(bool(q.choices) != bool(q.unit) for q in questions)


@each_workshop
def test_an_unfilled_file_of_predictions_asks_for_every_question(name: str, tmp_path: Path) -> None:
    folder = Path(learner.start(name, tmp_path).folder)
    found = learner.lesson(name)
    assert yaml.safe_load((folder / learner.PREDICTIONS).read_text()) == {q.id: None for q in found.questions()}
    with pytest.raises(InputError) as raised:
        learner.predictions(folder, found)
    assert len(raised.value.problems) == len(found.questions())
    answers = {q.id: q.choices[0] if q.choices else 1.5 for q in found.questions()}
    (folder / learner.PREDICTIONS).write_text(yaml.safe_dump(answers))
    assert learner.predictions(folder, found) == answers


@each_workshop
def test_its_runs_fit_into_twenty_minutes(name: str) -> None:
    plans = [compile(scenario.load(str(path)), Settings(), CAPABLE) for path in learner.lesson(name).scenarios]
    assert sum(p.expected_s for p in plans) <= MINUTES * 60 - READING_S
