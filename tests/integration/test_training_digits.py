"""Four bits for weights and activations on real digits: training wins back what rounding loses, and stays integer."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from intact import LayerRecipe, Override, Recipe, engine
from intact.cli.digits import DigitsSpec, digits_spec
from intact.pipeline.drafting import Draft, draft
from intact.pipeline.options import silent
from intact.training import Training, export, prepare, train, trained_draft

Array = NDArray[Any]

STEPS = 150


@dataclass(frozen=True, kw_only=True)
class Digits:
    """The digits, a draft by rounding alone, and what counts as right."""

    spec: DigitsSpec
    plain: Draft
    images: Array
    labels: Array

    def accuracy(self, run: Callable[[Array], Array]) -> float:
        """Share of the test images that are told right."""
        return float(np.mean(self.spec.evaluate(run)))  # type: ignore[misc]

    def integers(self, made: Draft) -> Callable[[Array], Array]:
        """The integer program of a draft as a function."""
        session = engine.find()["onnxruntime"].load(made.program, engine.Options(threads=1), "default")
        name = made.plan.graph.inputs[0].name
        return lambda x: next(iter(session.run({name: x}).values()))

    def batches(self, epoch: int) -> Iterator[tuple[Array, Array]]:
        """All training images in an order of the epoch's own."""
        order = np.random.default_rng(epoch).permutation(len(self.images))
        for part in np.array_split(order, len(order) // 64):
            yield self.images[part], self.labels[part]


@pytest.fixture(scope="module")
def digits() -> Digits:
    from sklearn.datasets import load_digits

    spec = digits_spec()
    bunch = load_digits()
    some = np.random.default_rng(0).permutation(len(bunch.images))[:1198]  # the two thirds that digits_spec trains on
    return Digits(
        spec=spec,
        plain=narrow(spec, 4),
        images=(bunch.images[some, None] / 16.0).astype(np.float32),
        labels=bunch.target[some],
    )


def narrow(spec: DigitsSpec, bits: int) -> Draft:
    """Weights and activations in so many bits, the first layer in 8, rounded to nearest."""
    first = draft(spec, Recipe(), silent).plan.layers[0].layer
    wide = Override(pattern=first, settings={"weights": 8, "activation_bits": 8})
    return draft(spec, Recipe(default=LayerRecipe(weights=bits, activation_bits=bits), overrides=(wide,)), silent)


def test_four_bits_after_distillation_are_nearer_to_the_float_model_than_rounded(digits: Digits) -> None:
    prepared = prepare(digits.plain)
    train(prepared, digits.batches, training=Training(steps=STEPS, rate=2e-3, labels=0.0, loss="mse"))
    made = trained_draft(prepared)
    wanted = _float(digits)(digits.spec.test)
    before, after = (digits.integers(each)(digits.spec.test) - wanted for each in (digits.plain, made))
    assert np.square(after).mean() < 0.5 * np.square(before).mean()
    assert digits.accuracy(digits.integers(made)) >= digits.accuracy(digits.integers(digits.plain))
    assert digits.accuracy(digits.integers(made)) >= digits.accuracy(_float(digits)) - 0.01
    _equal_to_the_bit(prepared, made, digits)


def test_two_bits_are_lost_by_rounding_and_won_back_by_training(digits: Digits) -> None:
    plain = narrow(digits.spec, 2)
    prepared = prepare(plain)
    train(prepared, digits.batches, training=Training(steps=STEPS, rate=2e-3))
    made = trained_draft(prepared)
    before, after = (digits.accuracy(digits.integers(each)) for each in (plain, made))
    assert after >= before + 0.1 and after >= digits.accuracy(_float(digits)) - 0.06, (before, after)
    _equal_to_the_bit(prepared, made, digits)


def _float(digits: Digits) -> Callable[[Array], Array]:
    def run(x: Array) -> Array:
        with torch.no_grad():
            return np.asarray(digits.spec.model(torch.from_numpy(x)).numpy())

    return run


def _equal_to_the_bit(prepared: Any, made: Draft, digits: Digits) -> None:
    images = digits.spec.test
    with torch.no_grad():
        fake = prepared(images).numpy()
    assert np.array_equal(fake, digits.integers(made)(images))
    name = made.plan.graph.inputs[0].name
    reference = engine.find()["reference"].load(made.program, engine.Options(threads=1), "default")
    (exact,) = reference.run({name: images[:64]}).values()
    assert np.array_equal(fake[:64], exact)


def test_a_loop_of_ones_own(digits: Digits) -> None:
    """What docs/how-to/train-quantized.md shows."""
    prepared = prepare(digits.plain)
    optimizer = torch.optim.SGD(prepared.weights(), lr=0.02, momentum=0.9)
    losses = []
    for epoch in range(2):
        for x, y in digits.batches(epoch):
            loss = torch.nn.functional.cross_entropy(prepared(x), torch.from_numpy(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert np.mean(losses[-10:]) < np.mean(losses[:5])
    exported = export(prepared)
    assert set(exported.solutions) == {step.layer for step in digits.plain.plan.layers}
    _equal_to_the_bit(prepared, trained_draft(prepared), digits)


def test_a_trained_draft_passes_the_self_test_of_every_engine(digits: Digits) -> None:
    prepared = prepare(digits.plain)
    train(prepared, digits.batches, training=Training(steps=20))
    made = trained_draft(prepared)
    vectors = engine.make_vectors(made.program, made.profile, 0, ranges=made.ranges())
    loaded = engine.load(made.program, vectors, engines=["onnxruntime"], options=engine.Options(threads=1))
    assert made.profile == "exact" and loaded.session.engine == "onnxruntime"


def test_the_page_on_training_does_what_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/train-quantized.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^```python file=(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    for name, text in shown.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    everything = "import finetune, settings, own_loop\n" + "".join(
        f"assert {name}.trained.profile == 'exact'\n" for name in ("finetune", "settings", "own_loop")
    )
    done = subprocess.run([sys.executable, "-c", everything], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
