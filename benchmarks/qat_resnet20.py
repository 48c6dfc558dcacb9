"""ResNet-20 at 4-bit weights and activations: what ten minutes of training on two cores win back.

Run `python benchmarks/qat_resnet20.py [--minutes M] [--weights B] [--activations B] [--labels SHARE]`. The model is
trained on the JPEG training images and scored on all 10,000 JPEG test images, as integers, on an engine; fake and
integer outputs are compared bit for bit first. The float model is trained alike for reference, for half the time.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import intact
from intact import LayerRecipe, Override, Recipe, engine
from intact.graph.differentiable import Differentiable
from intact.graph.run import Runner, run_in_batches
from intact.pipeline.drafting import Draft, draft
from intact.pipeline.options import silent
from intact.training import Told, Training, prepare, train, trained_draft
from places import example
from results import Results

Array = NDArray[Any]

THREADS = 2
BATCH = 128
CALIBRATION = 512
MARGIN = 4
"""Pixels that an image may be shifted by while training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Training images as normalised floats with a margin of zeros, test images, and their classes."""

    train: torch.Tensor
    train_labels: torch.Tensor
    test: Array
    test_labels: Array

    def batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Shifted and mirrored training images, in an order of the epoch's own.

        Source:
            He et al. 2015, arXiv:1512.03385, section 4.2.
        """
        generator = np.random.default_rng(epoch)
        order = generator.permutation(len(self.train))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            some = torch.from_numpy(order[start : start + BATCH])
            down, right = generator.integers(0, 2 * MARGIN + 1, 2)
            images = self.train[some][:, :, down : down + 32, right : right + 32]
            mirrored = torch.from_numpy(generator.random(BATCH) < 0.5)[:, None, None, None]
            yield torch.where(mirrored, images.flip(3), images), self.train_labels[some]

    def calibration(self) -> Array:
        """Some training images without their margin."""
        some = np.random.default_rng(0).permutation(len(self.train))[:CALIBRATION]
        inner = self.train[torch.from_numpy(some)][:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
        return np.ascontiguousarray(inner.numpy())


def main() -> None:
    """Round, train, compare, write."""
    asked = arguments()
    torch.set_num_threads(THREADS)
    results = Results("qat_resnet20", THREADS)
    images = read_images()
    module = example("resnet20_cifar10")
    calibration = images.calibration()
    spec = intact.Spec(model=module.float_model(), inputs=calibration[:2], calibration=calibration)
    first = Override(pattern="conv1", settings={"weights": 8, "activation_bits": 8})
    layer = LayerRecipe(weights=asked.weights, activation_bits=asked.activations, method="gptq", bias_correction=True)
    plain = draft(spec, Recipe(default=layer, overrides=(first,)), silent)
    outputs = {"float": float_outputs(plain, images.test), "rounded": integer_outputs(plain, images.test)}
    outputs["trained"] = trained(plain, images, asked, results)
    if asked.reference:
        outputs["float, trained alike"] = fine_tuned(plain, images, asked)
    for model, found in outputs.items():
        answers = found.argmax(axis=1)
        results.add(
            "accuracy",
            model=model,
            accuracy=100 * (answers == images.test_labels).mean(),
            agreement=100 * (answers == outputs["float"].argmax(axis=1)).mean(),
            images=len(answers),
        )
    results.write()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--weights", type=int, default=4)
    parser.add_argument("--activations", type=int, default=4)
    parser.add_argument("--labels", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--reference", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def trained(plain: Draft, images: Images, asked: argparse.Namespace, results: Results) -> Array:
    """Train, compare fake and integer outputs bit for bit, and return the latter."""
    prepared = prepare(plain)
    training = Training(minutes=asked.minutes, rate=asked.rate, labels=asked.labels, bfloat16=True)
    busy = time.process_time()
    history = train(prepared, images.batches, training=training, progress=tell)
    busy = time.process_time() - busy
    made = trained_draft(prepared)
    found = integer_outputs(made, images.test)
    results.add(
        "training",
        weights=asked.weights,
        activations=asked.activations,
        labels=asked.labels,
        rate=asked.rate,
        minutes=history.seconds / 60,
        cpu_minutes=busy / 60,
        steps=history.steps,
        images_per_s=history.steps * BATCH / history.seconds,
        profile=made.profile,
    )
    fake = in_parts(lambda part: prepared(torch.from_numpy(part)), images.test)
    exact = engine.find()["reference"].load(made.program, engine.Options(threads=1), "default")
    (defined,) = exact.run({made.plan.graph.inputs[0].name: images.test[:200]}).values()
    results.add(
        "identity",
        images=len(fake),
        differing=int((fake != found).sum()),
        differing_from_definition=int((fake[:200] != defined).sum()),
        definition_images=200,
    )
    return found


def fine_tuned(plain: Draft, images: Images, asked: argparse.Namespace) -> Array:
    """Outputs of the float model after training on the same images, without any quantization."""
    model = Differentiable(plain.plan.graph)
    optimizer = torch.optim.AdamW(model.parameters(), lr=asked.rate, weight_decay=0.0)
    (name,) = (port.name for port in plain.plan.graph.inputs)
    (answer,) = (port.name for port in plain.plan.graph.outputs)
    start, budget_s, epoch = time.monotonic(), 30.0 * asked.minutes, 0
    while time.monotonic() - start < budget_s:
        for x, y in images.batches(epoch):
            share = (time.monotonic() - start) / budget_s
            if share >= 1.0:
                break
            for group in optimizer.param_groups:
                group["lr"] = asked.rate * 0.5 * (1.0 + np.cos(np.pi * share))
            with torch.autocast("cpu", torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(
                    model({name: x.contiguous(memory_format=torch.channels_last)})[answer].float(), y
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        epoch += 1
    return in_parts(lambda part: model({name: torch.from_numpy(part)})[answer], images.test)


def float_outputs(made: Draft, images: Array) -> Array:
    """Outputs of the float model."""
    (outputs,) = run_in_batches(
        Runner(made.source, threads=THREADS), {made.plan.graph.inputs[0].name: images}, 250
    ).values()
    return outputs


def integer_outputs(made: Draft, images: Array) -> Array:
    """Outputs of the integer program, on onnxruntime."""
    session = engine.find()["onnxruntime"].load(made.program, engine.Options(threads=THREADS), "default")
    (name,) = (port.name for port in made.plan.graph.inputs)
    parts = [session.run({name: images[at : at + 250]}) for at in range(0, len(images), 250)]
    return np.concatenate([next(iter(part.values())) for part in parts])


def in_parts(run: Callable[[Array], torch.Tensor], images: Array) -> Array:
    """Outputs of a torch function, without gradients."""
    with torch.no_grad():
        return np.concatenate([run(images[at : at + 250]).numpy() for at in range(0, len(images), 250)])


def tell(told: Told) -> None:
    """Show how far it is."""
    if told.step % 100 == 0:
        print(f"step {told.step}: loss {told.loss:.3f}, {told.left_s:.0f} s left", flush=True)


def read_images() -> Images:
    """Read the JPEG training and test images."""
    real = example("real_data")
    folder = real.folder("cifar10_jpeg")
    pixels, labels = read_archive(folder / "train.tar.xz")
    test, test_labels = real.cifar10_test()
    train = torch.nn.functional.pad(torch.from_numpy(real.normalised(pixels)), [MARGIN] * 4)
    return Images(train=train, train_labels=torch.from_numpy(labels), test=test, test_labels=test_labels)


def read_archive(path: Path) -> tuple[Array, Array]:
    """All images of an archive of class/name.jpg, uint8, and their classes."""
    found: dict[str, Array] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".jpg") else None
            if file is not None:
                found[member.name] = np.asarray(Image.open(io.BytesIO(file.read())))
    names = sorted(found)
    folders = [Path(name).parent.name for name in names]
    known = sorted(set(folders))
    return np.stack([found[name] for name in names]), np.asarray([known.index(each) for each in folders])


if __name__ == "__main__":
    main()
