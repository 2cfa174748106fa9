"""The gate's judge as the run needs it: a threshold's text to its parts, and at a look whether the run may stop."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import cast

from lab.errors import InputError
from lab.model import Plan, Threshold


def threshold(text: str) -> Threshold:
    """Raises ValueError with what was wanted."""
    return cast(Threshold, _module("lab.thresholds").parse(text))


def decided(summary: object, plan: Plan, look: int) -> bool:
    """`summary`: the Summary of the first `look` deployments per arm. Whether no more of them can change the verdict."""
    return bool(_module("lab.analysis.gate").decided(summary, plan, look))


def check() -> None:
    """Raises InputError where no judge is installed."""
    _module("lab.analysis.gate")


def _module(name: str) -> ModuleType:
    """Imported when it is needed: it brings the statistics with it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise InputError(f"this version of lab cannot judge a gate: it has no {name}", "install a version with `lab gate`") from error
