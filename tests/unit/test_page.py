"""The page that the three-tier application serves, for every workload."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from starlette.requests import Request

from lab import registry
from lab.runtime import page


class Elements(HTMLParser):
    """Every element with its attributes, and the text of labels and buttons."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.labelled: list[bool] = []
        self.depth = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.depth += tag == "label"
        if tag == "input":
            self.labelled.append(self.depth > 0)

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag == "label"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.mark.parametrize("name", registry.names("workloads"))
def test_every_operation_has_a_labelled_form(name: str) -> None:
    workload = registry.workload(name)
    html = Elements(page.render(workload))
    forms = html.all("form")
    assert [(f["data-method"], f["data-path"]) for f in forms] == [(op.method, op.path) for op in workload.operations]
    assert all(html.labelled) and html.labelled
    assert [o["aria-live"] for o in html.all("output")] == ["polite"] * len(forms)
    assert html.all("html")[0]["lang"] == "en"
    assert len(html.all("h1")) == 1 and len(html.all("main")) == 1


def test_an_upload_the_result_by_id_and_lists_that_refresh() -> None:
    html = Elements(page.render(registry.workload("vision")))
    assert [i["accept"] for i in html.all("input") if i.get("type") == "file"] == ["image/jpeg"]
    assert [f["data-path"] for f in html.all("form") if "data-refresh" in f] == ["/v1/results", "/v1/counts"]
    assert [i["name"] for i in html.all("input") if i.get("data-in") == "path"] == ["id"]


def test_nothing_comes_from_elsewhere_and_the_policy_allows_just_what_the_page_holds() -> None:
    (route,) = page.routes(registry.workload("vision"))
    answer = asyncio.run(route.endpoint(Request({"type": "http"})))
    assert (route.path, answer.media_type) == ("/", "text/html")
    html = answer.body.decode()
    assert not re.search(r"https?://|//\w|url\(|@import", html)
    assert "src" not in {name for _, attributes in Elements(html).found for name in attributes}
    policy = answer.headers["content-security-policy"]
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "innerHTML" not in html
