"""From a Lab, a deployment and a service to what they are called in a cluster: names, labels, selectors, ports and paths in pods."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Literal

from lab.runtime.config import METER_PORT as METER_PORT
from lab.runtime.config import TOKEN_HEADER as TOKEN_HEADER
from lab.runtime.guard import TOKEN_VARIABLE as TOKEN_VARIABLE

Component = Literal["platform", "architecture", "job"]

ROLE_LABEL = "lab/role"  # of nodes: system (the architecture) or driver (platform and driver)
SYSTEM, DRIVER = "system", "driver"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
LAB_LABEL = "app.kubernetes.io/part-of"
SERVICE_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"
DEPLOYMENT_LABEL = "lab/deployment"
MANAGER = "lab"

PORT = 8080  # of every pod of an architecture, of the gateway and of the agent
STORE_PORT = 9000
DATABASE_PORT = 5432
PING_PORT = 8082  # the gateway's own health

STORE, DATABASE, GATEWAY, AGENT, METER = "object-store", "database", "gateway", "agent", "meter"
PLATFORM = (STORE, DATABASE, GATEWAY, AGENT)
ROUTES = "gateway-routes"  # the ConfigMap, whose one file is ROUTES_FILE
ROUTES_FILE = "routes.yml"

# Secrets, and the fields that each must have.
SECRETS: Mapping[str, tuple[str, ...]] = {"store": ("access_key", "secret_key"), "database": ("user", "password"), "agent": ("token",)}

# In pods. Credentials are JSON files as lab.runtime.credentials reads them.
FOLDER = "/etc/lab"
CONFIG_FILE, ADDRESSES_FILE = "config.json", "addresses.json"  # also keys of ConfigMaps
CONFIG_PATH, ADDRESSES_PATH = f"{FOLDER}/{CONFIG_FILE}", f"{FOLDER}/{ADDRESSES_FILE}"
STORE_CREDENTIALS = f"{FOLDER}/store/credentials.json"
DATABASE_CREDENTIALS = f"{FOLDER}/database/credentials.json"
TOKEN_PATH = f"{FOLDER}/agent/token"
JOB_FOLDER = f"{FOLDER}/job"  # of a Job's files

LONGEST = 63  # characters of a name that becomes part of a DNS name, and of a label's value
_HASH = 8


def namespace(lab: str) -> str:
    """`lab-<name>`; another name never gives the same."""
    return _unique(f"lab-{lab}", f"lab-{lab}")


def dns(deployment: str, service: str) -> str:
    """`<deployment>-<service>`, the name of the service's objects and of its host; another pair never gives the same, nor a name of the
    platform's. Service names without dashes are kept, so that the last dash tells where they begin."""
    wanted = f"{deployment}-{service}"
    taken = "-" in service or wanted in PLATFORM or wanted == ROUTES
    return _unique(wanted, f"{deployment}/{service}", changed=taken)


def addresses(deployment: str) -> str:
    """The ConfigMap with a deployment's addresses.json; no service's name, as those hold no dot."""
    return dns(deployment, "addresses.json")


def url(deployment: str, service: str) -> str:
    """A service of an architecture as other pods reach it."""
    return f"http://{dns(deployment, service)}:{PORT}"


def host(service: str) -> str:
    """A service of the platform (object_store, database ...) as other pods reach it."""
    return service.replace("_", "-")


def labels(lab: str, *, service: str, component: Component, deployment: str = "") -> dict[str, str]:
    found = {MANAGED_LABEL: MANAGER, LAB_LABEL: value(lab), SERVICE_LABEL: value(service), COMPONENT_LABEL: component}
    return found | {DEPLOYMENT_LABEL: value(deployment)} if deployment else found


def identity(labels: Mapping[str, str]) -> dict[str, str]:
    """The part of an object's labels that only the pods of its service have."""
    return {k: v for k, v in labels.items() if k in (LAB_LABEL, SERVICE_LABEL, COMPONENT_LABEL, DEPLOYMENT_LABEL)}


def selector(labels: Mapping[str, str]) -> str:
    """As the API's labelSelector takes it."""
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items()))


def value(text: str) -> str:
    """As a label's value: unchanged where it can be one."""
    if len(text) <= LONGEST and re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", text):
        return text
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[: LONGEST - _HASH - 1].strip("-_.")
    return "-".join(part for part in (kept, _digest(text)) if part)


def _unique(wanted: str, source: str, changed: bool = False) -> str:
    """`wanted` if it can be a DNS label that begins with a letter (Services want one); else as much of it as can, with `source`'s hash."""
    if not changed and len(wanted) <= LONGEST and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", wanted):
        return wanted
    clean = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")
    if not clean[:1].isalpha():
        clean = f"d{clean}"
    return f"{clean[: LONGEST - _HASH - 1].rstrip('-')}-{_digest(source)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH]
