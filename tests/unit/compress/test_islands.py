"""Transformers: integer matrix products between float islands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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


def test_overrides_mix_kinds_of_activations(made: dict[str, Compressed]) -> None:
    kinds = {step.layer: step.recipe.activations for step in made["mixed"].plan.layers if step.recipe is not None}
    assert kinds["blocks.0.up"] == "static"
    assert kinds["blocks.1.up"] == "dynamic"
    assert "head" not in kinds


def test_sentences_of_another_length_run(made: dict[str, Compressed]) -> None:
    feeds = sentences(3, 17, seed=1)
    one = made["static"]
    assert cosine(one.float_run(feeds)[one.graph.outputs[0].name], run(one, feeds)) > 0.99
