"""From containers to pods that satisfy the restricted Pod Security standard: the one place for security contexts, resources and nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightkube.models.core_v1 import (
    Affinity,
    Capabilities,
    Container,
    ContainerPort,
    EnvVar,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSecurityContext,
    PodSpec,
    PodTemplateSpec,
    ResourceRequirements,
    SeccompProfile,
    SecurityContext,
    Toleration,
)
from lightkube.models.meta_v1 import ObjectMeta

from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects import volumes
from lab.providers.kubernetes.objects.probes import Probes, background
from lab.providers.kubernetes.objects.site import Site
from lab.providers.kubernetes.objects.volumes import Mounted

UID = 10001
TMP = volumes.scratch("tmp", "/tmp")


def exactly(cpus: float, memory_mib: int) -> ResourceRequirements:
    """Requests and limits the same: the kubelet then enforces `cpus` as a quota and never lends the pod more."""
    size = {"cpu": _milli(cpus), "memory": f"{memory_mib}Mi"}
    return ResourceRequirements(requests=size, limits=dict(size))


def between(cpus: tuple[float, float], memory_mib: tuple[int, int]) -> ResourceRequirements:
    """(request, limit) each."""
    requests, limits = ({"cpu": _milli(c), "memory": f"{m}Mi"} for c, m in zip(cpus, memory_mib, strict=True))
    return ResourceRequirements(requests=requests, limits=limits)


def _milli(cpus: float) -> str:
    return f"{max(1, round(cpus * 1000))}m"


def container(
    name: str,
    image: str,
    resources: ResourceRequirements,
    probes: Probes,
    *,
    ports: Mapping[str, int],
    mounts: Sequence[Mounted],
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    pull: str = "IfNotPresent",
) -> Container:
    """Without a command the image's own entry point runs. All may write to /tmp, and to nothing else but `mounts`."""
    return Container(
        name=name,
        image=image,
        imagePullPolicy=pull,
        command=list(command) or None,
        args=list(args) or None,
        env=[EnvVar(name=k, value=v) for k, v in (env or {}).items()] or None,
        ports=[ContainerPort(name=k, containerPort=v) for k, v in ports.items()],
        resources=resources,
        startupProbe=probes.startup,
        readinessProbe=probes.readiness,
        livenessProbe=probes.liveness,
        volumeMounts=[m.mount for m in (*mounts, TMP)],
        securityContext=SecurityContext(
            allowPrivilegeEscalation=False,
            readOnlyRootFilesystem=True,
            runAsNonRoot=True,
            capabilities=Capabilities(drop=["ALL"]),
        ),
    )


def meter(site: Site) -> tuple[Container, Mounted]:
    """The sidecar that tells what the other processes of its pod consume, and the volume that it needs."""
    token = volumes.files("token", volumes.token())
    made = container(
        names.METER,
        site.images.serving,
        between((0.01, 0.5), (48, 128)),
        background(names.METER_PORT),
        ports={names.METER: names.METER_PORT},
        mounts=[token],
        command=["python", "-m", "lab.runtime.meter"],
        env={names.TOKEN_VARIABLE: names.TOKEN_PATH},
        pull=site.images.pull,
    )
    return made, token


def pod(
    site: Site,
    role: str,
    labels: Mapping[str, str],
    containers: Sequence[Container],
    mounted: Sequence[Mounted],
    *,
    uid: int = UID,
    grace_s: int = 10,
    account: str = "",
    job: bool = False,
    faults: bool = False,
) -> PodTemplateSpec:
    """`role`: of the nodes that it may run on, where the cluster keeps them apart. `account`: a ServiceAccount, whose token it then has.
    `faults`: a container that is put into it may stop the processes of the others."""
    spec = PodSpec(
        containers=list(containers),
        volumes=[m.volume for m in (*mounted, TMP)],
        restartPolicy="Never" if job else None,
        serviceAccountName=account or None,
        automountServiceAccountToken=bool(account),
        enableServiceLinks=False,
        shareProcessNamespace=True if faults or any(c.name == names.METER for c in containers) else None,
        terminationGracePeriodSeconds=grace_s,
        affinity=_affinity(role) if site.separate else None,
        tolerations=_tolerations(role) if site.separate else None,
        securityContext=PodSecurityContext(
            runAsNonRoot=True,
            runAsUser=uid,
            runAsGroup=uid,
            fsGroup=uid,
            fsGroupChangePolicy="OnRootMismatch",
            seccompProfile=SeccompProfile(type="RuntimeDefault"),
        ),
    )
    return PodTemplateSpec(metadata=ObjectMeta(labels=dict(labels)), spec=spec)


def _affinity(role: str) -> Affinity:
    term = NodeSelectorTerm(matchExpressions=[NodeSelectorRequirement(key=names.ROLE_LABEL, operator="In", values=[role])])
    return Affinity(nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=NodeSelector(nodeSelectorTerms=[term])))


def _tolerations(role: str) -> list[Toleration] | None:
    """On small clusters the control plane is the only other node; the affinity lets nothing onto it that was not meant to be there."""
    if role != names.DRIVER:
        return None
    return [Toleration(key="node-role.kubernetes.io/control-plane", operator="Exists", effect="NoSchedule")]
