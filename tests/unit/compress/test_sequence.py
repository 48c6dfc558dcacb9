"""Layers solved one after the other, each on what the integers before it give."""

from __future__ import annotations

import numpy as np
import pytest

from intact.compress.recipe import LayerRecipe, Recipe
from intact.errors import UsageError
from support.nets import Net, data
from support.stages import compress, sqnr_db

SIDE = 8
X = data(1, 64, 3, SIDE, SIDE)


def net(first: int = 16, seed: int = 0) -> bytes:
    made = Net(seed, x=["n", 3, SIDE, SIDE])
    value = made.op("Relu", made.conv("x", made.normal(first, 3, 3, 3, scale=0.3), made.normal(first), "first"))
    weight = made.normal(16, first, 3, 3, scale=0.1)
    value = made.op("Relu", made.conv(value, weight, made.normal(16), "second", pads=[1, 1, 1, 1]))
    return bytes(made.bytes(made.conv(value, made.normal(4, 16, 1, 1, scale=0.2), made.normal(4), "third")))


def quality(recipe: LayerRecipe) -> float:
    made = compress(net(), {"x": X}, Recipe(default=recipe))
    held_out = {"x": data(2, 64, 3, SIDE, SIDE)}
    (before,), (after,) = made.float_run(held_out).values(), made.run("reference", held_out).values()
    return sqnr_db(before, after)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_looking_at_inputs_beats_rounding_to_nearest(bits: int) -> None:
    nearest = quality(LayerRecipe(weights=bits))
    assert quality(LayerRecipe(weights=bits, method="gptq")) > nearest + 2
    assert quality(LayerRecipe(weights=bits, method="gptq", bias_correction=True)) > nearest + 2


def test_bias_correction_takes_the_mean_error_out() -> None:
    recipe = LayerRecipe(weights=2)
    plain = compress(net(), {"x": X}, Recipe(default=recipe))
    fair = compress(net(), {"x": X}, Recipe(default=LayerRecipe(weights=2, bias_correction=True)))

    def offset(made: object) -> float:
        (before,), (after,) = made.float_run({"x": X}).values(), made.run("reference", {"x": X}).values()
        return float(np.abs((after - before).mean(axis=(0, 2, 3))).max())

    assert offset(fair) < 0.2 * offset(plain)


def test_the_same_inputs_give_the_same_bytes() -> None:
    recipe = Recipe(default=LayerRecipe(weights=4, method="descent", activation_bits=4, bias_correction=True))
    first, second = (compress(net(), {"x": X}, recipe).program for _ in range(2))
    assert first.model == second.model
    assert all(first.tensors[name].tobytes() == second.tensors[name].tobytes() for name in first.tensors)


def test_solutions_know_their_output_error_only_where_inputs_were_looked_at() -> None:
    for method, known in (("nearest", False), ("gptq", True)):
        recipe = Recipe(default=LayerRecipe(weights=4, method=method))
        found = compress(net(), {"x": X}, recipe).emission.solutions.values()
        assert all((solution.output_error is not None) == known for solution in found)


def test_a_group_that_does_not_divide_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="'first' has 27 input columns, not a multiple of group 32") as refused:
        compress(net(), {"x": X}, Recipe(default=LayerRecipe(weights=4, group=32)))
    assert "27" in str(refused.value.hint)


def test_sparse_and_narrow_together() -> None:
    recipe = LayerRecipe(weights=4, sparsity=0.5, pruning="obs", method="gptq")
    made = compress(net(), {"x": X}, Recipe(default=recipe))
    for solution in made.emission.solutions.values():
        assert (solution.codes.q == 0).mean() >= 0.5


@pytest.mark.parametrize("name", ["constant", "zero", "outliers"])
def test_calibration_data_that_say_little_do_no_harm(name: str) -> None:
    feeds = {"constant": np.full_like(X, 0.5), "zero": np.zeros_like(X), "outliers": X.copy()}[name]
    if name == "outliers":
        feeds[0, 0, 0, 0] = 1e6
    recipe = LayerRecipe(weights=4, method="gptq", bias_correction=True)
    made = compress(net(), {"x": feeds}, Recipe(default=recipe))
    assert np.isfinite(next(iter(made.run("reference", {"x": X}).values()))).all()
