"""The four experiments that must end INVALID, one after the other, each with its sentence: `python -m benchmarks.experiment_invalid`.

Exit 1 where one of them is VALID, or INVALID for another reason than the planned one.
"""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.experiments import lab
from lab.analysis.results import Summary
from tests.answering import Answering


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """`sentence`: a pattern that a reason must have; `never`: words which would say that it was not the planned experiment. `wrong`: of a
    service that answers fast and wrong, which has to be there first."""

    scenario: str
    sentence: str
    never: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    wrong: bool = False


OVERLOADED = Experiment(
    scenario="experiments/overloaded-driver",
    options=("--set", "driver_processes=1"),
    sentence=r"the driver('s lag p99 is .* ms| dropped \d+| sent \d+ of| used \d+% of its core)",
)
NEIGHBOUR = Experiment(
    scenario="experiments/noisy-neighbour",
    sentence=r"at 20/s: other programs used \d\.\d+ of a core; limit 0\.25",
    never=("the planned", "does not have"),
)
COLD_WAVE = Experiment(
    scenario="experiments/cold-wave",
    sentence=r"at 5/s: \d+ of \d+ requests of the warm window met a cold start; limit 1%",
    never=("died",),  # it was killed as planned
)
WRONG = Experiment(
    scenario="experiments/fast-and-wrong",
    sentence=r"classify: (\d+) of \1 answers were wrong \(100\.0%\); limit 0\.0%",
    wrong=True,
)
EXPERIMENTS = (OVERLOADED, NEIGHBOUR, COLD_WAVE, WRONG)


def words(experiment: Experiment, url: str = "") -> tuple[str, ...]:
    """Of the command `lab`. `url`: of the service that answers wrong."""
    where = ("--provider", "external", "--url", f"{url}/wrong") if experiment.wrong else ()
    return (*experiment.options, *where, "run", experiment.scenario)


def judge(experiment: Experiment, summary: Summary) -> tuple[bool, str]:
    """Whether it ended as it must, and the reason that says so, or what was found instead."""
    valid = [c.cell for c in summary.cells if c.valid]
    if valid or not summary.cells:
        return False, f"VALID: {', '.join(valid) or 'nothing was measured'}; wanted INVALID with {experiment.sentence!r}"
    found = [reason for cell in summary.cells for reason in cell.reasons]
    fitting = [reason for reason in found if re.search(experiment.sentence, reason)]
    odd = [reason for reason in found if any(each in reason for each in experiment.never)]
    if odd or not fitting:
        return False, f"INVALID for another reason: {'; '.join(odd or found)}; wanted {experiment.sentence!r}"
    return True, f"INVALID: {fitting[0]}"


def main() -> int:
    ended = []
    for experiment in EXPERIMENTS:
        with ExitStack() as around:
            url = around.enter_context(Answering()).url if experiment.wrong else ""
            right, line = judge(experiment, lab(*words(experiment, url)).summary)
        ended.append((right, f"{experiment.scenario.partition('/')[2]:18} {'as it must' if right else 'WRONG':10}  {line}"))
    print(*(line for _, line in ended), sep="\n")
    return 0 if all(right for right, _ in ended) else 1


if __name__ == "__main__":
    sys.exit(main())
