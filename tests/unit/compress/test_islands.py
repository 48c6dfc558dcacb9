"""Transformers: integer matrix products between float islands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from intact import engine
from intact.compress.recipe import LayerRecipe, Override, Recipe
from intact.graph.run import Runner
from support.stages import Compressed, compress, cosine
from support.transformer import Encoder, encoder, sentences

RECIPES = {
    "static": Recipe(),
    "static without smoothing": Recipe(smoothing=0.0),
    "static, fixed smoothing": Recipe(smoothing=0.5),
    "static, minmax": Recipe(smoothing=0.0, default=LayerRecipe(observer="minmax")),
    "dynamic": Recipe(default=LayerRecipe(activations="dynamic")),
    "weights only": Recipe(default=LayerRecipe(activations="none")),
    "float embeddings": Recipe(embeddings="float"),
    "mixed": Recipe(
        overrides=(
            Override(pattern="blocks.1*", settings={"activations": "dynamic"}),
            Override(pattern="head", settings={"weights": "float"}),
        )
    ),
}
ENGINES = [name for name in ("onnxruntime", "openvino") if engine.find()[name].why_unavailable() is None]
LOUD = np.int64(7)


@pytest.fixture(scope="module")
def captured() -> tuple[Encoder, bytes]:
    return encoder(outlier=8.0)


@pytest.fixture(scope="module")
def made(captured: tuple[Encoder, bytes]) -> dict[str, Compressed]:
    return {name: compress(captured[1], sentences(), recipe) for name, recipe in RECIPES.items()}


def run(made: Compressed, feeds: dict[str, np.ndarray], name: str = "onnxruntime") -> np.ndarray:
    return made.run(name, feeds)[made.graph.outputs[0].name]


def test_normalising_leaves_the_function_as_torch_has_it(
    captured: tuple[Encoder, bytes], made: dict[str, Compressed]
) -> None:
    feeds = sentences(5, 13, seed=3)
    with torch.no_grad():
        wanted = captured[0](*(torch.from_numpy(value) for value in feeds.values())).numpy()
    graph = made["static"].graph
    np.testing.assert_allclose(Runner(graph)(feeds)[graph.outputs[0].name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_stays_close_to_float(name: str, made: dict[str, Compressed]) -> None:
    one = made[name]
    assert one.plan.layout == "islands"
    assert not one.plan.exact
    feeds = sentences(24, seed=5)
    wanted = one.float_run(feeds)[one.graph.outputs[0].name]
    for each in ENGINES:
        assert cosine(wanted, run(one, feeds, each)) > 0.99
        engine.self_test(engine.find()[each].load(one.program, engine.Options(threads=1), "default"), one.vectors)


@pytest.mark.parametrize("name", ["static", "dynamic", "weights only"])
@pytest.mark.parametrize("each", ENGINES)
def test_a_row_alone_is_the_row_in_a_batch(name: str, each: str, made: dict[str, Compressed]) -> None:
    """With an outlier beside it: one scale a batch would show here."""
    feeds = sentences(6, seed=9)
    feeds["ids"][5] = LOUD
    together = run(made[name], feeds, each)
    for row in range(6):
        alone = run(made[name], {key: value[row : row + 1] for key, value in feeds.items()}, each)
        np.testing.assert_allclose(together[row : row + 1], alone, rtol=0, atol=1e-5)


def test_queries_keys_and_values_are_one_product(made: dict[str, Compressed]) -> None:
    layers = [step.layer for step in made["static"].plan.layers]
    assert layers == [
        *(f"blocks.0.{part}" for part in ("merged", "out", "up", "down")),
        *(f"blocks.1.{part}" for part in ("merged", "out", "up", "down")),
        "head",
    ]


def test_smoothing_gives_every_channel_a_divisor(made: dict[str, Compressed]) -> None:
    factors = [encoding.factor for encoding in made["static"].encodings.values()]
    assert factors
    assert all(factor.ndim == 1 and (factor > 0).all() for factor in factors)
    assert all(encoding.factor.ndim == 0 for encoding in made["static without smoothing"].encodings.values())


def test_smoothing_holds_a_loud_channel(made: dict[str, Compressed]) -> None:
    feeds = sentences(24, seed=5)
    name = made["static"].graph.outputs[0].name
    wanted = made["static"].float_run(feeds)[name]
    errors = {key: np.square(run(made[key], feeds) - wanted).mean() for key in ("static", "static without smoothing")}
    assert errors["static"] < errors["static without smoothing"]


def test_embeddings_take_a_quarter(made: dict[str, Compressed]) -> None:
    embedded = [step for step in made["static"].plan.steps if step.operator == "embedding"]
    assert [step.layer for step in embedded] == ["words"]
    assert made["static"].program.size_bytes < made["float embeddings"].program.size_bytes - 15_000


def test_weight_only_and_dynamic_need_no_ranges(made: dict[str, Compressed]) -> None:
    assert not made["dynamic"].encodings
    assert not made["weights only"].encodings
    assert not any(node.op == "QuantizeLinear" for node in made["weights only"].emission.graph.nodes)


def test_dynamic_rows_are_coded_about_their_middle(captured: tuple[Encoder, bytes]) -> None:
    """Codes of a row that lies far from zero are as fine as its span allows; a constant row is exact."""
    one = compress(captured[1], sentences(), RECIPES["dynamic"])
    graph = one.emission.graph
    (step,) = (step for step in one.plan.layers if step.layer == "blocks.0.up")
    cut = {node.outputs[0]: node for node in graph.nodes}
    source = cut["blocks.0.up.centred"].inputs[0]
    assert source == step.nodes[0].inputs[0]
    feeds = sentences(4, seed=2)
    x, row, middle = (
        Runner(graph, fetch=[name])(feeds)[name] for name in (source, "blocks.0.up.row", "blocks.0.up.middle")
    )
    codes = Runner(graph, fetch=["blocks.0.up.q"])(feeds)["blocks.0.up.q"].astype(np.int64) - 128
    np.testing.assert_allclose(middle, (x.max(-1, keepdims=True) + x.min(-1, keepdims=True)) / 2, rtol=0, atol=1e-6)
    assert (np.abs(codes).max(axis=-1) == 127).all()
    assert np.abs(codes * row / 127 + middle - x).max() <= (row / 254 * 1.001).max()


def test_dynamic_rows_far_from_zero_lose_nothing() -> None:
    """What all values of a row have in common passes in float, multiplied with the sums of the weights' columns."""
    weight = np.random.default_rng(3).normal(size=(16, 5)).astype(np.float32)
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "far",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
            [numpy_helper.from_array(weight, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    near = np.random.default_rng(4).normal(size=(6, 16)).astype(np.float32)
    recipe = Recipe(default=LayerRecipe(activations="dynamic"))
    made = compress(proto.SerializeToString(), {"x": near}, recipe)
    graph = made.emission.graph
    x = np.concatenate([near + np.float32(64), np.full((1, 16), 7, np.float32), np.zeros((1, 16), np.float32)])
    names = [
        node.inputs[0] for node in graph.nodes if node.op == "DequantizeLinear" and node.inputs[0] in graph.constants
    ]
    rows = graph.constants[names[0]] * graph.constants[names[0].removesuffix(".w") + ".s"]
    for each in ENGINES:
        error = np.abs(made.run(each, {"x": x})["y"] - x @ rows)
        assert error[:6].max() < 0.02 * np.abs(rows).sum(axis=0).max()
        assert error[6:].max() < 1e-4


@pytest.mark.parametrize("each", ENGINES)
def test_dynamic_convolutions_are_right_at_their_borders(each: str) -> None:
    """The zeros beyond a border are in no row, so rows are coded about zero there, however far from it they lie."""
    weight = np.random.default_rng(3).normal(size=(5, 2, 3, 3)).astype(np.float32)
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
            "far",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 4, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5, 4, 4])],
            [numpy_helper.from_array(weight, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    x = np.random.default_rng(4).normal(size=(6, 2, 4, 4)).astype(np.float32) + np.float32(8)
    made = compress(proto.SerializeToString(), {"x": x}, Recipe(default=LayerRecipe(activations="dynamic")))
    found, wanted = (values["y"] for values in (made.run(each, {"x": x}), made.float_run({"x": x})))
    assert np.abs(found - wanted).max() < 0.03 * np.abs(wanted).max()


def test_overrides_mix_kinds_of_activations(made: dict[str, Compressed]) -> None:
    kinds = {step.layer: step.recipe.activations for step in made["mixed"].plan.layers if step.recipe is not None}
    assert kinds["blocks.0.up"] == "static"
    assert kinds["blocks.1.up"] == "dynamic"
    assert "head" not in kinds


def test_sentences_of_another_length_run(made: dict[str, Compressed]) -> None:
    feeds = sentences(3, 17, seed=1)
    one = made["static"]
    assert cosine(one.float_run(feeds)[one.graph.outputs[0].name], run(one, feeds)) > 0.99
