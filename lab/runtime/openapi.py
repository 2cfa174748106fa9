"""From a workload's operations to their OpenAPI 3.1 document: the same contract whatever the architecture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lab.contracts import Workload
from lab.model import Operation

_PARAMETER = re.compile(r"{(\w+)}")
_ERRORS = {
    "400": "The request is wrong; the error says what was wanted.",
    "404": "There is no such thing.",
    "413": "The body is too large.",
    "429": "No instance was free before the queue's deadline.",
    "500": "The service failed on this request.",
    "502": "A service behind this one broke off.",
    "503": "The service, or one that it needs, cannot be reached.",
    "504": "A service behind this one ran out of time.",
}


def document(workload: Workload, title: str = "", version: str = "1") -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": title or f"lab workload {workload.name}", "version": version},
        "paths": _paths(workload.operations),
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error", "hint"],
                    "properties": {"error": {"type": "string"}, "hint": {"type": "string", "description": "The next step."}},
                }
            },
            "responses": {f"Error{status}": _error(text) for status, text in _ERRORS.items()},
        },
    }


def _paths(operations: Sequence[Operation]) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return paths


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary or operation.name,
        "responses": {
            "200": {
                "description": "The answer. Its Server-Timing header says where the time went.",
                "headers": {"Server-Timing": {"schema": {"type": "string"}}, "X-Request-Id": {"schema": {"type": "string"}}},
                "content": {"application/json": {"schema": {}}},
            },
            **{status: {"$ref": f"#/components/responses/Error{status}"} for status in _ERRORS},
        },
    }
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.method == "POST":
        content: dict[str, Any] = {operation.accepts or "application/octet-stream": {"schema": {}}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in _PARAMETER.findall(operation.path)]
    in_query = [{"name": n, "in": "query", "description": d, "schema": {"type": "string"}} for n, d in operation.parameters.items()]
    return in_path + in_query


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
