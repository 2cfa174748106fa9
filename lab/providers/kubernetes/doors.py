"""A door to a service of the cluster for clients on this machine: a loopback HTTP server that forwards through the API server's proxy."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2

from lab.providers.kubernetes.cluster import Cluster

LOOPBACK = "127.0.0.1"
ANSWER_S = 120.0
OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade", "expect", "host"})


class Door(ThreadingHTTPServer):
    """Open as long as this process lives, or until `close`. It costs two more hops than a mapped port: not a door to measure through."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, cluster: Cluster, target: str) -> None:
        """`target`: "services/NAME:PORT"."""
        super().__init__((LOOPBACK, 0), _Handler)
        self.cluster, self.target = cluster, target
        threading.Thread(target=self.serve_forever, name=f"door-{target}", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server_port}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Door

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what a client sends is no message for a terminal."""

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in OF_THE_CONNECTION}
        cluster = self.server.cluster
        try:
            answer = cluster.http.request(
                self.command, cluster.proxied(self.server.target, self.path), content=body, headers=headers, timeout=ANSWER_S
            )
        except httpx2.HTTPError as error:
            self._answer(502, [("content-type", "text/plain")], f"the cluster does not answer: {error}".encode())
            return
        kept = [(k, v) for k, v in answer.headers.multi_items() if k.lower() not in OF_THE_CONNECTION | {"content-encoding"}]
        self._answer(answer.status_code, kept, answer.content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _forward

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        with contextlib.suppress(ConnectionError):  # whoever asked is gone
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
