"""From credentials to Secrets, and from a deployment's functions to the ServiceAccount and Role that let its activator scale just those."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import msgspec
from lightkube.models.rbac_v1 import PolicyRule, RoleRef, Subject
from lightkube.resources.core_v1 import Secret, ServiceAccount
from lightkube.resources.rbac_authorization_v1 import Role, RoleBinding

from lab.errors import MachineError
from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects.site import Object, Site
from lab.providers.kubernetes.objects.volumes import CREDENTIALS

SERVICES = {"store": "object_store", "database": "database", "agent": "agent"}  # whose the Secret is


def secret(site: Site, name: str, fields: Mapping[str, str]) -> Secret:
    """Each field is a key, and all of them together are one more, as JSON. Raises MachineError when a field is missing."""
    if missing := set(names.SECRETS[name]) - fields.keys():
        raise MachineError(f"the credentials of {SERVICES[name]} lack {', '.join(sorted(missing))}", "delete the Lab and make it anew")
    values = {**fields, CREDENTIALS: msgspec.json.encode(dict(fields), order="deterministic").decode()}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return Secret(metadata=site.metadata(name, site.labels(SERVICES[name], "platform")), type="Opaque", data=data)


def scaler(site: Site, name: str, labels: Mapping[str, str], targets: Sequence[str]) -> list[Object]:
    """May see pods, say which of them is to go first, and scale the Deployments `targets`; nothing else."""
    rules = [
        PolicyRule(apiGroups=[""], resources=["pods"], verbs=["get", "list", "watch", "patch"]),
        PolicyRule(apiGroups=["apps"], resources=["deployments/scale"], resourceNames=list(targets), verbs=["get", "patch", "update"]),
    ]
    return [
        ServiceAccount(metadata=site.metadata(name, labels), automountServiceAccountToken=False),
        Role(metadata=site.metadata(name, labels), rules=rules),
        RoleBinding(
            metadata=site.metadata(name, labels),
            roleRef=RoleRef(apiGroup="rbac.authorization.k8s.io", kind="Role", name=name),
            subjects=[Subject(kind="ServiceAccount", name=name, namespace=site.namespace)],
        ),
    ]
