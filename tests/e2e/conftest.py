"""One embedded Lab for the tests of a module that leave it standing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.providers.embedded import Provider
from lab.settings import Settings


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=str(tmp_path_factory.mktemp("shared")), name="test")


@pytest.fixture(scope="module")
def shared_lab(shared: Settings) -> Iterator[Provider]:
    made = Provider(shared)
    try:
        made.up()
        yield made
    finally:
        made.destroy()


@pytest.fixture
def standing(shared_lab: Provider) -> Iterator[Provider]:
    """One Lab for the tests that only deploy c-1 on it."""
    yield shared_lab
    shared_lab.retire("c-1")
