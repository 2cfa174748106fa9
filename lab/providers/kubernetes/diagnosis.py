"""Why a pod is not ready: from what the cluster tells of it to a sentence and the next step; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lightkube.models.core_v1 import ContainerStatus
from lightkube.resources.core_v1 import Pod

from lab.providers.kubernetes.names import SERVICE_LABEL

NOT_PULLED = ("ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ErrImagePull")
NOT_STARTED = ("CreateContainerError", "RunContainerError", "CreateContainerConfigError")
PULL_HINT = "set kubernetes.registry to one that the nodes can pull from, or load the image into every node"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """`final`: waiting longer will not help. `container`: whose log says more, empty where none does."""

    what: str
    hint: str
    final: bool = False
    container: str = ""
    previous: bool = False


def service(pod: Pod) -> str:
    labels: Mapping[str, str] = (pod.metadata.labels if pod.metadata else None) or {}
    return labels.get(SERVICE_LABEL, name(pod))


def name(pod: Pod) -> str:
    return (pod.metadata.name if pod.metadata else None) or ""


def address(pod: Pod) -> str:
    """Its IP; empty until it has one."""
    return (pod.status.podIP if pod.status else None) or ""


def leaving(pod: Pod) -> bool:
    """Told to end, or ended."""
    phase = pod.status.phase if pod.status else None
    return (pod.metadata is not None and pod.metadata.deletionTimestamp is not None) or phase in ("Succeeded", "Failed")


def cut_off(pod: Pod) -> bool:
    """Of one that is leaving: whether it got no time to end in good order."""
    failed = pod.status is not None and pod.status.phase == "Failed"
    return failed or not (pod.metadata and pod.metadata.deletionTimestamp and pod.metadata.deletionGracePeriodSeconds)


def ready(pod: Pod) -> bool:
    conditions = (pod.status.conditions if pod.status else None) or []
    return not leaving(pod) and any(c.type == "Ready" and c.status == "True" for c in conditions)


def restarts(pod: Pod) -> int:
    return sum(s.restartCount for s in _statuses(pod))


def last_exit(pod: Pod) -> int | None:
    """The exit code of a container that was started again."""
    ended = (s.lastState.terminated for s in _statuses(pod) if s.lastState)
    return next((e.exitCode for e in ended if e), None)


def running(pod: Pod) -> list[str]:
    """The ids of its containers that run or ran: a restarted one has another."""
    return [s.containerID for s in _statuses(pod) if s.containerID and s.state and (s.state.running or s.state.terminated)]


def trouble(pod: Pod) -> Trouble | None:
    """The worst there is; None for a pod that is ready, or on its way."""
    found = list(_troubles(pod))
    return next((t for t in found if t.final), found[0] if found else None)


def _statuses(pod: Pod) -> list[ContainerStatus]:
    status = pod.status
    return [*(status.initContainerStatuses or []), *(status.containerStatuses or [])] if status else []


def _troubles(pod: Pod) -> Iterator[Trouble]:
    if ready(pod):
        return
    for status in _statuses(pod):
        yield from _of_container(pod, status)
    for condition in (pod.status.conditions if pod.status else None) or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            hint = "give the cluster more nodes or a smaller budget; `kubectl get nodes --show-labels` shows lab/role"
            yield Trouble(what=f"{service(pod)} finds no node: {condition.message or condition.reason}", hint=hint)
    if pod.status and pod.status.phase == "Failed":
        yield Trouble(
            what=f"{service(pod)} was ended by the cluster: {pod.status.reason} {pod.status.message}".rstrip(),
            hint="is a node out of memory or disk? `kubectl describe node`",
            final=True,
        )


def _of_container(pod: Pod, status: ContainerStatus) -> Iterator[Trouble]:
    waiting = status.state.waiting if status.state else None
    ended = status.state.terminated if status.state else None
    before = status.lastState.terminated if status.lastState else None
    if waiting and waiting.reason in NOT_PULLED:
        what = f"{service(pod)} cannot get its image {status.image}: {waiting.message or waiting.reason}"
        yield Trouble(what=what, hint=PULL_HINT, final=waiting.reason != "ErrImagePull")
    elif waiting and waiting.reason in NOT_STARTED:
        what = f"{service(pod)} cannot be started by its node: {waiting.message or waiting.reason}"
        yield Trouble(what=what, hint="`kubectl describe pod` says more", final=waiting.reason != "CreateContainerConfigError")
    last = ended or before
    if last and last.exitCode != 0:
        killed = last.reason == "OOMKilled"
        yield Trouble(
            what=f"{service(pod)} ended with exit code {last.exitCode}{' (it used more memory than its limit)' if killed else ''}",
            hint="give it more memory_mib" if killed else "its last lines say why; `lab logs`",
            final=True,
            container=status.name,
            previous=ended is None,
        )
