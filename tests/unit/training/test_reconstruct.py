"""Reconstruction brings each block nearer to the float block, on the grids that there are, and exports what it saw."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import intact
from intact import DataError, LayerRecipe, Override, Recipe, Spec, UsageError, engine
from intact.compress.solve import Solution
from intact.graph.run import Runner
from intact.pipeline.drafting import Draft, draft
from intact.pipeline.options import silent
from intact.training import Rebuilt, Reconstruction, Reconstructor, Training, finetune, reconstruct
from support.nets import Net, cnn, data, mlp
from support.random_nets import networks
from support.transformer import encoder, sentences

Feeds = Mapping[str, np.ndarray[Any, Any]]
X = {"x": data(1, 96, 3, 8, 8)}
SHORT = Reconstruction(steps=30)


def recipe(**settings: Any) -> Recipe:
    return Recipe(default=LayerRecipe(**settings))


def made_by(model: bytes, feeds: Feeds, **settings: Any) -> Draft:
    return draft(Spec(model=model, calibration=feeds), recipe(**settings), silent)


def error(made: Draft, feeds: Feeds) -> float:
    """The squared error of the integer program's output over the float output's square."""
    found = engine.find()["reference"].load(made.program, engine.Options(threads=1), "default").run(feeds)
    wanted = Runner(made.plan.graph)(feeds)
    lost = sum(float(np.square(found[name] - wanted[name]).sum()) for name in wanted)
    return lost / sum(float(np.square(value).sum()) for value in wanted.values())


def rebuilt(made: Draft, reconstruction: Reconstruction = SHORT) -> tuple[Draft, list[Rebuilt]]:
    told: list[Rebuilt] = []
    return reconstruct(made, reconstruction=reconstruction, progress=told.append), told


def same(one: Draft, other: Draft) -> bool:
    pairs = [(one.emission.solutions[name], other.emission.solutions[name]) for name in one.emission.solutions]
    return all(np.array_equal(a.codes.q, b.codes.q) and np.array_equal(a.bias, b.bias) for a, b in pairs)


@pytest.mark.parametrize(
    "settings",
    [
        {"weights": 3},
        {"weights": 4, "activation_bits": 4, "method": "gptq"},
        {"weights": 2, "method": "gptq", "bias_correction": True},
        {"weights": 4, "codes": "kmeans"},
        {"weights": 4, "sparsity": 0.5},
    ],
)
def test_no_block_gets_worse_and_what_is_exported_is_what_was_seen(settings: dict[str, Any]) -> None:
    made = made_by(cnn(), X, **settings)
    after, told = rebuilt(made, Reconstruction(steps=100))
    assert after.profile == "exact"
    assert [each.layers for each in told] == [("stem",), ("body",), ("head",)]
    assert [each.done for each in told] == [1, 2, 3] and all(each.total == 3 for each in told)
    assert all(each.after <= each.before for each in told)
    assert error(after, X) == pytest.approx(told[-1].after, rel=1e-5)
    assert after.encodings is made.encodings and after.source_sha256 == made.source_sha256


def test_it_beats_rounding_to_nearest_clearly() -> None:
    made = made_by(cnn(), X, weights=3)
    after, _ = rebuilt(made, Reconstruction(steps=300))
    assert error(after, X) < 0.6 * error(made, X)
    fresh = {"x": data(7, 96, 3, 8, 8)}
    assert error(after, fresh) < 0.8 * error(made, fresh)


@pytest.mark.parametrize("settings", [{"weights": 3, "group": 16}, {"weights": 2}, {"weights": 4, "codes": "powers"}])
def test_weights_stay_on_their_grids(settings: dict[str, Any]) -> None:
    feeds = {"x": data(2, 96, 32)}
    made = made_by(mlp(inputs=32, hidden=64), feeds, **settings)
    after, _ = rebuilt(made, Reconstruction(steps=100))
    assert not same(made, after)
    for name, solution in after.emission.solutions.items():
        before = made.emission.solutions[name]
        assert np.array_equal(before.codes.encoding.scale, solution.codes.encoding.scale)
        assert _on_grid(solution, before)


def _on_grid(solution: Solution, before: Solution) -> bool:
    grid = before.grid
    assert grid is not None and solution.grid is not None
    columns = solution.codes.q.shape[1]
    steps = np.repeat(grid.multipliers, grid.group, axis=1)[:, :columns]
    levels = solution.codes.q / steps
    return bool(np.isin(levels, grid.levels).all())


def test_pruned_weights_stay_zero() -> None:
    made = made_by(cnn(), X, weights=4, sparsity=0.5)
    after, _ = rebuilt(made, Reconstruction(steps=50))
    for name, solution in made.emission.solutions.items():
        assert (after.emission.solutions[name].codes.q[solution.codes.q == 0] == 0).all()


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_the_learned_rounding_is_near_the_best_of_all(seed: int) -> None:
    net = Net(seed, x=["n", 6])
    x = data(5 + seed, 256, 2) @ data(60 + seed, 2, 6) + np.float32(0.3) * data(5, 256, 6)
    made = made_by(net.bytes(net.gemm("x", net.normal(1, 6), net.normal(1), "only")), {"x": x}, weights=2)
    after, _ = rebuilt(made, Reconstruction(steps=300))
    best = best_of_all(made, x)
    assert best <= error(after, {"x": x}) * (1 + 1e-3)  # a bias in whole steps may be luckier than the mean
    assert error(after, {"x": x}) < 2.0 * best < 0.7 * error(made, {"x": x})


def best_of_all(made: Draft, x: np.ndarray[Any, Any]) -> float:
    """The least error that any levels of the one layer and any bias give, in numpy: nothing of what is tested."""
    solution, encoding = made.emission.solutions["only"], made.encodings["x"]
    grid, scale = solution.grid, encoding.scale * float(encoding.factor)
    assert grid is not None
    codes = np.clip(np.rint(x.astype(np.float64) / scale) + encoding.zero_point, 0, 255) - encoding.zero_point
    rows = np.array(list(itertools.product(grid.levels, repeat=6))) * grid.scale[0, 0]
    (wanted,) = Runner(made.plan.graph)({"x": x}).values()
    lost = codes * encoding.scale @ rows.T - wanted
    return float(np.square(lost - lost.mean(axis=0)).sum(axis=0).min() / np.square(wanted).sum())


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    made = made_by(cnn(), X, weights=3)
    settings = Reconstruction(steps=40)
    first, second = rebuilt(made, settings)[0], rebuilt(made, settings)[0]
    assert same(first, second) and first.program.model == second.program.model
    assert not same(first, rebuilt(made, replace(settings, seed=1))[0])


@settings(max_examples=15, deadline=None)
@given(model=networks(), seed=st.integers(0, 10**6), bits=st.sampled_from([(8, 8), (4, 4), (2, 6)]))
def test_random_nets_export_what_was_seen(model: bytes, seed: int, bits: tuple[int, int]) -> None:
    shape = [dim.dim_value or 8 for dim in Spec(model=model).proto().graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": data(seed, *shape)}
    made = made_by(model, feeds, weights=bits[0], activation_bits=bits[1])
    if not made.plan.exact or not made.plan.layers:
        return
    after, told = rebuilt(made, Reconstruction(steps=3))
    assert all(each.after <= each.before for each in told)
    last = {name for port in made.plan.graph.outputs for name in [port.name]}
    if last <= set(made.plan.layers[-1].outputs):  # else the last block ends before the outputs
        assert error(after, feeds) == pytest.approx(told[-1].after, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("settings", [{}, {"activations": "dynamic"}, {"activations": "none"}])
def test_a_transformer_is_reconstructed_too(settings: dict[str, Any]) -> None:
    _, model = encoder()
    feeds = sentences(16)
    made = made_by(model, feeds, weights=3, **settings)
    after, told = rebuilt(made, Reconstruction(steps=60))
    assert all(each.after <= each.before for each in told)
    assert error(after, feeds) < error(made, feeds)


def test_a_build_takes_the_draft() -> None:
    spec = Spec(model=cnn(), calibration=X)
    made = reconstruct(spec, recipe(weights=4), reconstruction=SHORT)
    built = intact.build(spec, drafted=made, max_drop=1.0)
    assert built.plan is made.plan and built.program == made.program


def test_layers_left_in_float_stay_as_they_are() -> None:
    some = Recipe(default=LayerRecipe(weights=3), overrides=(Override(pattern="body", settings={"weights": "float"}),))
    made = draft(Spec(model=cnn(), calibration=X), some, silent)
    after, told = rebuilt(made)
    assert [name for each in told for name in each.layers] == ["stem", "head"]
    assert error(after, X) <= error(made, X) * 1.05


def test_time_is_kept_and_what_is_left_keeps_its_integers() -> None:
    told: list[Rebuilt] = []
    settings = Reconstruction(steps=10**6, minutes=0.03)
    reconstruct(made_by(cnn(), X, weights=3), reconstruction=settings, progress=told.append)
    assert told[-1].seconds < 10.0
    retold = Reconstructor(reconstruction=Reconstruction(steps=20))(Spec(model=cnn(), calibration=X), recipe(), np.inf)
    assert retold.plan.recipe == recipe()
    with pytest.raises(UsageError, match="seconds are left"):
        Reconstructor()(Spec(model=cnn(), calibration=X), recipe(), 0.2)


def test_an_all_zero_layer_and_constant_activations() -> None:
    net = Net(x=["n", 4, 6, 6])
    dead = net.op("Relu", net.conv("x", np.zeros((4, 4, 1, 1), np.float32), np.ones(4, np.float32), "dead"))
    live = net.op("Relu", net.conv(dead, net.normal(4, 4, 1, 1), net.normal(4), "live"))
    feeds = {"x": data(0, 32, 4, 6, 6)}
    made = made_by(net.bytes(live), feeds, weights=4, activation_bits=4)
    after, told = rebuilt(made)
    assert all(np.isfinite(each.after) and each.after <= each.before for each in told)
    assert error(after, feeds) <= error(made, feeds) + 1e-12


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"minutes": 0.0}, "minutes is 0"),
        ({"minutes": float("nan")}, "minutes is nan"),
        ({"rate": 0.0}, "rate is 0"),
        ({"rate": float("inf")}, "rate is inf"),
    ],
)
def test_settings_out_of_range_are_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Reconstruction(**given)


def test_what_cannot_be_reconstructed_is_told() -> None:
    spec = Spec(model=cnn(), calibration=X)
    with pytest.raises(UsageError, match="every layer in float"):
        reconstruct(spec, recipe(weights="float"))
    with pytest.raises(UsageError, match="calibration data"):
        reconstruct(Spec(model=cnn()), recipe())
    with pytest.raises(UsageError, match="reconstruction needs calibration data"):
        reconstruct(Spec(model=cnn()), recipe(activations="none"))
    with pytest.raises(UsageError, match="has a recipe already"):
        reconstruct(made_by(cnn(), X), recipe())
    with pytest.raises(DataError, match="NaN"):
        reconstruct(replace(spec, calibration={"x": np.full_like(X["x"], np.nan)}), recipe())
    trained = finetune(spec, recipe(weights=4), [X], training=Training(steps=1, labels=0.0))
    with pytest.raises(UsageError, match="was trained"):
        reconstruct(trained)
