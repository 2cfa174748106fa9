"""What a service process says of itself over HTTP: who it is and whether it can answer, and what it has consumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from lab.runtime.config import LIVE_PATH, READY_PATH, USAGE_PATH


@dataclass(frozen=True, kw_only=True)
class Identity:
    """`phases_ms`: how long each part of the start took, once that is known."""

    deployment: str
    service: str
    instance: int
    phases_ms: dict[str, float] = field(default_factory=dict)


def routes(identity: Identity, ready: Callable[[], bool]) -> list[BaseRoute]:
    headers = {"x-lab-deployment": identity.deployment}

    async def answer_ready(_request: Request) -> Response:
        return _json(identity, 200 if ready() else 503, headers)

    async def answer_live(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def answer_usage(_request: Request) -> Response:
        import psutil  # only here: no start of a function should pay for it

        from lab.runtime import consumption

        own = psutil.Process()
        return _json(consumption.reading(consumption.of([own, *own.children(recursive=True)])))

    return [Route(READY_PATH, answer_ready), Route(LIVE_PATH, answer_live), Route(USAGE_PATH, answer_usage)]


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, "application/json")
