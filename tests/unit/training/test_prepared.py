"""A prepared model computes what its integer graph computes, before training and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intact import DataError, LayerRecipe, ModelError, Override, Recipe, Spec, UsageError, engine
from intact.compress.emit import emit
from intact.compress.sequence import layer_of
from intact.graph.run import Runner
from intact.pipeline.drafting import Draft, draft
from intact.pipeline.options import silent
from intact.training import Prepared, export, prepare, trained_draft
from support.nets import Net, cnn, data, mlp
from support.random_nets import networks
from support.transformer import encoder, sentences

Feeds = Mapping[str, np.ndarray[Any, Any]]
X = {"x": data(1, 24, 3, 8, 8)}
X_FLAT = {"x": data(1, 64, 12)}


def recipe(**settings: Any) -> Recipe:
    return Recipe(default=LayerRecipe(**settings))


def integer_outputs(made: Draft, feeds: Feeds) -> dict[str, np.ndarray[Any, Any]]:
    return engine.find()["reference"].load(made.program, engine.Options(threads=1), "default").run(feeds)


def fake_outputs(prepared: Prepared, feeds: Feeds) -> dict[str, np.ndarray[Any, Any]]:
    with torch.no_grad():
        found = prepared(feeds)
    name = prepared.draft.plan.graph.outputs[0].name
    return {key: value.numpy() for key, value in (found if isinstance(found, dict) else {name: found}).items()}


def shake(prepared: Prepared, feeds: Feeds, steps: int = 3, rate: float = 0.02) -> None:
    """Train towards nothing in particular, so that every parameter moves."""
    optimizer = torch.optim.Adam(prepared.parameters(), lr=rate)
    for _ in range(steps):
        found = prepared(feeds)
        outputs = found.values() if isinstance(found, dict) else [found]
        loss = sum((each - 1.0).square().mean() for each in outputs)
        if loss.requires_grad:  # a random net may end before its first layer
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def equal(prepared: Prepared, feeds: Feeds) -> Draft:
    made = trained_draft(prepared)
    wanted, found = integer_outputs(made, feeds), fake_outputs(prepared, feeds)
    assert set(wanted) == set(found)
    for name, value in wanted.items():
        assert np.array_equal(found[name], value)
    return made


SETTINGS = [
    {},
    {"weights": 4},
    {"weights": 4, "activation_bits": 4},
    {"weights": 2, "activation_bits": 2},
    {"weights": 3, "activation_bits": 5, "sparsity": 0.5},
]


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_fake_and_integer_outputs_are_equal_to_the_bit(settings: dict[str, Any], learn: bool) -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(**settings), learn_activation_scales=learn)
    assert equal(prepared, X).profile == "exact"
    shake(prepared, X)
    equal(prepared, X)


@pytest.mark.parametrize("codes", ["kmeans", "powers"])
def test_other_codes_are_trained_too(codes: str) -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=4, codes=codes))
    equal(prepared, X)
    shake(prepared, X)
    equal(prepared, X)


def test_groups_are_equal_to_the_bit() -> None:
    feeds = {"x": data(2, 64, 32)}
    spec = Spec(model=mlp(inputs=32, hidden=64), calibration=feeds)
    prepared = prepare(spec, recipe(weights=4, group=16, activation_bits=5))
    equal(prepared, feeds)
    shake(prepared, feeds)
    equal(prepared, feeds)


@settings(max_examples=25, deadline=None)
@given(model=networks(), seed=st.integers(0, 10**6), bits=st.sampled_from([(8, 8), (4, 4), (3, 6)]))
def test_random_nets_are_equal_to_the_bit(model: bytes, seed: int, bits: tuple[int, int]) -> None:
    spec = Spec(model=model)
    shape = [8 if isinstance(size, str) else size for size in spec.proto().graph.input[0].type.tensor_type.shape.dim]
    sizes = [dim.dim_value or 8 for dim in shape]
    feeds = {"x": data(seed, *sizes)}
    made = draft(replace(spec, calibration=feeds), recipe(weights=bits[0], activation_bits=bits[1]), silent)
    if not made.plan.exact or not made.plan.layers:
        return
    prepared = prepare(made)
    equal(prepared, feeds)
    shake(prepared, feeds, steps=2)
    equal(prepared, feeds)


ENCODER = [
    {},
    {"weights": 4, "activation_bits": 6},
    {"weights": 4, "activations": "dynamic"},
    {"weights": 4, "activations": "none"},
]


@pytest.mark.parametrize("settings", ENCODER)
def test_a_transformer_is_equal_up_to_float_noise(settings: dict[str, Any]) -> None:
    _, model = encoder()
    feeds = sentences(8)
    prepared = prepare(Spec(model=model, calibration=feeds), recipe(**settings))
    for _ in range(2):
        made = trained_draft(prepared)
        for name, value in integer_outputs(made, feeds).items():
            apart = np.abs(fake_outputs(prepared, feeds)[name] - value).max(axis=1)
            assert np.median(apart) < 1e-6
            assert (apart > 1e-5).sum() <= 1  # float noise may turn a code at a tie
            assert apart.max() < 0.01
        shake(prepared, feeds, rate=1e-3)


def test_what_is_exported_is_what_emit_writes_and_nothing_is_rounded_again() -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=4, activation_bits=4))
    shake(prepared, X)
    exported = export(prepared)
    plan = prepared.draft.plan
    emission = emit(replace(plan, graph=exported.graph), exported.encodings, exported.solutions)
    made = trained_draft(prepared)
    assert made.program.model == emission.graph.to_proto().SerializeToString(deterministic=True) or all(
        np.array_equal(made.emission.graph.constants[name], value) for name, value in emission.graph.constants.items()
    )
    for name, value in exported.graph.constants.items():
        trained = dict(prepared.net.trained)
        assert name not in trained or np.array_equal(trained[name].detach().numpy(), value)
    for solution in exported.solutions.values():
        assert np.abs(solution.codes.q.astype(int)).max() <= 127


def test_before_training_the_integers_mean_the_float_weights() -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=8))
    exported = export(prepared)
    for step in prepared.draft.plan.layers:
        solution = exported.solutions[step.layer]
        weights = layer_of(prepared.draft.plan, exported.encodings, step).weights
        values = solution.codes.q * solution.codes.encoding.scale.astype(np.float64)[:, None]
        assert np.abs(values - weights).max() <= solution.codes.encoding.scale.max() * 1.01
        assert solution.error < 1e-3


def test_the_draft_keeps_the_float_model_that_it_is_compared_with() -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=4))
    shake(prepared, X, rate=0.1)
    made = trained_draft(prepared)
    (before,) = Runner(prepared.draft.plan.graph)(X).values()
    (after,) = Runner(made.plan.graph)(X).values()
    assert np.array_equal(before, after) and made.source_sha256 == prepared.draft.source_sha256


def test_pruned_weights_stay_zero() -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=8, sparsity=0.5))
    before = {name: each.codes.q == 0 for name, each in prepared.draft.emission.solutions.items()}
    shake(prepared, X, steps=5)
    for name, solution in export(prepared).solutions.items():
        assert (solution.codes.q[before[name]] == 0).all()
        assert before[name].mean() >= 0.45


def test_the_parameters_are_told_apart() -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=4), learn_activation_scales=True)
    scales, weights = prepared.scales(), prepared.weights()
    assert len(scales) > len(prepared.layers)
    assert {id(each) for each in scales} | {id(each) for each in weights} == {id(e) for e in prepared.parameters()}
    assert not {id(each) for each in scales} & {id(each) for each in weights}
    assert not prepare(Spec(model=cnn(), calibration=X), recipe(weights=4), learn_scales=False).scales()


def test_every_parameter_has_a_gradient() -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=4, activation_bits=4))
    prepared(X).square().sum().backward()
    for name, parameter in prepared.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_inputs_by_place_by_name_and_as_arrays() -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=4))
    with torch.no_grad():
        first = prepared(torch.from_numpy(X["x"]))
        assert torch.equal(first, prepared(X)) and torch.equal(first, prepared(x=X["x"]))
    with pytest.raises(DataError, match="the model takes the inputs"):
        prepared(y=X["x"])
    with pytest.raises(DataError, match="the model takes the inputs"):
        prepared(X["x"], X["x"])


def test_an_all_zero_layer_and_constant_activations() -> None:
    net = Net(x=["n", 4, 6, 6])
    dead = net.op("Relu", net.conv("x", np.zeros((4, 4, 1, 1), np.float32), np.ones(4, np.float32), "dead"))
    live = net.op("Relu", net.conv(dead, net.normal(4, 4, 1, 1), net.normal(4), "live"))
    feeds = {"x": data(0, 8, 4, 6, 6)}
    prepared = prepare(Spec(model=net.bytes(live), calibration=feeds), recipe(weights=4, activation_bits=4))
    equal(prepared, feeds)
    shake(prepared, feeds)
    assert all(torch.isfinite(each).all() for each in prepared.parameters())
    equal(prepared, feeds)


def test_sums_that_would_not_fit_make_a_row_coarser_in_both_worlds() -> None:
    feeds = {"x": np.abs(data(0, 16, 1200))}
    model = mlp(inputs=1200, hidden=4, outputs=2)
    prepared = prepare(Spec(model=model, calibration=feeds), recipe(weights=8))
    with torch.no_grad():  # all weights at the end of their codes: sums of 1200 * 127 * 255
        weight = prepared.net.trained["first.weight"]
        weight.copy_(weight.abs().amax(1, keepdim=True).expand_as(weight))
    before, _ = prepared.layers[0].product.units()
    equal(prepared, feeds)
    after, _ = prepared.layers[0].product.units()
    assert (after >= 2 * before).all()


def test_weights_that_became_nan_are_told() -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=4))
    with torch.no_grad():
        prepared.net.trained["body.weight"][0] = float("nan")
    with pytest.raises(DataError, match="'body' became NaN"):
        export(prepared)


def test_a_bias_out_of_reach_is_told() -> None:
    prepared = prepare(Spec(model=cnn(), calibration=X), recipe(weights=4))
    with torch.no_grad():
        prepared.net.trained["body.bias"][0] = 1e30
    with pytest.raises(ModelError, match="'body' has a bias"):
        export(prepared)


def test_nothing_to_train_is_told() -> None:
    with pytest.raises(UsageError, match="nothing to train"):
        prepare(Spec(model=cnn(), calibration=X), Recipe(default=LayerRecipe(weights="float")))


def test_a_draft_brings_its_recipe() -> None:
    made = draft(Spec(model=cnn(), calibration=X), recipe(weights=4), silent)
    with pytest.raises(UsageError, match="has a recipe already"):
        prepare(made, recipe(weights=3))
    assert prepare(made).draft is made


def test_layers_left_in_float_train_as_they_are() -> None:
    some = Recipe(default=LayerRecipe(weights=4), overrides=(Override(pattern="head", settings={"weights": "float"}),))
    prepared = prepare(Spec(model=cnn(), calibration=X), some)
    before = prepared.net.constant("head.weight").detach().clone()
    shake(prepared, X)
    made = trained_draft(prepared)
    assert not torch.equal(before, prepared.net.constant("head.weight"))
    (wanted,), (found,) = integer_outputs(made, X).values(), fake_outputs(prepared, X).values()
    assert np.allclose(wanted, found, atol=1e-5)


@pytest.mark.parametrize("function", ["Sigmoid", "Tanh", "Erf", "Exp", "Softplus"])
def test_functions_of_tables_give_the_tables_values_to_the_bit(function: str) -> None:
    net = Net(0, x=["n", 12])
    inner = net.op(function, net.gemm("x", data(3, 40, 12, scale=0.5), name="first"))
    graph = net.bytes(net.gemm(inner, data(4, 6, 40), name="last"))
    feeds = {"x": data(1, 4096, 12)}
    prepared = prepare(Spec(model=graph, calibration=feeds), recipe(), learn_activation_scales=False)
    assert [step.operator for step in prepared.draft.plan.steps].count("lookup") == 1
    equal(prepared, feeds)
    shake(prepared, feeds)
    equal(prepared, feeds)
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in prepared.weights())


def test_the_table_counts_where_torch_would_compute_another_value() -> None:
    net = Net(0, x=["n", 12])
    graph = net.bytes(net.op("Tanh", net.gemm("x", data(3, 12, 12, scale=0.5), name="first")))
    made = draft(Spec(model=graph, calibration=X_FLAT), recipe(), silent)
    (name,) = [name for name in made.emission.graph.constants if name.endswith("_table")]
    before = fake_outputs(Prepared(made, learn_scales=True, learn_activation_scales=False), X_FLAT)
    table = made.emission.graph.constants[name]
    table[:] = table[::-1].copy()
    after = fake_outputs(Prepared(made, learn_scales=True, learn_activation_scales=False), X_FLAT)
    ((_, first),) = before.items()
    ((_, second),) = after.items()
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < -0.5  # a falling function now
