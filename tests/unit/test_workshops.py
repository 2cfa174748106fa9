"""Workshops: predictions are sealed by the run, judged by the learner's own run, and nothing else passes for one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import yaml

from lab import registry, rundir
from lab.errors import InputError, LabError, UnusableError
from lab.model import Environment, Plan
from lab.rundir import RunDir
from lab.workshops import Evidence, Question, Truth, judge, learner, words
from lab.workshops.check import Checked, check
from tests.unit.runs import Behaviour, Broken, Recipe, build

# A lesson of the user's own: one scenario, and what is asked of it.
PAGE = "# How fast is it?\n\n    lab run own/own.yaml\n    lab workshop check own\n"
CHECK = '''
"""How fast alpha is."""

from lab.workshops import Question, Truth


def median(evidence):
    alpha = next(g for g in evidence.summaries["own"].groups if g.name == "alpha")
    stat = alpha.steps[0].latency["p50"]
    return Truth(shows=stat.value, low=stat.low, high=stat.high, why="the median of " + evidence.runs["own"].name)


def faster(evidence):
    alpha, beta = (g.steps[0].latency["p50"].value for g in evidence.summaries["own"].groups)
    return Truth(shows="alpha" if alpha < beta else "beta", why=f"{alpha:.0f} ms and {beta:.0f} ms")


QUESTIONS = (
    Question(id="median_ms", ask="How fast is alpha?", unit="ms", truth=median),
    Question(id="faster", ask="Which is faster?", choices=("alpha", "beta"), truth=faster),
    Question(id="unknown", ask="What cannot be told?", unit="ms", truth=lambda evidence: Truth(shows=None, why="nobody measured it")),
)
'''
ANSWERS = {"median_ms": 20, "faster": "beta", "unknown": 5}
RECIPE = Recipe(rates_per_s=(10.0,), floor=False)


class Classroom:
    """One learner's folder, with runs made as `lab run` makes them, but for the measuring."""

    def __init__(self, root: Path) -> None:
        self.root, self.runs = root, root / "reports/runs"
        lesson = root / "scenarios/workshops/own"
        lesson.mkdir(parents=True)
        for name, text in (("lesson.md", PAGE), ("check.py", CHECK), ("trainer.md", ""), ("own.yaml", "kind: serve\n")):
            (lesson / name).write_text(text)
        self.made = 0

    def predict(self, **answers: object) -> None:
        (self.root / "own" / learner.PREDICTIONS).write_text(yaml.safe_dump({**ANSWERS, **answers}))

    def run(self, recipe: Recipe = RECIPE, folder: str = "own", *, started_at: str = "2099-01-01T00:00:00Z") -> RunDir:
        self.made += 1
        scenario = self.root / folder / "own.yaml"
        sha = hashlib.sha256(scenario.read_bytes()).hexdigest()
        run = RunDir(self.runs / f"2099-{self.made:02d}-own")
        sealed = learner.seal(scenario, sha, run)
        build(run.root, recipe)
        plan, about = run.read(run.plan, Plan), run.read(run.environment, Environment)
        rundir.write(run.plan, rundir.encode(replace(plan, scenario="own", scenario_sha256=sha)))
        rundir.write(run.environment, rundir.encode(replace(about, started_at=started_at)))
        if sealed is not None:
            rundir.write(run.root / learner.SEAL, rundir.encode(sealed))
        return run

    def check(self, *given: RunDir) -> Checked:
        return check("own", self.root, self.runs, given)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Classroom:
    monkeypatch.setenv(registry.PROJECT_VARIABLE, str(tmp_path))
    made = Classroom(tmp_path)
    learner.start("own", tmp_path)
    made.predict()
    return made


# ---- the way it is meant ---------------------------------------------------------------------------------------------


def test_each_prediction_is_held_against_the_run_and_explained_by_it(room: Classroom) -> None:
    run = room.run()
    found = room.check()
    median, faster, unknown = found.judged
    assert (median.right, faster.right, unknown.right) == (True, False, None)
    assert (median.predicted, faster.predicted, faster.shows) == (20.0, "beta", "alpha")
    assert median.low is not None and median.low <= 20 <= (median.high or 0)
    assert median.why == f"the median of {run.name}"
    assert found.runs == (run.name,)
    shown = "\n".join(words.checked(found))
    assert "1 of 2 predictions were right" in shown
    assert "your run cannot tell: nobody measured it" in shown
    assert "you predicted  beta" in shown


