"""From the bytes of a JPEG to a network's input: the one way, in training as in serving."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from lab.errors import InputError

MAX_PIXELS = 16_000_000  # of the coded image; 4000 x 4000. Read from its header, before anything is decoded.
_SMALLER = "send a smaller image"


def pixels(jpeg: bytes, side_px: int) -> npt.NDArray[np.uint8]:
    """RGB uint8 (3, side, side), squeezed to a square as a whole; decoded at the smallest of the scales 1, 1/2, 1/4, 1/8 that is still as
    large. InputError: no JPEG, a damaged one, or one of more than MAX_PIXELS."""
    try:
        with JpegImageFile(io.BytesIO(jpeg)) as image:  # not Image.open, which warns on stderr of what is refused here
            _refuse_bomb(*image.size)
            image.draft("RGB", (side_px, side_px))
            small = image.convert("RGB").resize((side_px, side_px), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError) as error:  # a body that is cut off or damaged; a head that is none of a JPEG
        found = f"{len(jpeg)} bytes that begin with {jpeg[:4].hex(' ') or 'nothing'}"
        raise InputError(f"the image cannot be read: wanted a JPEG, found {found} ({error})", "send a whole JPEG file") from error
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def _refuse_bomb(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"too large: an image of {width} x {height} pixels, wanted at most {MAX_PIXELS} in all", _SMALLER)
