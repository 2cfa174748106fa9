"""From a Job to the one pod that runs it, the files that it is given, and who may reach it."""

from __future__ import annotations

import base64
from math import ceil

from lightkube.models.batch_v1 import JobSpec
from lightkube.resources.batch_v1 import Job as JobObject
from lightkube.resources.core_v1 import ConfigMap

from lab import contracts
from lab.errors import InputError
from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects import pods, policies, probes, volumes
from lab.providers.kubernetes.objects.site import Object, Site

KEPT_S = 3600  # after its end, for its log
LARGEST = 1_000_000  # bytes that a ConfigMap can hold
REQUESTED = 0.25  # of its CPUs: on the smallest machines, most of its node is the control plane's


def job(site: Site, job: contracts.Job, name: str) -> list[Object]:
    """`name`: of the objects. Raises InputError when its files do not fit into a ConfigMap."""
    labels = site.labels(job.name, "job")
    size = sum(map(len, job.files.values()))
    if size > LARGEST:
        raise InputError(f"the files of job {job.name} take {size} bytes, wanted {LARGEST} at most", "fetch them from the object store")
    content = {key: base64.b64encode(data).decode() for key, data in job.files.items()}
    given = volumes.config(name, {key: f"job/{key}" for key in job.files})
    mounted = volumes.files("lab", given, volumes.token())
    made = pods.container(
        "job",
        site.images.driver if job.image == "driver" else site.images.serving,
        pods.between((job.cpus * REQUESTED, job.cpus), (job.memory_mib, job.memory_mib)),
        probes.http(job.port, live=""),
        ports={"main": job.port},
        mounts=[mounted],
        command=["python", "-m", job.module, names.JOB_FOLDER],
        env={names.TOKEN_VARIABLE: names.TOKEN_PATH},
        pull=site.images.pull,
    )
    template = pods.pod(site, names.DRIVER, labels, [made], [mounted], job=True)
    spec = JobSpec(
        template=template,
        backoffLimit=0,
        activeDeadlineSeconds=ceil(job.deadline_s),
        ttlSecondsAfterFinished=KEPT_S,
    )
    return [
        ConfigMap(metadata=site.metadata(name, labels), binaryData=content),
        policies.job(site, name, labels, job.port),
        JobObject(metadata=site.metadata(name, labels), spec=spec),
    ]
