"""Doors: what a client sends to this machine reaches the cluster's service, and what that answers comes back."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator

import httpx2
import pytest

from lab.providers.kubernetes.cluster import Cluster
from lab.providers.kubernetes.doors import Door


class Recorded(Cluster):
    """A cluster whose API is a function."""

    def __init__(self, answer: httpx2.MockTransport) -> None:
        super().__init__(None, "", "lab-x")
        self.http = httpx2.Client(base_url="http://cluster", transport=answer)


@contextlib.contextmanager
def door(handler: object) -> Iterator[str]:
    cluster = Recorded(httpx2.MockTransport(handler))  # type: ignore[arg-type]
    opened = Door(cluster, "services/gateway:8080")
    try:
        yield opened.url
    finally:
        opened.close()
        cluster.http.close()


def test_a_request_and_its_answer_pass_unchanged() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.raw_path == b"/api/v1/namespaces/lab-x/services/gateway:8080/proxy/v1/classify?id=a%2Fb"
        assert request.method == "POST"
        assert request.headers["x-mine"] == "1"
        return httpx2.Response(201, headers={"server-timing": "a;dur=1", "connection": "close"}, content=request.content[::-1])

    with door(answer) as url:
        request = urllib.request.Request(f"{url}/v1/classify?id=a%2Fb", data=b"abc", headers={"x-mine": "1"}, method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 201
            assert response.headers["server-timing"] == "a;dur=1"
            assert response.read() == b"cba"


@pytest.mark.parametrize("status", [404, 503])
def test_errors_of_the_service_are_answers(status: int) -> None:
    with door(lambda _: httpx2.Response(status, content=b"no")) as url, pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url, timeout=10)
    assert raised.value.code == status
    raised.value.close()


def test_a_cluster_that_is_gone_is_a_bad_gateway() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    with door(refuse) as url, pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url, timeout=10)
    assert raised.value.code == 502
    assert b"does not answer" in raised.value.read()
    raised.value.close()
