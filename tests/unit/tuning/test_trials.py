"""Trials against what they stand for: errors of single layers add up to the error of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import intact
from intact.compress.recipe import Recipe
from intact.pipeline.drafting import draft
from intact.pipeline.options import silent
from intact.tuning.choices import Choice, apply
from intact.tuning.clock import structure
from intact.tuning.material import digest, hold_out, load, material_of, save
from intact.tuning.trials import Compress, Probe, Refine, key_of, rounded, some_pieces
from support.nets import Net, cnn, data, mlp
from support.transformer import encoder, sentences


def projections() -> bytes:
    """Two matrix products with a bias each: x (n, 5, 8) to (n, 5, 6)."""
    net = Net(3, x=["n", 5, 8])
    first = net.op("MatMul", "x", net.constant(net.normal(8, 12, scale=0.4), "first.weight"))
    inner = net.op("Relu", net.op("Add", first, net.constant(net.normal(12, scale=0.1), "first.bias")))
    return net.bytes(net.op("MatMul", inner, net.constant(net.normal(12, 6, scale=0.4), "last.weight")))


MODELS = {
    "dense": (mlp(), data(1, 64, 8)),
    "conv": (cnn(), data(1, 64, 3, 8, 8)),
    "matmul": (projections(), data(1, 64, 5, 8)),
    "encoder": (encoder(outlier=8.0)[1], sentences(64)),
}


def material(name: str) -> Any:
    model, calibration = MODELS[name]
    return material_of(intact.Spec(model=model, calibration=calibration), Recipe())


def all_at(name: str, bits: int) -> Recipe:
    made = draft(material(name).spec, Recipe(), silent)
    return apply(Recipe(), {step.layer: Choice(bits=bits) for step in made.plan.layers})


@pytest.mark.parametrize("name", MODELS)
def test_errors_of_single_layers_add_up_to_the_error_of_all(name: str) -> None:
    own, recipe = material(name), all_at(name, 4)
    single = Probe(recipe=recipe).run(own).facts["layers"]
    none = Compress(recipe=all_at(name, 8)).run(own).facts["error"]
    whole = Compress(recipe=recipe).run(own).facts["error"]
    assert all(error > 0 for error in single.values())
    assert 0.4 * whole < sum(single.values()) + none < 2.5 * whole


@pytest.mark.parametrize("name", MODELS)
def test_narrower_weights_err_more_and_wide_ones_hardly(name: str) -> None:
    own = material(name)
    narrow, wide = (Probe(recipe=all_at(name, bits)).run(own).facts["layers"] for bits in (3, 8))
    assert all(wide[layer] < narrow[layer] / 10 for layer in narrow)


@pytest.mark.parametrize("name", MODELS)
def test_rounded_weights_have_the_layout_of_the_float_ones(name: str) -> None:
    made = draft(material(name).spec, all_at(name, 8), silent)
    found = rounded(made)
    assert set(found) == {step.layer for step in made.plan.layers}
    for constant, value in found.values():
        own = made.plan.graph.constants[constant]
        assert value.shape == own.shape
        assert np.abs(value - own).max() < 0.05 * np.abs(own).max()


def test_moving_one_layer_is_measured_from_where_the_others_are() -> None:
    own = material("dense")
    here, there = (apply(Recipe(), {"first": Choice(bits=a), "last": Choice(bits=b)}) for a, b in ((4, 4), (3, 8)))
    facts = Refine(recipe=here, moved=there).run(own).facts
    assert facts["layers"]["first"] > facts["base"] > facts["layers"]["last"] > 0
    still = Refine(recipe=here, moved=here).run(own).facts
    assert still["layers"] == pytest.approx({"first": still["base"], "last": still["base"]})


def test_keys_tell_trials_apart() -> None:
    four, three = all_at("dense", 4), all_at("dense", 3)
    trials = [Probe(recipe=four), Probe(recipe=three), Compress(recipe=four), Refine(recipe=four, moved=three)]
    keys = [key_of(trial) for trial in trials] + [key_of(trials[2], "other scores")]
    assert len(set(keys)) == 5
    assert key_of(Probe(recipe=all_at("dense", 4))) == keys[0]


def test_a_graph_that_differs_in_numbers_alone_has_the_same_structure() -> None:
    own = material("conv").spec
    narrow, wide = (draft(own, all_at("conv", bits), silent).program for bits in (4, 8))
    left = draft(own, apply(Recipe(), {"body": Choice(bits=32)}), silent).program
    assert structure(narrow) == structure(wide) != structure(left)


def test_material_comes_back_from_its_files(tmp_path: Any) -> None:
    pieces = [{"x": data(number, 3 + number, 8)} for number in range(12)]
    own = material_of(intact.Spec(model=mlp(), calibration=pieces, name="m"), Recipe())
    save(own, tmp_path)
    again = load(tmp_path, "m", Recipe())
    assert again.model == own.model
    assert digest(again.pieces) == digest(own.pieces) == digest(tuple(pieces))
    assert digest(own.pieces[:-1]) != digest(own.pieces)


def test_held_out_rows_are_not_those_of_the_calibration() -> None:
    x = np.arange(120 * 8, dtype=np.float32).reshape(120, 8)
    kept, held = hold_out(material_of(intact.Spec(model=mlp(), calibration=x), Recipe()))
    assert (len(kept.pieces[0]["x"]), len(held[0]["x"])) == (80, 40)
    np.testing.assert_array_equal(np.concatenate([kept.pieces[0]["x"], held[0]["x"]]), x)
    pieces = [x[start : start + 12] for start in range(0, 120, 12)]
    kept, held = hold_out(material_of(intact.Spec(model=mlp(), calibration=pieces), Recipe()))
    assert (len(kept.pieces), len(held)) == (7, 3)


def test_few_rows_are_taken_from_the_front() -> None:
    pieces = [{"x": np.zeros((10, 2))}, {"x": np.zeros((10, 2))}]
    assert [len(piece["x"]) for piece in some_pieces(pieces, 14)] == [10, 4]
    assert [len(piece["x"]) for piece in some_pieces(pieces, 99)] == [10, 10]
