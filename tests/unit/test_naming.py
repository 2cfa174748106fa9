"""Names of what is a deployment's own."""

from __future__ import annotations

import pytest

from lab.errors import InputError
from lab.runtime import naming


@pytest.mark.parametrize("name", ["", "-a", "a b", "x" * 41, "../up"])
def test_a_deployment_that_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        naming.check_name(name)


def test_buckets_and_schemas_of_a_deployment() -> None:
    naming.check_name("Run_1.vision-S")
    assert naming.bucket("Run_1.vision-S") == "d-run-1-vision-s"
    assert naming.schema_prefix("Run_1.vision-S") == "d_run_1_vision_s"
