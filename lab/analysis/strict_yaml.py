"""Strict YAML in, frozen dataclasses out, or every problem at once as `file:line: where: found, wanted`."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml

from lab.errors import InputError

T = TypeVar("T")
Location = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True)
class Document:
    """`raw` is the file as plain values; `places` says where each of them stands ("aws.yaml:12")."""

    raw: dict[str, Any]
    places: dict[Location, str]

    def place(self, at: Location) -> str:
        return next((self.places[at[:n]] for n in range(len(at), -1, -1) if at[:n] in self.places), "?")

    def merge(self, other: Document, sections: tuple[str, ...]) -> Document:
        """`other` over this one: named sections by their keys, everything else as a whole."""
        raw, places = dict(self.raw), dict(self.places)
        for key, value in other.raw.items():
            both = key in sections and isinstance(value, dict) and isinstance(raw.get(key), dict)
            raw[key] = {**raw[key], **value} if both else value
        places.update({at: place for at, place in other.places.items() if at})
        return Document(raw, places)


def load(path: Path, problems: list[str]) -> Document:
    """Raises InputError when the file is not YAML at all; a key that stands twice is a problem."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: this is not YAML: {error.problem}", "check indentation and quotes") from error
    except (UnicodeDecodeError, yaml.YAMLError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}", "wanted a YAML file in UTF-8") from error
    places: dict[Location, str] = {(): f"{path}:1"}
    raw = _plain(node, (), str(path), places, problems) if node is not None else None
    if not isinstance(raw, dict):
        raise InputError(f"{path}:1: found {_show(raw)}, wanted named sections", "see lab/prices/aws.yaml for the form")
    return Document(raw, places)


def _plain(node: yaml.Node, at: Location, file: str, places: dict[Location, str], problems: list[str]) -> Any:
    places.setdefault(at, f"{file}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in values:
                problems.append(f"{file}:{key_node.start_mark.line + 1}: {dotted((*at, key))}: found a second time, wanted once")
            places[(*at, key)] = f"{file}:{key_node.start_mark.line + 1}"
            values[key] = _plain(value_node, (*at, key), file, places, problems)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*at, i), file, places, problems) for i, item in enumerate(node.value)]
    if node.tag == "tag:yaml.org,2002:timestamp":
        return node.value
    return yaml.SafeLoader("").construct_object(node, deep=True)


def convert(document: Document, kind: type[T], problems: list[str], at: Location = (), raw: Any = None) -> T | None:
    """`raw` (the whole document if left out) as a `kind`; None when something in it was wrong, and then `problems` grew."""
    found = len(problems)
    value = _value(document, kind, problems, at, document.raw if raw is None and not at else raw)
    return value if len(problems) == found else None


def _value(document: Document, kind: Any, problems: list[str], at: Location, raw: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType and type(None) in arguments:
        return None if raw is None else _value(document, arguments[0], problems, at, raw)
    if dataclasses.is_dataclass(kind):
        return _record(document, kind, problems, at, raw)
    if origin is Mapping:
        if not isinstance(raw, dict):
            return _wrong(document, problems, at, raw, "named entries")
        return {key: _value(document, arguments[1], problems, (*at, key), item) for key, item in raw.items()}
    if origin is tuple:
        if not isinstance(raw, list):
            return _wrong(document, problems, at, raw, "a list")
        return tuple(_value(document, arguments[0], problems, (*at, i), item) for i, item in enumerate(raw))
    if origin is Literal and raw not in arguments:
        return _wrong(document, problems, at, raw, " or ".join(str(a) for a in arguments))
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        wanted = str(error).partition(" - ")[0].partition(", got")[0].removeprefix("Expected ").replace("`", "")
        return _wrong(document, problems, at, raw, wanted)


def _record(document: Document, kind: Any, problems: list[str], at: Location, raw: Any) -> Any:
    if not isinstance(raw, dict):
        return _wrong(document, problems, at, raw, "named fields")
    hints = get_type_hints(kind, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in raw:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            guess = f" (did you mean {near[0]!r}?)" if near else ""
            problems.append(
                f"{document.place((*at, key))}: {dotted((*at, key))}: found an unknown key{guess}, wanted one of {', '.join(fields)}"
            )
    values = {}
    for name, field in fields.items():
        if name in raw:
            values[name] = _value(document, hints[name], problems, (*at, name), raw[name])
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{document.place(at)}: {dotted((*at, name))}: found nothing, wanted it to be given")
            values[name] = None
    return kind(**values)


def _wrong(document: Document, problems: list[str], at: Location, raw: Any, wanted: str) -> None:
    problems.append(f"{document.place(at)}: {dotted(at)}: found {_show(raw)}, wanted {wanted}")


def dotted(at: Location) -> str:
    text = ""
    for part in at:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def _show(value: Any) -> str:
    kinds = {type(None): "nothing", dict: "named entries", list: "a list"}
    return kinds.get(type(value)) or repr(value)
