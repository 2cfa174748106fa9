"""Reads a scenario file: strict YAML in, a typed Scenario out, or every problem at once with line, found and wanted."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import msgspec
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from lab import registry, thresholds
from lab.errors import InputError
from lab.loads import AnyLoad, Slo
from lab.model.plan import LoadKind
from lab.model.workload import ModelSize

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Options = dict[str, str | int | float | bool | None]
Location = tuple[str | int, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Subject(_Strict):
    """One architecture with its options; `variant` is what the report calls it beside others of the same architecture."""

    architecture: str
    variant: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,16}$")] = ""
    options: Options = {}


def _subject(value: object) -> object:
    return {"architecture": value} if isinstance(value, str) else value


def _sizes(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Resources(_Strict):
    """The same for every architecture, its activator included."""

    cpus: Positive = 1.0
    memory_mib: Annotated[int, Field(ge=256)] = 3072


class Fault(_Strict):
    """Times count from the begin of the measured windows."""

    fault: Literal["pause", "kill", "neighbour"]
    service: str = ""
    at_s: Annotated[float, Field(ge=0, le=3600)]
    every_s: Positive | None = None
    for_s: Positive | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.for_s is None) != (self.fault == "kill"):
            raise ValueError("no `for_s`: a kill is final" if self.for_s else f"`for_s`: how many seconds the {self.fault} lasts")
        if bool(self.service) == (self.fault == "neighbour"):
            raise ValueError("no `service`: a neighbour is beside all" if self.service else "`service`: whose instance breaks")
        if self.every_s is not None and self.every_s <= (self.for_s or 0.0):
            raise ValueError("`every_s` above `for_s`, or it would never end")
        return self


class Service(_Strict):
    """The user's own service, of the git repository in the working directory; see lab.model.plan.ServicePlan."""

    start: Annotated[str, Field(min_length=1)]
    ready: Annotated[str, Field(pattern=r"^/[^\s]*$")] = "/"
    build: str = ""
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    build_timeout_s: Annotated[float, Field(gt=0, le=7200)] = 600.0


class Environment(_Strict):
    """Of each side of `lab run SCENARIO --base REF` with architectures; see lab.model.plan.EnvironmentPlan. Without it the lab makes a venv
    where the checkout is a Python project."""

    build: Annotated[str, Field(min_length=1)]
    python: Annotated[str, Field(min_length=1)] = ".venv/bin/python"
    build_timeout_s: Annotated[float, Field(gt=0, le=7200)] = 600.0


MOST_DEPLOYMENTS = 100  # per arm


def _judged(text: str) -> str:
    """Refuses what the gate cannot read."""
    thresholds.parse(text)
    return text


def _looks(looks: list[int] | None, found: ValidationInfo) -> list[int] | None:
    least, most = found.data.get("least"), found.data.get("most")
    if least is None or most is None:  # wrong themselves
        return looks
    if least > most:
        raise ValueError(f"`most` of {least} deployments per arm at least, as `least` says")
    if looks is not None and (sorted(set(looks)) != looks or not looks or looks[0] < least or looks[-1] != most):
        raise ValueError(f"rising numbers of deployments per arm from {least} (least) to {most} (most)")
    return looks


class Gate(_Strict):
    """How head is judged against base; see lab.model.plan.GatePlan. Under 10 deployments per arm only for trials, and then it is said."""

    thresholds: Annotated[list[Annotated[str, AfterValidator(_judged)]], Field(min_length=1)]
    least: Annotated[int, Field(ge=2, le=MOST_DEPLOYMENTS)] = 10
    most: Annotated[int, Field(ge=2, le=MOST_DEPLOYMENTS)] = 20
    looks: Annotated[list[int] | None, Field(validate_default=True), AfterValidator(_looks)] = None  # not given: least, the middle and most


class Serve(_Strict):
    """Deploys a workload as several architectures and loads them."""

    schema_version: Literal[1] = 1
    kind: Literal["serve"]
    about: str = ""
    workload: str
    model_size: Annotated[list[ModelSize], Field(min_length=1), BeforeValidator(_sizes)] = ["M"]
    architectures: list[Annotated[Subject, BeforeValidator(_subject)]] = []  # none for a service that already runs (provider external)
    service: Service | None = None  # instead of architectures
    gate: Gate | None = None  # with `lab run SCENARIO --base REF`
    environment: Environment | None = None  # beside architectures, for --base
    load: AnyLoad
    deployments: Annotated[int, Field(ge=1, le=100)] = 3
    budget: Resources = Resources()
    slo: Slo = Slo()
    primary_metric: Literal["p50_ms", "p95_ms", "p99_ms", "cpu_ms"] = "p50_ms"
    primary_rate_per_s: Positive | None = None
    traffic_per_s: Annotated[list[Positive], Field(min_length=1)] = [1.0, 10.0, 50.0]
    prices: str = "aws"
    floor: bool = True
    faults: list[Fault] = []
    seed: Annotated[int, Field(ge=0)] = 1


class Train(_Strict):
    """Trains the workload's models again, one process."""

    schema_version: Literal[1] = 1
    kind: Literal["train"]
    about: str = ""
    workload: Literal["vision"]
    model_size: Annotated[list[ModelSize], Field(min_length=1), BeforeValidator(_sizes)] = ["S"]
    out: str = "models"
    seed: Annotated[int, Field(ge=0)] = 1


KINDS: dict[str, type[Serve] | type[Train]] = {"serve": Serve, "train": Train}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    name: str
    sha256: str
    body: Serve | Train


def load(name: str) -> Scenario:
    """`name` is a scenario's name or a path. Raises InputError whose `problems` hold every mistake as `file:line: where: found, wanted`."""
    path = registry.find("scenarios", name)
    data = path.read_bytes()
    return Scenario(name=path.stem, sha256=hashlib.sha256(data).hexdigest(), body=parse(data.decode("utf-8", errors="replace"), str(path)))


