"""A name is a file name: lists and loads workloads, architectures, providers, scenarios and price books; the one dynamic import."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast, get_args

from lab.contracts import Architecture, Handlers, Provider, Replicas, Tools, Workload
from lab.errors import InputError
from lab.model import Request, Stage
from lab.model.workload import ModelSize

Kind = Literal["workloads", "architectures", "providers", "scenarios", "prices"]
PACKAGE = Path(__file__).resolve().parent
PROJECT_VARIABLE = "LAB_PROJECT"  # the user's folder, handed to every process of the lab


def project() -> Path:
    return Path(os.environ.get(PROJECT_VARIABLE) or Path.cwd())


def folders(kind: Kind) -> list[Path]:
    """Where names of this kind are looked up, first wins: the user's folder, then ours (beside the package, in it, or in the wheel)."""
    ours = [PACKAGE.parent / kind, PACKAGE / "_shipped" / kind] if kind in ("architectures", "scenarios") else [PACKAGE / kind]
    seen: dict[Path, Path] = {}
    for folder in [project() / kind, *ours]:
        if folder.is_dir():
            seen.setdefault(folder.resolve(), folder)
    return list(seen.values())


def files(kind: Kind) -> dict[str, Path]:
    """name -> file (a package's folder for providers that are packages), sorted by name."""
    suffix = ".yaml" if kind in ("scenarios", "prices") else ".py"
    found: dict[str, Path] = {}
    for folder in folders(kind):
        for path in sorted(folder.iterdir()):
            package = suffix == ".py" and (path / "__init__.py").is_file() and _offers(path / "__init__.py", kind)
            plain = path.suffix == suffix and not path.name.startswith("_")
            if package or plain:
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def _offers(init: Path, kind: Kind) -> bool:
    return kind == "providers" and "Provider" in init.read_text()


def names(kind: Kind) -> tuple[str, ...]:
    return tuple(files(kind))


def find(kind: Kind, name: str) -> Path:
    """The file of `name`; for scenarios and prices a path to a file works too, and for
    scenarios one below their folder (experiments/cold-wave). Raises InputError with the nearest names."""
    known = files(kind)
    if name in known:
        return known[name]
    nested = [folder / f"{name}.yaml" for folder in folders(kind)] if kind == "scenarios" and "/" in name else []
    if there := next((path for path in nested if path.is_file()), None):
        return there
    path = Path(name)
    if kind in ("scenarios", "prices") and (path.suffix == ".yaml" or path.is_file()):
        if path.is_file():
            return path
        if path.stem in known and path.parent.name == kind:
            return known[path.stem]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    places = ", ".join(str(f) for f in folders(kind))
    raise InputError(f"no {kind.removesuffix('s')} is called {name!r}; there are: {', '.join(known)}", f"{hint}looked in {places}")


def _module(kind: Kind, name: str) -> ModuleType:
    path = find(kind, name)
    if path.is_relative_to(PACKAGE / kind):
        return importlib.import_module(f"lab.{kind}.{name}")
    return _loaded(f"lab_{kind}_{name}", path)


def _loaded(alias: str, path: Path) -> ModuleType:
    known = sys.modules.get(alias)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(alias, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        del sys.modules[alias]
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InputError(f"{path}{line} cannot be loaded: {error}", "mend that file, or take it out of the folder") from error
    return module


def _attribute(kind: Kind, name: str, attribute: str) -> Any:
    module = _module(kind, name)
    if not hasattr(module, attribute):
        raise InputError(f"{find(kind, name)} defines no {attribute!r}", f"every file in {kind}/ has one; see lab/contracts.py")
    return getattr(module, attribute)


def workshops() -> dict[str, Path]:
    """name -> folder of every lesson, sorted by name; the user's own come first."""
    found: dict[str, Path] = {}
    for folder in folders("scenarios"):
        for lesson_page in sorted(folder.glob("workshops/*/lesson.md")):
            found.setdefault(lesson_page.parent.name, lesson_page.parent)
    return dict(sorted(found.items()))


def lesson(path: Path) -> ModuleType:
    """The check.py of a lesson, which defines QUESTIONS."""
    if not path.is_file():
        raise InputError(f"{path.parent} has no {path.name}", "every workshop has one; see scenarios/workshops/break-even")
    module = _loaded(f"lab_workshops_{path.parent.name}", path)
    if not hasattr(module, "QUESTIONS"):
        raise InputError(f"{path} defines no 'QUESTIONS'", "every check.py has some; see scenarios/workshops/break-even")
    return module


def workload(name: str) -> Workload:
    """One without stages (its stages run in a service of the user's own) need not say what only stages need."""
    kind = _attribute("workloads", name, "Workload")
    if not hasattr(kind, "stages"):
        missing = [each for each in ("operations", "payload", "check") if not hasattr(kind, each)]
        if missing:
            what = f"{find('workloads', name)}: class Workload has no {', '.join(missing)}"
            raise InputError(what, "a workload for a service of your own needs operations, payload and check; see README.md")
        kind = type("Workload", (kind, Unserved), {"name": name})
    return cast(Workload, kind())


class Unserved:
    """What a workload without stages says of stages and models; laid below the user's class, whose own attributes win."""

    stages: tuple[Stage, ...] = ()
    model_sizes: tuple[ModelSize, ...] = get_args(ModelSize)

    def wrong_rate_limit(self, model_size: ModelSize) -> float:
        return 0.0

    def preload(self, seed: int) -> Sequence[Request]:
        return ()

    def model_name(self, model_size: ModelSize) -> str | None:
        return None

    def model_bytes(self, model_size: ModelSize) -> tuple[bytes, str]:
        raise InputError("this workload has no model", "its service brings its own")

    def handlers(self, stages: Collection[str], tools: Tools) -> Handlers:
        raise InputError("this workload has no stages", "measure it with `service:` in the scenario, or with --provider external")


def architecture(name: str) -> Architecture:
    _attribute("architectures", name, "Options")
    _attribute("architectures", name, "place")
    return cast(Architecture, _module("architectures", name))


def provider(name: str) -> Callable[..., Provider]:
    """Takes the resolved settings."""
    return cast(Callable[..., Provider], _attribute("providers", name, "Provider"))


def replicas(provider_name: str, handle: str) -> Replicas:
    """The provider's Replicas, for processes of its own such as the activator."""
    return cast(Replicas, _attribute("providers", provider_name, "replicas")(handle))
