"""ResNet-20 with half of its multiply-adds: how good is it after fine-tuning, and how much faster in integers?

Run `python benchmarks/pruned_resnet20.py`. Channels go, the rest is trained towards the float model on the 50,000 JPEG
training images, and the dense and the thin model are built with the default recipe (8-bit weights and activations,
exact). Scores are of all 10,000 JPEG test images. Last: what zeros among the weights do to the time.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import intact
from intact import engine
from intact.pipeline.sparse_speed import sparse_gain
from intact.training import Slim, Training, prune
from places import example, work
from resnet20 import chosen_engine
from results import Results
from timing import Plan, clocked, race

Array = NDArray[Any]

THREADS = 2
MACS = 0.5
BATCH = 128
EDGE = 4
"""Pixels by which training images are moved at most, the free border black."""
PLANS = {
    1: Plan(warm=10, burst=20, rounds=20, budget_s=30),
    32: Plan(warm=3, burst=10, rounds=20, budget_s=30),
}
SPARSE = (("unstructured", 0.5), ("unstructured", 0.9), ("2:4", 0.5), ("block:8", 0.5))
LEAST_ACCURACY, LEAST_SPEEDUP = 79.5, 1.5


@dataclass(frozen=True, kw_only=True)
class Builds:
    """Two integer models of one kind: with all channels and with some."""

    dense: intact.Built
    thin: intact.Built


def main() -> None:
    """Prune, train, build, score, time, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="of fine-tuning")
    parser.add_argument("--rounds", type=int, default=1, help="of pruning and training")
    parser.add_argument("--rate", type=float, default=RATE, help="greatest learning rate")
    parser.add_argument("--bfloat16", action="store_true", help="train with bfloat16 products")
    given = parser.parse_args()
    results = Results("pruned_resnet20", THREADS)
    spec = example("resnet20_cifar10").spec()
    spec = replace(spec, model=spec.proto(), evaluate=None)
    images, labels = example("real_data").cifar10_test()
    training = Training(minutes=given.minutes, rate=given.rate, labels=0.5, bfloat16=given.bfloat16)
    slim = thinned(spec, training, given.rounds, results)
    builds = Builds(dense=intact.build(spec, threads=THREADS), thin=intact.build(slim.spec, threads=THREADS))
    accuracy(spec, slim, builds, images, labels, results)
    for rows, plan in PLANS.items():
        latency(builds, images[:rows], plan, results)
    zeros(builds.dense, images[:32], results)
    results.write()


RATE = 2e-3


def thinned(spec: intact.Spec, training: Training, rounds: int, results: Results) -> Slim:
    """Prune and train, and note what became of every group of channels."""
    images, labels = cifar10_train()
    start = time.perf_counter()
    slim = prune(spec, moving(images, labels), macs=MACS, training=training, rounds=rounds)
    results.add(
        "pruning",
        macs_before=slim.macs_before,
        macs_after=slim.macs_after,
        share=slim.share,
        widths=[[group.before, group.after] for group in slim.groups],
        training_s=sum(history.seconds for history in slim.histories),
        steps=sum(history.steps for history in slim.histories),
        batch=BATCH,
        seconds=time.perf_counter() - start,
    )
    (work("pruned_resnet20") / "thin.onnx").write_bytes(slim.spec.proto().SerializeToString())
    return slim


def cifar10_train() -> tuple[Array, Array]:
    """All 50,000 JPEG training images, bytes of shape (n, 32, 32, 3), and their labels."""
    images, names = [], []
    with tarfile.open(example("real_data").folder("cifar10_jpeg") / "train.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".jpg") else None
            if file is not None:
                images.append(np.asarray(Image.open(io.BytesIO(file.read()))))
                names.append(Path(member.name).parent.name)
    classes = sorted(set(names))
    return np.stack(images), np.asarray([classes.index(name) for name in names])


def moving(images: Array, labels: Array) -> Callable[[int], Iterator[tuple[Array, Array]]]:
    """Batches of an epoch: images in a new order, each moved by some pixels and perhaps mirrored."""
    normalised = example("real_data").normalised
    whole = np.pad(normalised(images), [(0, 0), (0, 0), (EDGE, EDGE), (EDGE, EDGE)])

    def epoch(number: int) -> Iterator[tuple[Array, Array]]:
        rng = np.random.default_rng(number)
        order = rng.permutation(len(images))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            yield moved(whole[rows], rng), labels[rows]

    return epoch


def moved(padded: Array, rng: np.random.Generator) -> Array:
    """Cut a window of the former size out of each image at random, and mirror half of them."""
    side = padded.shape[-1] - 2 * EDGE
    down, right = rng.integers(0, 2 * EDGE + 1, (2, len(padded), 1))
    columns = np.arange(side)[None]
    columns = np.where(rng.random((len(padded), 1)) < 0.5, columns, columns[:, ::-1])
    places = np.arange(len(padded))[:, None, None]
    found = padded[places, :, (down + np.arange(side))[:, :, None], (right + columns)[:, None, :]]
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2))


