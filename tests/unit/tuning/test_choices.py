"""Choices, recipes with them, and recipes as files."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.compress.recipe import LayerRecipe, Override, Recipe, from_toml
from intact.errors import UsageError
from intact.tuning.choices import FLOAT, Choice, Space, apply, exactly, pinned
from intact.tuning.objective import Layer, mean_bits, objective
from intact.tuning.recipe_file import to_toml

names = st.text(st.sampled_from("ab.[]*?!-/0"), min_size=1, max_size=8)


@given(names, names)
def test_an_exact_pattern_matches_its_own_name_alone(name: str, other: str) -> None:
    assert fnmatch.fnmatchcase(name, exactly(name))
    assert fnmatch.fnmatchcase(other, exactly(name)) == (other == name)


def test_choices_are_all_that_recipes_can_hold_once() -> None:
    space = Space(widths=(4, 8), groups=(0, 32))
    assert [str(choice) for choice in space.choices()] == ["8 bits", "4 bits", "4 bits, groups of 32"]
    for choice in space.choices():
        LayerRecipe(**choice.settings)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"widths": (9,)}, "width of 2 to 8"),
        ({"widths": ()}, "no widths"),
        ({"groups": (8,)}, "group is 8"),
        ({"methods": ("magic",)}, "no rounding method"),
    ],
)
def test_an_impossible_space_is_refused(wrong: dict[str, tuple[int, ...]], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Space(**wrong)  # type: ignore[arg-type]


def test_an_assignment_changes_its_layers_and_no_other() -> None:
    base = Recipe(
        overrides=(
            Override(pattern="a", settings={"observer": "minmax"}),
            Override(pattern="*", settings={"percentile": 0.9}),
        )
    )
    tuned = apply(base, {"a": Choice(bits=3), "c[0]": FLOAT, "d": Choice(bits=5, method="nearest")})
    assert tuned.layer("a").weights == 3
    assert (tuned.layer("a").observer, tuned.layer("a").percentile) == ("minmax", 0.9)
    assert tuned.layer("c[0]").weights == "float"
    assert tuned.layer("d").method == "nearest"
    assert tuned.layer("b") == base.layer("b")
    assert apply(tuned, {"a": Choice(bits=6)}).layer("a").weights == 6


def test_layers_whose_width_the_recipe_says_are_pinned() -> None:
    recipe = Recipe(
        overrides=(Override(pattern="f*", settings={"weights": 8}), Override(pattern="g", settings={"observer": "mse"}))
    )
    assert pinned(recipe, "first")
    assert not pinned(recipe, "g")


settings_of = st.fixed_dictionaries(
    {},
    optional={
        "weights": st.sampled_from([2, 3, 8, "float"]),
        "percentile": st.floats(0.5, 1.0, exclude_min=True),
        "method": st.sampled_from(["nearest", "stochastic"]),
    },
)


@given(st.dictionaries(st.text(max_size=12), settings_of, max_size=4), st.floats(0, 1), st.integers(0, 2**53 - 1))
def test_a_recipe_reads_back_as_itself(layers: dict[str, dict[str, object]], smoothing: float, seed: int) -> None:
    overrides = tuple(Override(pattern=pattern, settings=found) for pattern, found in layers.items())
    recipe = Recipe(overrides=overrides, smoothing=smoothing, seed=seed)
    again = from_toml(to_toml(recipe))
    assert again == recipe


def test_a_pattern_cannot_be_written_twice() -> None:
    twice = (Override(pattern="a", settings={"weights": 3}), Override(pattern="a", settings={"weights": 4}))
    with pytest.raises(UsageError, match="two overrides for 'a'"):
        to_toml(Recipe(overrides=twice))


def test_costs_are_those_of_the_objective() -> None:
    layer = Layer(name="a", rows=4, columns=64)
    assert objective("size").cost(layer, Choice(bits=3)) == 4 * 64 * 3 // 8 + 4 * 4
    assert objective("size").cost(layer, Choice(bits=4, group=32)) == 4 * 64 // 2 + 4 * 4 + 8
    assert objective("size").cost(layer, FLOAT) == 4 * 64 * 4
    assert objective("bits").cost(layer, Choice(bits=3)) == 4 * 64 * 3
    assert objective("latency", {("a", FLOAT): 70}).cost(layer, FLOAT) == 70
    assert objective("latency").cost(layer, Choice(bits=2)) == 0
    assert not layer.admits(Choice(bits=4, group=48))
    layers = {"a": layer, "b": Layer(name="b", rows=1, columns=256)}
    assert mean_bits(layers, {"a": Choice(bits=2), "b": Choice(bits=8)}) == 5.0
    with pytest.raises(UsageError, match="not one of size, latency, bits"):
        objective("joy")
