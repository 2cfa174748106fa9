"""Trains the three served networks on the digits that are not held out, and writes each as vision-<size>.onnx with its card."""

#   python -m lab.ml.training S M L --out DIR
#
# On one busy core S took 32 s and L 24 minutes, on a crowded one M 38 minutes. Top to bottom: the recipes, the network, the photos, the
# loop, the export, the card. Nothing that serves imports this module.

# mypy: disallow-subclassing-any=False
# (where torch is not installed, nn.Module is Any)

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

from lab import rundir
from lab.errors import UnusableError
from lab.ml import digits
from lab.ml.card import DataSource, ModelCard, Phase, Recipe
from lab.ml.pixels import pixels
from lab.model.workload import ModelSize

SEED = 1
INPUT, OUTPUT, OPSET = "pixels", "scores", 18
TOLERANCE = 1e-4  # largest difference of a score between torch and ONNX Runtime
Say = Callable[[str], None]

# L and M learn the shapes on small photos, where a step costs a sixteenth or a quarter, and then move up to the served side.
RECIPES: dict[ModelSize, Recipe] = {
    "S": Recipe(
        size="S",
        side_px=32,
        stages=((48, 2), (96, 3), (128, 2)),
        phases=(Phase(side_px=32, epochs=5, learning_rate=3e-3),),
    ),
    "M": Recipe(
        size="M",
        side_px=112,
        stages=((80, 3), (96, 3), (128, 2), (128, 2)),
        phases=(Phase(side_px=56, epochs=10, learning_rate=3e-3), Phase(side_px=112, epochs=3, learning_rate=1e-3)),
    ),
    "L": Recipe(
        size="L",
        side_px=224,
        stages=((96, 5), (96, 2), (96, 2), (96, 2), (96, 1)),
        phases=(
            Phase(side_px=56, epochs=8, learning_rate=3e-3),
            Phase(side_px=112, epochs=1, learning_rate=1e-3, batch=16),
            Phase(side_px=224, epochs=0.9, learning_rate=1e-3, batch=16),
        ),
    ),
}


# ---- the network ------------------------------------------------------------------------------------------------------


class Network(nn.Module):
    """Plain 3 x 3 convolutions, the mean over the picture, one linear layer. In: (n, 3, h, w) levels 0 to 255. Out: (n, 10) logits."""

    def __init__(self, stages: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, depth in stages:
            for position in range(depth):
                stride = 2 if position == 0 else 1
                layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.last = nn.Linear(channels, digits.CLASSES)

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.features(levels.float() / 128.0 - 1.0).mean(dim=(2, 3)))
        return logits


def count_macs(recipe: Recipe) -> int:
    side, channels, macs = recipe.side_px, 3, 0
    for width, depth in recipe.stages:
        side = (side + 1) // 2
        for _ in range(depth):
            macs += channels * width * 9 * side * side
            channels = width
    return macs + channels * digits.CLASSES


# ---- the photos -------------------------------------------------------------------------------------------------------


def photos(data: digits.Digits) -> list[bytes]:
    return [digits.jpeg(image) for image in data.images]


def decode(jpegs: list[bytes], side_px: int) -> torch.Tensor:
    """uint8 (n, 3, side, side), by the path that serves."""
    return torch.from_numpy(np.stack([pixels(jpeg, side_px) for jpeg in jpegs]))


