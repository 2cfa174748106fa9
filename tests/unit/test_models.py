"""The networks that ship: what their cards claim is found again by ONNX Runtime on the held-out images, through the path that serves."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from lab.errors import InputError, MachineError
from lab.ml import digits
from lab.ml.pixels import pixels
from lab.workloads import models

PROMISED = {"vision-S": 0.97, "vision-M": 0.98, "vision-L": 0.97}
SAMPLE = {"vision-S": 1000, "vision-M": 200, "vision-L": 60}


def session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(models.onnx_bytes(name), options, providers=["CPUExecutionProvider"])


def photos(name: str, count: int) -> npt.NDArray[np.uint8]:
    side_px = models.card(name).input_side_px
    return np.stack([pixels(digits.jpeg(image), side_px) for image in digits.held_out().images[:count]])


def scores(running: onnxruntime.InferenceSession, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.asarray(running.run(["scores"], {"pixels": batch})[0])


def test_three_sizes_ship() -> None:
    assert models.names() == ("vision-L", "vision-M", "vision-S")


@pytest.mark.parametrize("name", PROMISED)
def test_card_describes_the_file_beside_it(name: str) -> None:
    card = models.card(name)
    assert len(models.onnx_bytes(name)) == card.bytes < 4_000_000
    assert (card.name, card.classes, card.flops) == (f"vision-{card.size}", tuple("0123456789"), 2 * card.macs)
    assert (card.data.sha256, card.data.split_seed) == (digits.SHA256, digits.SPLIT_SEED)
    assert card.recipe.phases[-1].side_px == card.recipe.side_px == card.input_side_px
    assert card.accuracy >= PROMISED[name]
    assert np.mean(card.accuracy_per_class) == pytest.approx(card.accuracy, abs=1e-4)


@pytest.mark.parametrize("name", PROMISED)
def test_graph_has_the_names_types_and_free_batch_that_the_card_says(name: str) -> None:
    card, running = models.card(name), session(name)
    [taken], [given] = running.get_inputs(), running.get_outputs()
    assert (taken.name, taken.type, taken.shape[1:]) == (card.input_name, "tensor(uint8)", [3, card.input_side_px, card.input_side_px])
    assert (given.name, given.type, given.shape[1:]) == (card.output_name, "tensor(float)", [10])
    assert isinstance(taken.shape[0], str)


@pytest.mark.parametrize("name", PROMISED)
def test_accuracy_of_the_card_is_found_again(name: str) -> None:
    """All 1,000 give the card's number to one image (another libjpeg may flip one); a sample may miss what it can by chance."""
    count, card = SAMPLE[name], models.card(name)
    running, batch = session(name), photos(name, SAMPLE[name])
    answers = np.concatenate([scores(running, batch[start : start + 10]) for start in range(0, count, 10)]).argmax(axis=1)
    found = float((answers == digits.held_out().labels[:count]).mean())
    slack = 0.001 if count == 1000 else 3 * (card.accuracy * (1 - card.accuracy) / count) ** 0.5
    assert abs(found - card.accuracy) <= slack + 1e-9


@pytest.mark.parametrize(("name", "sizes"), [("vision-S", range(1, 33)), ("vision-M", (1, 2, 7, 8, 32)), ("vision-L", (1, 2, 4))])
def test_answer_does_not_depend_on_its_batch(name: str, sizes: range | tuple[int, ...]) -> None:
    running, batch = session(name), photos(name, max(sizes))
    alone = np.concatenate([scores(running, batch[i : i + 1]) for i in range(len(batch))])
    assert alone.sum(axis=1) == pytest.approx(np.ones(len(batch)), abs=1e-5)
    for size in sizes:
        assert np.abs(scores(running, batch[:size]) - alone[:size]).max() < 1e-4
    assert np.abs(scores(running, batch[::-1].copy())[::-1] - alone).max() < 1e-4


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_one_changed_byte_is_refused_with_found_wanted_and_next_step(place: int) -> None:
    card, data = models.card("vision-S"), bytearray(models.onnx_bytes("vision-S"))
    models.verify(bytes(data), card)
    data[place] ^= 1
    with pytest.raises(MachineError, match=f"found {card.bytes} bytes with sha256 .*wanted .*{card.sha256}") as refused:
        models.verify(bytes(data), card)
    assert "python -m lab.ml.training S" in refused.value.hint


def test_card_of_another_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(models.card("vision-M"), name="vision-S")
    monkeypatch.setattr(models, "card", lambda name: other)
    with pytest.raises(MachineError, match="not the network of its card"):
        models.onnx_bytes("vision-S")


def test_missing_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = models.card("vision-M")
    monkeypatch.setattr(models, "card", lambda name: other)
    with pytest.raises(MachineError, match=r"vision-X\.onnx is missing"):
        models.onnx_bytes("vision-X")


@pytest.mark.parametrize("name", ["vision-X", "", "../models/vision-S"])
def test_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match="there are vision-L, vision-M, vision-S"):
        models.card(name)


@pytest.mark.parametrize("name", PROMISED)
def test_no_path_of_the_training_machine_is_in_the_file(name: str) -> None:
    for trace in (b"site-packages", b"/home/", b"/lab/", b".py"):
        assert trace not in models.onnx_bytes(name)


def test_reading_a_model_imports_neither_torch_nor_onnxruntime() -> None:
    code = "import sys; from lab.workloads import models as m; m.onnx_bytes('vision-S'); print({'torch', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
