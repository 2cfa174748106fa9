"""Why a pod is not ready: the cluster's words in, one sentence with its next step out."""

from __future__ import annotations

from typing import Any

import pytest
from lightkube.resources.core_v1 import Pod

from lab.providers.kubernetes import diagnosis
from lab.providers.kubernetes.names import SERVICE_LABEL


def pod(containers: list[dict[str, Any]] | None = None, *, metadata: dict[str, Any] | None = None, **status: Any) -> Pod:
    found = [{"name": "service", "image": "lab/serving:1", "imageID": "", "ready": False, "restartCount": 0, **c} for c in containers or []]
    about = {"name": "c-app-1", "labels": {SERVICE_LABEL: "app"}, **(metadata or {})}
    return Pod.from_dict({"metadata": about, "status": {"containerStatuses": found, **status}})


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
ENDED = {"terminated": {"exitCode": 3, "reason": "Error"}}
AGAIN = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ENDED, "restartCount": 1}


def test_a_pod_on_its_way_has_no_trouble() -> None:
    assert diagnosis.trouble(pod([{"state": {"waiting": {"reason": "ContainerCreating"}}}], phase="Pending")) is None
    assert diagnosis.trouble(pod([{"state": {"running": {}}}], phase="Running")) is None


def test_an_exit_is_final_and_says_where_its_last_lines_are() -> None:
    first = diagnosis.trouble(pod([{"state": ENDED}]))
    again = diagnosis.trouble(pod([AGAIN]))
    assert first is not None and again is not None
    assert first.what == again.what == "app ended with exit code 3"
    assert first.final and again.final
    assert (first.container, first.previous, again.previous) == ("service", False, True)


def test_a_pod_that_recovered_has_no_trouble_but_has_restarted() -> None:
    found = pod([{"state": {"running": {}}, "lastState": ENDED, "restartCount": 1}], **READY)
    assert diagnosis.trouble(found) is None
    assert diagnosis.restarts(found) == 1
    assert diagnosis.last_exit(found) == 3


def test_too_little_memory_is_named() -> None:
    found = diagnosis.trouble(pod([{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]))
    assert found is not None
    assert "more memory than its limit" in found.what
    assert "memory_mib" in found.hint


def test_an_image_that_is_not_there_is_named_with_what_to_set() -> None:
    found = diagnosis.trouble(pod([{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}]))
    assert found is not None and found.final
    assert "lab/serving:1" in found.what and "not found" in found.what
    assert "kubernetes.registry" in found.hint


def test_the_first_failed_pull_may_still_succeed() -> None:
    found = diagnosis.trouble(pod([{"state": {"waiting": {"reason": "ErrImagePull"}}}]))
    assert found is not None and not found.final


def test_the_scheduler_is_quoted() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/2 nodes are available: 2 Insufficient cpu.",
    }
    found = diagnosis.trouble(pod(conditions=[condition], phase="Pending"))
    assert found is not None and not found.final
    assert "2 Insufficient cpu" in found.what


def test_an_evicted_pod_says_why() -> None:
    found = diagnosis.trouble(pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."))
    assert found is not None and found.final
    assert "Evicted" in found.what and "low on resource" in found.what


@pytest.mark.parametrize(
    ("metadata", "status", "ready"),
    [
        ({}, READY, True),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, READY, False),
        ({}, {"phase": "Failed", **READY}, False),
        ({}, {"conditions": [{"type": "Ready", "status": "False"}]}, False),
        ({}, {}, False),
    ],
)
def test_only_a_pod_that_stays_is_ready(metadata: dict[str, Any], status: dict[str, Any], ready: bool) -> None:
    assert diagnosis.ready(pod(metadata=metadata, **status)) is ready


@pytest.mark.parametrize(("grace_s", "cut_off"), [(0, True), (10, False)])
def test_who_gets_no_time_to_end_was_cut_off(grace_s: int, cut_off: bool) -> None:
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace_s}
    assert diagnosis.cut_off(pod(metadata=going)) is cut_off
