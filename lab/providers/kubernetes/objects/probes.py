"""From a path or port to the probes of a long-running container: how the kubelet knows that it started, may get requests, and lives."""

from __future__ import annotations

from dataclasses import dataclass

from lightkube.models.core_v1 import HTTPGetAction, Probe, TCPSocketAction

from lab.runtime.config import LIVE_PATH, READY_PATH

START_S = 300  # the Lab's own time-out comes first; this one ends a container that nobody waits for
LIVE_S = 60  # longer than a pause that is injected as a fault: that must end by itself


@dataclass(frozen=True, kw_only=True)
class Probes:
    """`readiness` is None for a sidecar, which must not take its pod out of its Service; `liveness` for what must be left to its end."""

    startup: Probe
    readiness: Probe | None
    liveness: Probe | None


def http(port: int, ready: str = READY_PATH, live: str = LIVE_PATH) -> Probes:
    """`live` empty: no liveness."""
    return Probes(
        startup=_startup(http_get=HTTPGetAction(path=ready, port=port)),
        readiness=_readiness(http_get=HTTPGetAction(path=ready, port=port)),
        liveness=_liveness(http_get=HTTPGetAction(path=live, port=port)) if live else None,
    )


def tcp(port: int) -> Probes:
    return Probes(
        startup=_startup(tcp_socket=TCPSocketAction(port=port)),
        readiness=_readiness(tcp_socket=TCPSocketAction(port=port)),
        liveness=_liveness(tcp_socket=TCPSocketAction(port=port)),
    )


def background(port: int) -> Probes:
    """Of a sidecar."""
    ready = HTTPGetAction(path=READY_PATH, port=port)
    return Probes(startup=_startup(http_get=ready), readiness=None, liveness=_liveness(http_get=ready))


def _startup(http_get: HTTPGetAction | None = None, tcp_socket: TCPSocketAction | None = None) -> Probe:
    """Each second, the most often there is: how soon a pod is known to be ready."""
    return Probe(httpGet=http_get, tcpSocket=tcp_socket, periodSeconds=1, timeoutSeconds=2, failureThreshold=START_S)


def _readiness(http_get: HTTPGetAction | None = None, tcp_socket: TCPSocketAction | None = None) -> Probe:
    """Seldom: its CPU time is the service's."""
    return Probe(httpGet=http_get, tcpSocket=tcp_socket, periodSeconds=5, timeoutSeconds=4, failureThreshold=2)


def _liveness(http_get: HTTPGetAction | None = None, tcp_socket: TCPSocketAction | None = None) -> Probe:
    return Probe(httpGet=http_get, tcpSocket=tcp_socket, periodSeconds=10, timeoutSeconds=9, failureThreshold=LIVE_S // 10)
