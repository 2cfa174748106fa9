"""What is known of one trained network: the card that lies beside its .onnx, and the recipe that made it."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model.workload import ModelSize

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Phase:
    """`epochs` may be a fraction: 0.5 shows half of the training images."""

    side_px: int
    epochs: float
    learning_rate: float
    batch: int = 32


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`stages`: (channels, convolutions) from the image inwards; each stage halves height and width. Phases run in order, the last at
    the served `side_px`."""

    size: ModelSize
    side_px: int
    stages: tuple[tuple[int, int], ...]
    phases: tuple[Phase, ...]
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    turn_degrees: float = 12.0
    zoom: float = 0.10
    shift: float = 0.06


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """`sha256` is of the package's file; `split_seed` decides which images are held out."""

    name: str
    package: str
    package_version: str
    licence: str
    sha256: str
    split_seed: int
    train_images: int
    held_out_images: int


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """`sha256` is of the .onnx. `macs` are multiply-accumulates of one inference, `flops` twice that; both count the convolutions and
    the last layer. `accuracy` is top-1 over the held-out images, through JPEG and `pixels`; `accuracy_per_class` is by digit.
    Same recipe, data, seed, threads, machine and versions give the same bytes again."""

    name: str
    size: ModelSize
    sha256: str
    bytes: int
    input_name: str
    input_side_px: int
    output_name: str
    classes: tuple[str, ...]
    parameters: int
    macs: int
    flops: int
    accuracy: float
    accuracy_per_class: tuple[float, ...]
    data: DataSource
    recipe: Recipe
    seed: int
    threads: int
    code: str
    torch_version: str
    onnx_version: str
    onnx_opset: int
    trained_on: str
    training_s: float
    intended_use: str
    limits: str
    schema_version: int = SCHEMA_VERSION
