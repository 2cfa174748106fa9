"""From a workload's operations to one small HTML page with a form for each: upload, result, lists; it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from string import Template

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from lab.contracts import Workload
from lab.model import Operation

_PATH_PARAMETER = re.compile(r"{(\w+)}")


def routes(workload: Workload) -> list[Route]:
    """The page at /; its policy lets the browser run and load nothing but what the page itself holds."""
    html = render(workload)
    policy = f"default-src 'none'; connect-src 'self'; img-src blob:; script-src {_hash(html, 'script')}; style-src {_hash(html, 'style')}"
    headers = {"content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}

    async def page(_request: Request) -> Response:
        return HTMLResponse(html, headers=headers)

    return [Route("/", page)]


def render(workload: Workload) -> str:
    template = Template(files("lab.runtime").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(f"{workload.name} on the lab"), sections="\n".join(_section(op) for op in workload.operations))


def _hash(html: str, tag: str) -> str:
    text = html.split(f"<{tag}>", 1)[1].split(f"</{tag}>", 1)[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _section(operation: Operation) -> str:
    """A GET without path parameters is a list: shown at once, and again after each write."""
    needs = _PATH_PARAMETER.findall(operation.path)
    refresh = " data-refresh" if operation.method == "GET" and not needs else ""
    action = "Refresh" if refresh else "Show" if operation.method == "GET" else "Send"
    image = '\n<img alt="" hidden>' if operation.accepts.startswith("image/") else ""
    return f"""<section aria-labelledby="{operation.name}-title">
<h2 id="{operation.name}-title">{escape(operation.summary or operation.name)}</h2>
<form data-method="{operation.method}" data-path="{escape(operation.path)}" data-accepts="{escape(operation.accepts)}"{refresh}>
{"".join(_fields(operation, needs))}<button>{action}</button>
</form>{image}
<output aria-live="polite"></output>
</section>"""


def _fields(operation: Operation, in_path: list[str]) -> Iterator[str]:
    if operation.method == "POST":
        yield f'<label>File ({escape(operation.accepts)})<input type="file" accept="{escape(operation.accepts)}" required></label>\n'
    for name in in_path:
        yield f'<label>{escape(name)}<input name="{escape(name)}" data-in="path" required></label>\n'
    for name, description in operation.parameters.items():
        label = f"{escape(name)} <small>{escape(description)}</small>"
        yield f'<label>{label}<input name="{escape(name)}" data-in="query"></label>\n'
