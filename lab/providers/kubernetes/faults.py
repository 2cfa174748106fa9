"""Breaks one pod of a deployment on purpose: ends it without a warning, or stops its processes for a while."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping

from lightkube.models.core_v1 import Capabilities, EphemeralContainer, SecurityContext
from lightkube.resources.core_v1 import Pod

from lab.contracts import Fault
from lab.errors import InputError, MachineError
from lab.model.workload import Scalar
from lab.providers.kubernetes import diagnosis
from lab.providers.kubernetes.cluster import Cluster

Tell = Callable[[Mapping[str, Scalar], float | None, str], None]  # values; when, on the clock of which node (None: now)

BEGUN_S = 30.0
POLL_S = 0.05
# All processes of the pod but this one and the sandbox's own: which runs as another user, and a signal to it is refused.
PAUSE = """
import os, signal, sys, time
others = [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) not in (1, os.getpid(), os.getppid())]
def send(number):
    for pid in others:
        try: os.kill(pid, number)
        except (PermissionError, ProcessLookupError): pass
send(signal.SIGSTOP)
print("paused", time.monotonic(), flush=True)
time.sleep(float(sys.argv[1]))
send(signal.SIGCONT)
print("resumed", time.monotonic(), flush=True)
"""


def inject(cluster: Cluster, selector: str, fault: Fault, duration_s: float, tell: Tell, over: threading.Event) -> None:
    """Of the first ready pod with these labels. Returns when it has begun; after `over` nobody wants to know its end."""
    if fault == "pause" and duration_s <= 0:
        raise InputError(f"a pause of {duration_s:g} s; wanted more than 0", "set the fault's duration_s")
    pod = next((p for p in sorted(cluster.pods(selector), key=diagnosis.name) if diagnosis.ready(p)), None)
    if pod is None:
        raise MachineError("no instance of it is ready", "functions that scale to zero have instances only while they are called")
    if fault == "kill":
        name = diagnosis.name(pod)
        tell({"fault": "kill", "phase": "begin", "instance": name}, None, "")
        cluster.delete(Pod, name, grace_s=0)
        tell({"fault": "kill", "phase": "end", "instance": name}, None, "")
        return
    _pause(cluster, pod, duration_s, tell, over)


def _pause(cluster: Cluster, pod: Pod, duration_s: float, tell: Tell, over: threading.Event) -> None:
    if not (pod.spec and pod.spec.shareProcessNamespace):
        raise MachineError(
            f"the pod {diagnosis.name(pod)} does not share its process namespace", "it was made by another version: deploy anew"
        )
    name, container = diagnosis.name(pod), f"pause-{secrets.token_hex(3)}"
    cluster.add_ephemeral(name, _container(pod, container, duration_s))
    node = pod.spec.nodeName or ""
    tell({"fault": "pause", "phase": "begin", "instance": name}, _await_word(cluster, name, container, "paused", BEGUN_S), node)

    def end() -> None:
        if not over.wait(duration_s):
            with contextlib.suppress(MachineError):  # its pod is gone, so there is no end to tell
                at_s = _await_word(cluster, name, container, "resumed", BEGUN_S)
                tell({"fault": "pause", "phase": "end", "instance": name}, at_s, node)

    threading.Thread(target=end, name="fault", daemon=True).start()


def _container(pod: Pod, name: str, duration_s: float) -> EphemeralContainer:
    assert pod.spec is not None
    return EphemeralContainer(
        name=name,
        image=pod.spec.containers[0].image,
        imagePullPolicy=pod.spec.containers[0].imagePullPolicy,
        command=["python", "-S", "-E", "-c", PAUSE, f"{duration_s:.3f}"],
        securityContext=SecurityContext(
            allowPrivilegeEscalation=False,
            readOnlyRootFilesystem=True,
            runAsNonRoot=True,
            capabilities=Capabilities(drop=["ALL"]),
        ),
    )


def _await_word(cluster: Cluster, pod: str, container: str, word: str, timeout_s: float) -> float:
    """When it was, on its node's clock."""
    deadline = time.monotonic() + timeout_s
    while True:
        for line in cluster.logs(pod, container):
            said, _, at_s = line.partition(" ")
            if said == word:
                return float(at_s)
        if time.monotonic() > deadline:
            raise MachineError(f"the processes of {pod} are not {word} within {timeout_s:.0f} s", "`kubectl describe pod` says why")
        time.sleep(POLL_S)
