"""A Job in the cluster: from its module and files to a pod that answers, and calls to it through the API server."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from lightkube.resources.batch_v1 import Job as JobObject
from lightkube.resources.core_v1 import ConfigMap
from lightkube.resources.networking_v1 import NetworkPolicy

from lab.contracts import Job
from lab.errors import MachineError
from lab.providers.kubernetes import diagnosis, names, objects, supply
from lab.providers.kubernetes.cluster import LAST_LINES, Cluster
from lab.providers.kubernetes.standing import Lab
from lab.providers.kubernetes.supply import Supply

GONE_S = 30.0
POLL_S = 0.1


@dataclass
class PodJob:
    """`name` is of its objects, which only this call has made; `pod` of the one that runs it."""

    cluster: Cluster
    name: str
    token: str = field(repr=False)
    port: int
    pod: str = ""

    def call(self, method: str, path: str, body: bytes = b"", timeout_s: float = 30.0) -> bytes:
        try:
            return self.cluster.call(f"pods/{self.pod}:{self.port}", method, path, body, {names.TOKEN_HEADER: self.token}, timeout_s)
        except MachineError as error:
            gone = self._gone()
            if gone:
                raise MachineError(f"the job {self.name} is gone: {gone}{self._last_lines()}", "the lines above say why") from error
            raise

    def logs(self) -> Iterator[str]:
        """Also of one that has ended; nothing after `end`."""
        yield from self.cluster.logs(self.pod) if self.pod else ()

    def end(self) -> None:
        for kind in (JobObject, NetworkPolicy, ConfigMap):
            self.cluster.delete(kind, self.name, grace_s=0)
        self.cluster.await_gone(self._selector, GONE_S)

    @property
    def _selector(self) -> str:
        return f"batch.kubernetes.io/job-name={self.name}"

    def await_ready(self, deadline: float) -> None:
        while True:
            pods = self.cluster.pods(self._selector)
            ready = next((p for p in pods if diagnosis.ready(p)), None)
            if ready is not None:
                self.pod = diagnosis.name(ready)
                return
            for pod in pods:
                found = diagnosis.trouble(pod)
                if found is not None and (found.final or time.monotonic() > deadline):
                    raise self.cluster.failure(pod, found)
            if time.monotonic() > deadline:
                raise MachineError(f"the job {self.name} is not ready in time", "`start_timeout_s` bounds the wait")
            time.sleep(POLL_S)

    def _gone(self) -> str:
        """How it ended; empty while it runs."""
        with contextlib.suppress(MachineError):
            found = next((p for p in self.cluster.pods(self._selector) if diagnosis.name(p) == self.pod), None)
            if found is None:
                return "its pod was deleted"
            if diagnosis.leaving(found):
                trouble = diagnosis.trouble(found)
                return trouble.what if trouble else "it has ended"
        return ""

    def _last_lines(self) -> str:
        with contextlib.suppress(MachineError):
            return "".join(f"\n  {line}" for line in self.cluster.logs(self.pod, lines=LAST_LINES))
        return ""


def run(lab: Lab, job: Job) -> PodJob:
    """Ready. Raises MachineError, with the job's last lines, when it does not get there; then nothing of it is left."""
    known = lab.wanted()
    site = supply.site(lab.settings, lab.access, lab.cluster, Supply(built=known.built, references=known.references))
    stem = re.sub(r"[^a-z0-9]+", "-", job.name.lower()).strip("-")[:40] or "job"
    name = f"job-{stem}-{secrets.token_hex(3)}"
    made = PodJob(cluster=lab.cluster, name=name, token=lab.state.token(), port=job.port)
    try:
        lab.cluster.apply(objects.job(site, job, name))
        made.await_ready(time.monotonic() + lab.settings.start_timeout_s)
    except BaseException:
        made.end()
        raise
    return made