def test_the_truth_is_that_of_the_run_and_not_a_stored_one(room: Classroom) -> None:
    room.run()
    room.run(replace(RECIPE, architectures={"alpha": Behaviour(median_ms=200.0), "beta": Behaviour(median_ms=30.0)}))
    median, faster, _ = room.check().judged
    assert (median.right, faster.right) == (False, True), "the newest run counts"
    assert median.shows == pytest.approx(200, rel=0.1)


def test_summaries_in_the_run_are_not_believed(room: Classroom) -> None:
    run = room.run()
    rundir.write(run.summary, b'{"median": "forged"}')
    assert room.check().judged[0].right is True


def test_a_learner_may_stand_in_the_folder_of_the_lesson(room: Classroom) -> None:
    room.run()
    assert check("own", room.root / "own", room.runs).judged


def test_the_learner_gets_no_answers_and_no_second_start(room: Classroom) -> None:
    assert {p.name for p in (room.root / "own").iterdir()} == {"lesson.md", "own.yaml", learner.PREDICTIONS, learner.STARTED}
    with pytest.raises(InputError, match="stands already"):
        learner.start("own", room.root)


# ---- predict first ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({"median_ms": None}, "median_ms: found nothing"),
        ({"median_ms": "fast"}, "median_ms: found 'fast'"),
        ({"median_ms": -1}, "median_ms: found -1"),
        ({"median_ms": True}, "median_ms: found True"),
        ({"median_ms": float("nan")}, "median_ms: found nan"),
        ({"faster": "gamma"}, "faster: found 'gamma', wanted one of: alpha | beta"),
        ({"else": 1}, "else: found a question that the lesson does not ask"),
    ],
)
def test_no_run_begins_before_the_predictions_are_ready(room: Classroom, answers: dict[str, object], problem: str) -> None:
    room.predict(**answers)
    with pytest.raises(InputError) as raised:
        room.run()
    assert any(p.startswith(problem) for p in raised.value.problems)
    assert not room.runs.exists()


@pytest.mark.parametrize("text", ["- 1\n", "a: [", ""])
def test_what_is_no_file_of_predictions_is_refused(room: Classroom, text: str) -> None:
    (room.root / "own" / learner.PREDICTIONS).write_text(text)
    with pytest.raises(InputError):
        room.run()


def test_a_scenario_elsewhere_is_no_lesson(room: Classroom) -> None:
    assert learner.seal(room.root / "scenarios/workshops/own/own.yaml", "0" * 64, RunDir(room.runs / "x")) is None


# ---- trying to fool it -----------------------------------------------------------------------------------------------


def test_predictions_that_are_changed_after_the_run_change_nothing_and_are_told(room: Classroom) -> None:
    room.run()
    room.predict(faster="alpha")
    found = room.check()
    assert found.judged[1].predicted == "beta"
    assert found.judged[1].right is False
    assert "changed after the run" in found.notes[0]
    with pytest.raises(InputError, match="was changed after the first run of this lesson: faster"):
        room.run()


def change(run: RunDir, **fields: object) -> None:
    seal = json.loads((run.root / learner.SEAL).read_text())
    (run.root / learner.SEAL).write_text(json.dumps(seal | fields))


def no_seal(room: Classroom) -> RunDir:
    run = room.run()
    (run.root / learner.SEAL).unlink()
    return run


def forged(room: Classroom) -> RunDir:
    run = room.run()
    change(run, predictions={**ANSWERS, "faster": "alpha"})
    return run


def copied(room: Classroom) -> RunDir:
    """The seal of one run in another."""
    first, second = room.run(), room.run()
    (second.root / learner.SEAL).write_bytes((first.root / learner.SEAL).read_bytes())
    return second


def of_another(room: Classroom) -> RunDir:
    """Made in another start of the lesson, such as the neighbour's."""
    (room.root / "own").rename(room.root / "neighbour")
    run = room.run(folder="neighbour")
    learner.start("own", room.root)
    room.predict()
    return run


def old(room: Classroom) -> RunDir:
    return room.run(started_at="2000-01-01T00:00:00Z")


