"""Skips a test whose extra is not installed, with the reason; under LAB_TEST_EXTRAS=all that is a failure."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest


def _absent(reason: str) -> None:
    if os.environ.get("LAB_TEST_EXTRAS") == "all":
        pytest.fail(f"{reason}, and LAB_TEST_EXTRAS=all forbids to skip")
    pytest.skip(reason)


def need(module: str, extra: str = "train") -> None:
    if importlib.util.find_spec(module) is None:
        _absent(f"needs {module}: pip install 'ai-cloud-lab[{extra}]'")


def need_command(command: str, hint: str) -> None:
    """Tools that are not Python packages: skipped with the reason wherever they are absent."""
    if shutil.which(command) is None:
        pytest.skip(f"needs the command {command}: {hint}")