def parse(text: str, where: str) -> Serve | Train:
    lines: dict[Location, int] = {}
    problems: list[tuple[int, str]] = []
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise InputError(
            f"{where}:{line}: this is not YAML: {getattr(error, 'problem', None) or error}", "check indentation and quotes"
        ) from error
    raw = _plain(node, (), lines, problems) if node is not None else None
    if not isinstance(raw, dict):
        raise InputError(f"{where}:1: found {_show(raw)}, wanted a mapping with `kind:`", "see scenarios/compare.yaml")
    body, found = _validate(raw, lines, Path(where).parent)
    problems += found + _unknown_names(raw, lines)
    if problems or body is None:
        listed = [f"{where}:{line}: {sentence}" for line, sentence in sorted(set(problems))]
        plural = "s" if len(listed) > 1 else ""
        raise InputError(
            f"{where} has {len(listed)} problem{plural}", "mend these lines; `lab plan SCENARIO` checks again and starts nothing", listed
        )
    return body


def _plain(node: yaml.Node, at: Location, lines: dict[Location, int], problems: list[tuple[int, str]]) -> Any:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in values:
                problems.append((line, f"{_dotted((*at, key))}: found a second time, wanted once"))
            values[key] = _plain(value_node, (*at, key), lines, problems)
            lines[(*at, key)] = line
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*at, i), lines, problems) for i, item in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node, deep=True)


def _validate(raw: dict[str, Any], lines: dict[Location, int], folder: Path) -> tuple[Serve | Train | None, list[tuple[int, str]]]:
    kind = raw.get("kind")
    if kind not in KINDS:
        return None, [(lines.get(("kind",), 1), f"kind: found {_show(kind)}, wanted {' or '.join(KINDS)}")]
    try:
        return KINDS[kind].model_validate(raw, context={"folder": folder}), []
    except ValidationError as error:
        return None, [_sentence(_written(e["loc"]), e, lines) for e in error.errors(include_url=False)]


def _written(at: Location) -> Location:
    """Without the kind of load, which pydantic puts into the place of an error."""
    return (at[0], *at[2:]) if len(at) > 1 and at[0] == "load" and at[1] in get_args(LoadKind) else at


def _sentence(at: Location, error: Any, lines: dict[Location, int]) -> tuple[int, str]:
    if error["type"] == "union_tag_invalid":  # of the load
        at = (*at, "kind")
        error = {"type": "", "input": error["input"]["kind"], "msg": " or ".join(get_args(LoadKind))}
    line = next(lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in lines)
    name = _dotted(at)
    if error["type"] == "missing":
        return line, f"{name}: found nothing, wanted it to be given"
    if error["type"] == "extra_forbidden":
        return line, f"{name}: found an unknown key, wanted one that a scenario of this kind has"
    wanted = error["msg"].removeprefix("Input should be ").removeprefix("a valid ").removeprefix("Value error, ")
    return line, f"{name}: found {_show(error['input'])}, wanted {wanted}"


def _unknown_names(raw: dict[str, Any], lines: dict[Location, int]) -> list[tuple[int, str]]:
    """Names of workloads, architectures, options and price books that no file has."""
    problems = []
    if raw.get("kind") != "serve":
        return []
    for key, kind in (("workload", "workloads"), ("prices", "prices")):
        value = raw.get(key)
        if isinstance(value, str) and value not in registry.names(kind) and not Path(value).is_file():  # type: ignore[arg-type]
            problems.append((lines[(key,)], f"{key}: found {value!r}, wanted one of {', '.join(registry.names(kind))}"))  # type: ignore[arg-type]
    subjects = raw.get("architectures")
    if subjects and raw.get("service"):
        problems.append((lines[("service",)], "service: found architectures beside it, wanted one of the two"))
    if raw.get("environment") and not subjects:
        problems.append(
            (lines[("environment",)], "environment: found no architectures beside it, wanted some (a service has its own `build`)")
        )
    seen: set[tuple[str, str]] = set()
    for i, item in enumerate(subjects if isinstance(subjects, list) else []):
        subject = _subject(item)
        if not isinstance(subject, dict) or not isinstance(subject.get("architecture"), str):
            continue
        name, at = subject["architecture"], ("architectures", i)
        if name not in registry.names("architectures"):
            problems.append((lines[at], f"architectures[{i}]: found {name!r}, wanted one of {', '.join(registry.names('architectures'))}"))
        elif isinstance(subject.get("options"), dict):
            problems += _unknown_options(name, subject["options"], (*at, "options"), lines)
        named = (name, str(subject.get("variant", "")))
        if named in seen:
            problems.append((lines[at], f"architectures[{i}]: found {name} a second time, wanted a `variant` of its own"))
        seen.add(named)
    return problems


def _unknown_options(architecture: str, options: dict[str, Any], at: Location, lines: dict[Location, int]) -> list[tuple[int, str]]:
    kind = registry.architecture(architecture).Options
    known = {f.name: f for f in dataclasses.fields(kind)}
    problems = []
    for key, value in options.items():
        line = lines.get((*at, key), lines[at])
        if key not in known:
            problems.append((line, f"{_dotted((*at, key))}: found an unknown option, wanted one of {', '.join(known)}"))
            continue
        try:
            msgspec.convert({key: value}, kind)
        except msgspec.ValidationError as error:
            problems.append(
                (line, f"{_dotted((*at, key))}: found {_show(value)}, wanted {str(error).partition(' - ')[0].removeprefix('Expected ')}")
            )
    return problems


def _dotted(at: Location) -> str:
    text = ""
    for part in at:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "scenario"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