def accuracy(spec: intact.Spec, slim: Slim, builds: Builds, images: Array, labels: Array, results: Results) -> None:
    """Score the float and the integer models on all test images."""
    dense = builds.dense.reference
    truth = np.asarray(dense(images)).argmax(axis=1)
    models = {
        "float, dense": dense,
        "float, thin": builds.thin.reference,
        "W8A8, dense": builds.dense,
        "W8A8, thin": builds.thin,
    }
    for name, model in models.items():
        answers = np.asarray(model(images)).argmax(axis=1)
        results.add(
            "accuracy",
            model=name,
            accuracy=100 * (answers == labels).mean(),
            agreement=100 * (answers == truth).mean(),
            images=len(labels),
            **({"target": LEAST_ACCURACY} if name == "W8A8, thin" else {}),
        )
    for name, built in (("dense", builds.dense), ("thin", builds.thin)):
        results.add("size", model=f"W8A8, {name}", size_bytes=built.program.size_bytes, exact=built.plan.exact)


def latency(builds: Builds, rows: Array, plan: Plan, results: Results) -> None:
    """Race the two integer models on every engine that conforms."""
    feeds = {builds.dense.inputs[0].name: np.ascontiguousarray(rows)}
    case, options = f"batch {len(rows)}", engine.Options(threads=THREADS)
    chosen = {name: chosen_engine(built, len(rows)) for name, built in (("dense", builds.dense), ("thin", builds.thin))}
    sessions = {
        f"{name}, {key}": engine.load(built.program, built.vectors, engines=[key], options=options).session
        for name, built in (("dense", builds.dense), ("thin", builds.thin))
        for key in engine.find()
        if key != "reference"
    }
    times = race({key: clocked(lambda run=session.run: run(feeds)) for key, session in sessions.items()}, plan)
    for key in sessions:
        results.add(
            "latency", case=case, candidate=key, **times.summary(key), others=times.others, rounds=times.rounds_run
        )
    for key in sorted({name.split(", ")[1] for name in sessions}):
        results.add("ratio", case=case, engine=key, ours="thin", peer="dense", **_speedup(times, key, key))
    best = {name: key.split(":")[0] for name, key in chosen.items()}
    results.add(
        "ratio",
        case=case,
        engine=f"{best['thin']} over {best['dense']}, as chosen",
        ours="thin",
        peer="dense",
        **_speedup(times, best["thin"], best["dense"]),
        target=LEAST_SPEEDUP if len(rows) == 32 else None,
    )


def _speedup(times: Any, ours: str, peer: str) -> dict[str, float]:
    """How many times faster the thin model is, with a 95 % interval."""
    found = times.ratio(f"dense, {peer}", f"thin, {ours}")
    return {"speedup": found["ratio"], "low": found["low"], "high": found["high"]}


def zeros(dense: intact.Built, rows: Array, results: Results) -> None:
    """Time the dense integer model against itself with zeros among its weights."""
    feeds = {dense.inputs[0].name: np.ascontiguousarray(rows)}
    for key in ("onnxruntime", "openvino"):
        if key in engine.find():
            for shape, sparsity in SPARSE:
                gain = sparse_gain(dense.program, feeds, sparsity=sparsity, shape=shape, name=key, threads=THREADS)
                results.add(
                    "zeros",
                    case=f"batch {len(rows)}",
                    engine=gain.engine,
                    pattern=shape,
                    zeros=gain.zeros,
                    dense_ms=gain.dense_ms,
                    sparse_ms=gain.sparse_ms,
                    speedup=gain.ratio,
                    low=gain.low,
                    high=gain.high,
                    label=gain.label,
                )


if __name__ == "__main__":
    main()
