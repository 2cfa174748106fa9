"""What goes wrong, with what to do about it; the class owns the exit code.

LabError
 |- InputError       2   the caller's input: scenario, option, file, payload
 |- MachineError     3   this machine cannot: something is missing, taken or full
 |- UnusableError    4   there are numbers, but none that may be used
GateFailed           1   a gate judged and said no
(KeyboardInterrupt  130)
"""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """`what` says what is wrong with found and wanted in it, `hint` is the next step."""

    exit_code = 2

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class InputError(LabError):
    """`problems` holds every mistake found, one line each, when there is more than one."""

    exit_code = 2

    def __init__(self, what: str, hint: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(what, hint)
        self.problems = tuple(problems)


class MachineError(LabError):
    exit_code = 3


class UnusableError(LabError):
    exit_code = 4


class GateFailed(LabError):
    exit_code = 1
