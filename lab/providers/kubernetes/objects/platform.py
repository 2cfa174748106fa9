"""From a Site and its credentials to the platform: namespace, secrets, object store, database, gateway, and the agent in the cluster."""

from __future__ import annotations

from collections.abc import Mapping

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace

from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects import identity, pods, policies, probes, volumes
from lab.providers.kubernetes.objects.gateway import gateway
from lab.providers.kubernetes.objects.services import service
from lab.providers.kubernetes.objects.site import Object, Site
from lab.providers.kubernetes.objects.stores import Store, database, database_address, object_store, store_address
from lab.providers.kubernetes.objects.workloads import deployment
from lab.rundir import encode
from lab.runtime.config import StoreAddress


def platform(site: Site, *, store: Store, secrets: Mapping[str, Mapping[str, str]], external: StoreAddress | None = None) -> list[Object]:
    """In the order in which they are to be made. `secrets`: as in names.SECRETS. `external`: a store that others run."""
    if (store == "external") != (external is not None):
        raise ValueError(f"store {store} at {external}")
    standing = [name for name in ("object_store", "database", "gateway", "agent") if (name, store) != ("object_store", "external")]
    return [
        namespace(site),
        *(identity.secret(site, name, secrets.get(name, {})) for name in names.SECRETS),
        *policies.platform(site, standing),
        *object_store(site, store),
        *database(site),
        *gateway(site),
        *agent(site, external),
    ]


def namespace(site: Site) -> Namespace:
    """The cluster itself refuses pods in it that are not restricted."""
    level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return Namespace(metadata=ObjectMeta(name=site.namespace, labels={**site.labels("namespace", "platform"), **level}))


def agent(site: Site, external: StoreAddress | None = None) -> list[Object]:
    """The provider's hands among the pods: it has the Lab's credentials, and no right in the cluster."""
    from lab.runtime.agent import AgentConfig  # here, as it brings a web server

    labels = site.labels("agent", "platform")
    config = AgentConfig(token_path=names.TOKEN_PATH, store=external or store_address(""), database=database_address(), port=names.PORT)
    mounted = volumes.files(
        "lab",
        volumes.config(names.AGENT, {names.CONFIG_FILE: names.CONFIG_FILE}),
        volumes.token(),
        volumes.secret("store", volumes.CREDENTIALS),
        volumes.secret("database", volumes.CREDENTIALS),
    )
    made = pods.container(
        names.AGENT,
        site.images.serving,
        pods.between((0.05, 1.0), (96, 512)),
        probes.http(names.PORT),
        ports={"main": names.PORT},
        mounts=[mounted],
        command=["python", "-m", "lab.runtime.agent", names.FOLDER],
        pull=site.images.pull,
    )
    template = pods.pod(site, names.DRIVER, labels, [made], [mounted])
    return [
        ConfigMap(metadata=site.metadata(names.AGENT, labels), data={names.CONFIG_FILE: encode(config).decode()}),
        service(site, names.AGENT, labels, names.PORT),
        deployment(site, names.AGENT, labels, template),
    ]
