"""From a Site to the gateway (traefik), which finds its routes in a ConfigMap that the provider changes while it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from lightkube.resources.core_v1 import ConfigMap

from lab.providers.kubernetes import names
from lab.providers.kubernetes.objects import pods, probes, volumes
from lab.providers.kubernetes.objects.services import service
from lab.providers.kubernetes.objects.site import Object, Site
from lab.providers.kubernetes.objects.workloads import deployment

SERVICE = "gateway"
ROUTES_PATH = f"{names.FOLDER}/routes"
NO_ROUTES: Mapping[str, object] = {}


def routes(site: Site, content: Mapping[str, object]) -> ConfigMap:
    """`content`: traefik's dynamic configuration."""
    data = {names.ROUTES_FILE: json.dumps(content, indent=1)}
    return ConfigMap(metadata=site.metadata(names.ROUTES, site.labels(SERVICE, "platform")), data=data)


def gateway(site: Site) -> list[Object]:
    labels = site.labels(SERVICE, "platform")
    # A folder is watched, since a ConfigMap's files are links that never change: what changes is the folder that they lead to.
    # In a folder of its own the file is found there only, and not a second time through its link.
    watched = volumes.files("routes", volumes.config(names.ROUTES, {names.ROUTES_FILE: f"live/{names.ROUTES_FILE}"}), path=ROUTES_PATH)
    made = pods.container(
        names.GATEWAY,
        site.images.gateway or site.images.platform,
        pods.between((0.1, 4.0), (64, 512)),
        probes.http(names.PING_PORT, "/ping", "/ping"),
        ports={"main": names.PORT, "ping": names.PING_PORT},
        mounts=[watched],
        command=[] if site.images.gateway else ["lab-traefik"],
        args=[
            *(f"--entrypoints.web.address=:{names.PORT}", f"--entrypoints.ping.address=:{names.PING_PORT}"),
            *("--ping=true", "--ping.entrypoint=ping", "--api=false", "--log.level=WARN"),
            *("--global.checknewversion=false", "--global.sendanonymoususage=false"),
            *(f"--providers.file.directory={ROUTES_PATH}", "--providers.file.watch=true", "--providers.providersThrottleDuration=100ms"),
        ],
        pull=site.images.pull,
    )
    meter, token = pods.meter(site)
    template = pods.pod(site, names.DRIVER, labels, [made, meter], [watched, token])
    return [
        routes(site, NO_ROUTES),
        service(site, names.GATEWAY, labels, names.PORT, node_port=site.node_ports.get(SERVICE)),
        deployment(site, names.GATEWAY, labels, template),
    ]