def disturb(levels: torch.Tensor, recipe: Recipe, draw: torch.Generator) -> torch.Tensor:
    """Each photo turned, zoomed and shifted a little by its own draw; float32 of the same shape."""
    turn, zoom, right, down = torch.rand((4, len(levels)), generator=draw) * 2 - 1
    turn = turn * recipe.turn_degrees * torch.pi / 180
    zoom = 1 + zoom * recipe.zoom
    cos, sin = zoom * turn.cos(), zoom * turn.sin()
    shift = 2 * recipe.shift  # the grid is two units wide
    motion = torch.stack([cos, -sin, right * shift, sin, cos, down * shift], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(motion, list(levels.shape), align_corners=False)
    return F.grid_sample(levels.float(), grid, padding_mode="border", align_corners=False)


# ---- the loop ---------------------------------------------------------------------------------------------------------


def shuffled(count: int, epochs: float, batch: int, draw: torch.Generator) -> Iterator[torch.Tensor]:
    """Whole batches of indexes; every image once before any comes twice."""
    order = torch.cat([torch.randperm(count, generator=draw) for _ in range(int(-(-epochs // 1)))])
    steps = int(epochs * count) // batch
    yield from order[: steps * batch].view(steps, batch)


def fit(recipe: Recipe, jpegs: list[bytes], labels: npt.NDArray[np.uint8], seed: int, say: Say) -> Network:
    """Same recipe, data, seed, threads and machine: same weights. Leaves torch's own random state as it was."""
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(recipe.stages)
    network.to(memory_format=torch.channels_last)
    targets = torch.from_numpy(labels.astype(np.int64))
    work = [phase.epochs * phase.side_px**2 for phase in recipe.phases]
    started = time.monotonic()
    for number, phase in enumerate(recipe.phases):
        photographs = decode(jpegs, phase.side_px)
        for part, loss in train_phase(network, phase, recipe, photographs, targets, draw):
            done = (sum(work[:number]) + part * work[number]) / sum(work)
            left_s = (time.monotonic() - started) * (1 - done) / done
            say(f"{recipe.size} at {phase.side_px} px: {done:4.0%} done, loss {loss:.3f}, about {left_s:.0f} s left")
    network.eval()
    return network


def train_phase(
    network: Network, phase: Phase, recipe: Recipe, photographs: torch.Tensor, targets: torch.Tensor, draw: torch.Generator
) -> Iterator[tuple[float, float]]:
    """Yields (part done, mean loss since the last) about ten times: AdamW, the learning rate up for a fifth, then down to nothing."""
    batches = list(shuffled(len(targets), phase.epochs, phase.batch, draw))
    optimiser = torch.optim.AdamW(network.parameters(), lr=phase.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, phase.learning_rate, total_steps=len(batches) + 1, pct_start=0.2)
    network.train()
    losses: list[float] = []
    report_every = max(1, len(batches) // 10)
    for step, chosen in enumerate(batches, start=1):
        levels = disturb(photographs[chosen], recipe, draw).contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(network(levels), targets[chosen], label_smoothing=recipe.label_smoothing)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % report_every == 0 or step == len(batches):
            yield step / len(batches), sum(losses) / len(losses)
            losses.clear()


# ---- the export -------------------------------------------------------------------------------------------------------


def export(network: Network, side_px: int) -> bytes:
    """The graph that serves: uint8 (n, 3, side, side) in, probabilities float32 (n, 10) out, any n; no trace of where it was made."""
    served = nn.Sequential(network, nn.Softmax(dim=1)).to(memory_format=torch.contiguous_format).eval()
    example = torch.zeros((2, 3, side_px, side_px), dtype=torch.uint8)
    program = torch.onnx.export(
        served,
        (example,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None  # only None with a path to write to
    model = program.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.checker.check_model(model, full_check=True)
    packed: bytes = model.SerializeToString(deterministic=True)
    return packed


def scores(model: bytes, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(n, 10) by ONNX Runtime, 32 photos at a time."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    parts = [session.run([OUTPUT], {INPUT: batch[start : start + 32]})[0] for start in range(0, len(batch), 32)]
    joined: npt.NDArray[np.float32] = np.concatenate(parts)
    return joined


def verify_export(network: Network, model: bytes, photographs: torch.Tensor) -> None:
    """UnusableError when torch and ONNX Runtime do not give the same scores."""
    with torch.inference_mode():
        wanted = torch.softmax(network(photographs), dim=1).numpy()
    apart = float(np.abs(wanted - scores(model, photographs.numpy())).max())
    if not apart <= TOLERANCE:
        hint = "try the torch and onnxruntime versions that the lab pins"
        raise UnusableError(f"the exported network differs from the trained one by {apart:.2g}, wanted at most {TOLERANCE:.0e}", hint)


# ---- the card ---------------------------------------------------------------------------------------------------------

INTENDED_USE = "A load of known cost and checkable answers for benchmarks of serving, training and drift."
LIMITS = "Reads one upright, dark digit on light paper that fills the photo. No other picture is recognised as unknown: it gets some digit."


def accuracy(model: bytes, jpegs: list[bytes], labels: npt.NDArray[np.uint8], side_px: int) -> tuple[float, tuple[float, ...]]:
    """Top-1 over all and by digit."""
    right = scores(model, decode(jpegs, side_px).numpy()).argmax(axis=1) == labels
    return float(right.mean()), tuple(round(float(right[labels == digit].mean()), 4) for digit in range(digits.CLASSES))


def train(size: ModelSize, out_dir: Path, seed: int = SEED, say: Say = print) -> ModelCard:
    """Writes vision-<size>.onnx and vision-<size>.card.json into `out_dir`, made if it is missing."""
    started = time.monotonic()
    recipe = RECIPES[size]
    kept, held = digits.train(), digits.held_out()
    say(f"{size}: making {len(kept.labels) + len(held.labels)} photos")
    network = fit(recipe, photos(kept), kept.labels, seed, say)
    model = export(network, recipe.side_px)
    unseen = photos(held)
    verify_export(network, model, decode(unseen[:32], recipe.side_px))
    over_all, per_class = accuracy(model, unseen, held.labels, recipe.side_px)
    card = describe(recipe, seed, model, over_all, per_class, time.monotonic() - started)
    rundir.write(out_dir / f"{card.name}.onnx", model)
    rundir.write(out_dir / f"{card.name}.card.json", rundir.encode(card) + b"\n")
    say(f"{card.name}: accuracy {over_all:.2%} on {len(unseen)} held-out photos, {len(model) / 1e6:.2f} MB, {card.training_s:.0f} s")
    return card


def describe(recipe: Recipe, seed: int, model: bytes, over_all: float, per_class: tuple[float, ...], training_s: float) -> ModelCard:
    macs = count_macs(recipe)
    return ModelCard(
        name=f"vision-{recipe.size}",
        size=recipe.size,
        sha256=hashlib.sha256(model).hexdigest(),
        bytes=len(model),
        input_name=INPUT,
        input_side_px=recipe.side_px,
        output_name=OUTPUT,
        classes=tuple(str(digit) for digit in range(digits.CLASSES)),
        parameters=sum(weights.numel() for weights in Network(recipe.stages).parameters()),
        macs=macs,
        flops=2 * macs,
        accuracy=round(over_all, 4),
        accuracy_per_class=per_class,
        data=source(),
        recipe=recipe,
        seed=seed,
        threads=torch.get_num_threads(),
        code=f"lab.ml.training.train({recipe.size!r}, seed={seed})",
        torch_version=str(torch.__version__),
        onnx_version=onnx.__version__,
        onnx_opset=OPSET,
        trained_on=datetime.now(UTC).date().isoformat(),
        training_s=round(training_s, 1),
        intended_use=INTENDED_USE,
        limits=LIMITS,
    )


def source() -> DataSource:
    return DataSource(
        name=digits.NAME,
        package=digits.PACKAGE,
        package_version=digits.data_version(),
        licence=digits.LICENCE,
        sha256=digits.SHA256,
        split_seed=digits.SPLIT_SEED,
        train_images=len(digits.train().labels),
        held_out_images=len(digits.held_out().labels),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="+", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    for size in asked.sizes:
        train(size, asked.out, asked.seed, say=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