def eased(room: Classroom) -> RunDir:
    """The learner's scenario was made easier before the run."""
    with (room.root / "own/own.yaml").open("a") as file:
        file.write("seed: 2\n")
    return room.run()


def resealed(room: Classroom) -> RunDir:
    """Predictions and digest forged together: what the first run sealed still stands in the folder."""
    run = room.run()
    path = run.root / learner.SEAL
    seal = rundir.decode(path.read_bytes(), learner.Seal, "")
    rundir.write(path, rundir.encode(replace(seal, predictions={**seal.predictions, "faster": "alpha"}).sealed()))
    return run


@pytest.mark.parametrize(
    ("fool", "sentence"),
    [
        (no_seal, "was not made from the folder of this lesson"),
        (forged, "its seal does not fit"),
        (copied, "its seal does not fit"),
        (of_another, "made by another learner"),
        (old, "before you started this lesson"),
        (eased, "its scenario is not the lesson's"),
        (resealed, "not those that your first run sealed"),
    ],
)
def test_what_is_not_the_learners_own_run_of_this_lesson_is_refused(
    room: Classroom, fool: Callable[[Classroom], RunDir], sentence: str
) -> None:
    run = fool(room)
    with pytest.raises(InputError, match=sentence) as raised:
        room.check(run)
    assert "lab run own/own.yaml" in raised.value.hint


def test_a_run_of_another_scenario_is_refused(room: Classroom) -> None:
    room.run()
    other = build(room.runs / "2099-99-other", RECIPE)
    with pytest.raises(InputError, match="is a run of 'synthetic', wanted one of own"):
        room.check(other)


def test_without_a_run_the_next_step_is_named(room: Classroom) -> None:
    with pytest.raises(InputError, match="no run of own") as raised:
        room.check()
    assert raised.value.hint == "`lab run own/own.yaml`"
    with pytest.raises(InputError, match="was not started"):
        check("own", room.root / "reports", room.runs)


def test_a_run_that_is_invalid_judges_nobody(room: Classroom) -> None:
    room.run(replace(RECIPE, deployments=1, broken={"01-alpha-S": Broken(driver={"steal_share": 0.5})}))
    with pytest.raises(UnusableError, match="no valid deployment of alpha: 01-alpha-S: the hypervisor took") as raised:
        room.check()
    assert raised.value.exit_code == 4


def test_a_broken_file_of_the_learner_is_an_error_with_its_name(room: Classroom) -> None:
    (room.root / "own" / learner.STARTED).write_text("{")
    with pytest.raises(LabError, match=r"\.workshop\.json cannot be read"):
        room.run()


def test_a_lesson_without_questions_says_so(room: Classroom) -> None:
    empty = room.root / "scenarios/workshops/empty"
    empty.mkdir()
    (empty / "lesson.md").write_text(PAGE)
    for wanted in ("has no check.py", "QUESTIONS"):
        with pytest.raises(InputError, match=wanted):
            learner.start("empty", room.root / wanted.split()[0])
        (empty / "check.py").write_text('"""Nothing."""\n')
    with pytest.raises(InputError, match="no workshop is called 'nope'"):
        learner.lesson("nope")


# ---- judging ---------------------------------------------------------------------------------------------------------


def number(within: float = 2.0) -> Question:
    return Question(id="x", ask="?", unit="ms", within=within, truth=lambda e: Truth(shows=None, why=""))


@pytest.mark.parametrize(
    ("predicted", "truth", "right"),
    [
        (50.0, Truth(shows=100.0, why=""), True),
        (49.0, Truth(shows=100.0, why=""), False),
        (200.0, Truth(shows=100.0, why=""), True),
        (201.0, Truth(shows=100.0, why=""), False),
        (260.0, Truth(shows=100.0, low=90.0, high=300.0, why=""), True),
        (60.0, Truth(shows=100.0, low=99.0, high=101.0, why=""), True),
        (60.0, Truth(shows=None, why=""), None),
    ],
)
def test_a_number_is_right_in_the_interval_or_within_its_factor(predicted: float, truth: Truth, right: bool | None) -> None:
    assert judge(number(), predicted, truth).right is right


def test_evidence_is_plain_data() -> None:
    assert Evidence(runs={}, summaries={}).runs == {}
    assert msgspec.json.encode(judge(number(), 1.0, Truth(shows=1.0, why="so")))
