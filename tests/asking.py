"""An HTTP client and a web server for tests of providers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from lab.model import Request, Response

LIMIT_S = 20.0


def ask(url: str, request: Request | str) -> Response:
    """A path is a GET. Header names of the answer are lower case."""
    if isinstance(request, str):
        request = Request(operation="", method="GET", path=request)
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=LIMIT_S)
    try:
        connection.request(request.method, parts.path + request.path, request.body or None, dict(request.headers))
        answer = connection.getresponse()
        return Response(status=answer.status, body=answer.read(), headers={k.lower(): v for k, v in answer.getheaders()})
    finally:
        connection.close()


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def web_server() -> Iterator[str]:
    """The URL of something that already runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(LIMIT_S)
