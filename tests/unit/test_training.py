"""The training itself: S made again from nothing keeps its card's promise; the rest on a network that trains in a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lab.errors import UnusableError
from lab.ml import digits
from lab.ml.card import ModelCard, Phase, Recipe
from lab.rundir import decode
from lab.workloads import models
from tests.extras import need

pytestmark = pytest.mark.filterwarnings("default")  # torch and its exporter warn about their own insides

TINY = Recipe(
    size="S",
    side_px=32,
    stages=((8, 1), (16, 1)),
    phases=(Phase(side_px=16, epochs=1, learning_rate=3e-3), Phase(side_px=32, epochs=0.5, learning_rate=1e-3)),
)
SOME = digits.Digits(images=digits.train().images[:320], labels=digits.train().labels[:320])


def quiet(line: str) -> None:
    del line


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On a busy machine two threads that wait for each other take four times as long as one."""
    need("torch")
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_retrained_s_reaches_the_accuracy_of_the_shipped_card(tmp_path: Path) -> None:
    from lab.ml import training

    shipped = models.card("vision-S")
    card = training.train(size="S", out_dir=tmp_path / "new", seed=shipped.seed, say=quiet)
    assert card.accuracy >= shipped.accuracy - 0.005
    assert (card.recipe, card.data, card.parameters, card.macs) == (shipped.recipe, shipped.data, shipped.parameters, shipped.macs)
    written = decode((tmp_path / "new" / "vision-S.card.json").read_bytes(), ModelCard, "vision-S.card.json")
    assert written == card
    models.verify((tmp_path / "new" / "vision-S.onnx").read_bytes(), card)


def test_cards_that_ship_were_made_by_the_recipes_of_today() -> None:
    need("torch")
    from lab.ml import training

    for size, recipe in training.RECIPES.items():
        card = models.card(f"vision-{size}")
        assert (card.recipe, card.seed, card.macs) == (recipe, training.SEED, training.count_macs(recipe))


def test_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    need("torch")
    from lab.ml import training

    jpegs = training.photos(SOME)
    made = [training.export(training.fit(TINY, jpegs, SOME.labels, seed, quiet), 32) for seed in (3, 3, 4)]
    assert made[0] == made[1] != made[2]


def test_training_reports_its_progress_up_to_the_end_and_leaves_torch_as_it_was() -> None:
    need("torch")
    import torch

    from lab.ml import training

    lines: list[str] = []
    before = torch.random.get_rng_state()
    training.fit(TINY, training.photos(SOME), SOME.labels, 3, lines.append)
    assert " 100% done" in lines[-1] and "about 0 s left" in lines[-1]
    assert torch.equal(before, torch.random.get_rng_state())


def test_batches_show_every_image_once_before_any_twice() -> None:
    need("torch")
    import torch

    from lab.ml import training

    draw = torch.Generator().manual_seed(1)
    shown = torch.cat(list(training.shuffled(96, 1.5, 32, draw))).tolist()
    assert len(shown) == 128 and sorted(shown[:96]) == list(range(96))
    assert len(set(shown[96:])) == 32


def test_disturbed_photos_keep_shape_range_and_stay_near_the_original() -> None:
    need("torch")
    import torch

    from lab.ml import training

    levels = training.decode(training.photos(SOME)[:20], 32)
    moved = training.disturb(levels, TINY, torch.Generator().manual_seed(1))
    assert moved.shape == levels.shape and moved.min() >= 0 and moved.max() <= 255
    still = training.disturb(levels, Recipe(size="S", side_px=32, stages=(), phases=(), turn_degrees=0, zoom=0, shift=0), torch.Generator())
    assert torch.allclose(still, levels.float(), atol=1e-2)
    assert not torch.allclose(moved, still, atol=10)


def test_export_that_differs_from_the_network_is_refused() -> None:
    need("torch")
    import torch

    from lab.ml import training

    network, other = training.Network(TINY.stages).eval(), training.Network(TINY.stages).eval()
    levels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8))
    training.verify_export(network, training.export(network, 32), levels)
    with pytest.raises(UnusableError, match="differs from the trained one"):
        training.verify_export(other, training.export(network, 32), levels)
