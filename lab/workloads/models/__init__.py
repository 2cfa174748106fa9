"""The trained networks that ship with the lab, each with its card: bytes that are refused when they are not the card's."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from lab import rundir
from lab.errors import InputError, MachineError
from lab.ml.card import ModelCard

__all__ = ["ModelCard", "card", "names", "onnx_bytes", "verify"]

_CARD = ".card.json"


@cache
def names() -> tuple[str, ...]:
    """Such as vision-S; what lies in this folder."""
    return tuple(sorted(entry.name.removesuffix(_CARD) for entry in files(__name__).iterdir() if entry.name.endswith(_CARD)))


@cache
def card(name: str) -> ModelCard:
    if name not in names():
        raise InputError(f"no model is called {name!r}; there are {', '.join(names())}", "take one of those, or make one with `lab train`")
    return rundir.decode(files(__name__).joinpath(name + _CARD).read_bytes(), ModelCard, name + _CARD)


def onnx_bytes(name: str) -> bytes:
    """The network as ONNX Runtime takes it. MachineError when this installation's copy is missing or is not the card's."""
    wanted = card(name)
    try:
        data = files(__name__).joinpath(f"{name}.onnx").read_bytes()
    except FileNotFoundError as error:
        raise MachineError(f"{name}.onnx is missing from this installation of the lab", _again(wanted)) from error
    verify(data, wanted)
    return data


def verify(data: bytes, card: ModelCard) -> None:
    """MachineError unless `data` is the network that `card` describes, to the last bit; for copies from a store as well."""
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        what = f"{card.name}.onnx is not the network of its card: found {len(data)} bytes with sha256 {found}"
        raise MachineError(f"{what}, wanted {card.bytes} bytes with sha256 {card.sha256}", _again(card))


def _again(card: ModelCard) -> str:
    return f"install the lab again, or make the network again with `python -m lab.ml.training {card.size} --out DIR`"
