"""The real stores, for every test here that wants them: started once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.runtime.config import DatabaseAddress, StoreAddress
from lab.spawn import Process, Record, new_lab_id

BUCKET = "lab-test"


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StoreAddress, DatabaseAddress]]:
    """SeaweedFS and PostgreSQL of the embedded provider."""
    from lab.providers.embedded import object_store, postgres
    from lab.providers.embedded.layout import Layout, remove_tree

    layout = Layout(tmp_path_factory.mktemp("lab") / "state")
    layout.make()
    record = Record(path=layout.processes, lab_id=new_lab_id(layout.state))
    started: list[Process] = []
    try:
        database = postgres.run(layout, record, time.monotonic() + 60)
        started.append(database.process)
        store = object_store.run("seaweedfs", layout, record, time.monotonic() + 60)
        assert store.process is not None
        started.append(store.process)
        store.make_bucket(BUCKET, {})
        yield store.address(BUCKET), database.address
    finally:
        for process in started:
            process.stop()
        for folder in (layout.outside, layout.run):
            remove_tree(folder)
