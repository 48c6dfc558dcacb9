"""Recipes: frozen values, readable as TOML, strict about what they do not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.compress.plan import plan
from intact.compress.recipe import LayerRecipe, Override, Recipe, from_json, from_toml, read_toml
from intact.errors import UsageError
from intact.graph.load import load
from intact.graph.normalise import normalise
from support.nets import cnn, data
from support.stages import compress

X = data(1, 32, 3, 8, 8)


def test_an_empty_file_is_the_default_recipe() -> None:
    assert from_toml("") == Recipe()


def test_every_field_can_be_written_in_toml() -> None:
    text = """
        profile = "tolerant"
        layout = "islands"
        smoothing = 0.5
        embeddings = "float"
        seed = 7

        [default]
        weights = 4
        activations = "dynamic"
        method = "stochastic"
        observer = "percentile"
        percentile = 0.999

        [layers."head"]
        weights = "float"

        [layers."encoder.*"]
        weights = 6
    """
    assert from_toml(text) == Recipe(
        profile="tolerant",
        layout="islands",
        smoothing=0.5,
        embeddings="float",
        seed=7,
        default=LayerRecipe(
            weights=4, activations="dynamic", method="stochastic", observer="percentile", percentile=0.999
        ),
        overrides=(
            Override(pattern="head", settings={"weights": "float"}),
            Override(pattern="encoder.*", settings={"weights": 6}),
        ),
    )


@given(
    st.builds(
        Recipe,
        profile=st.sampled_from(["auto", "exact", "tolerant"]),
        layout=st.sampled_from(["auto", "codes", "islands"]),
        smoothing=st.one_of(st.just("auto"), st.floats(0, 1)),
        embeddings=st.sampled_from([8, "float"]),
        seed=st.integers(0, 2**53 - 1),
        default=st.builds(LayerRecipe, weights=st.one_of(st.integers(2, 8), st.just("float"))),
        overrides=st.lists(
            st.builds(Override, pattern=st.text(max_size=5), settings=st.just({"weights": 3})),
            max_size=3,
            unique_by=lambda override: override.pattern,
        ).map(tuple),
    )
)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


BAD = {
    "not toml": ("weights = ", "not TOML"),
    "unknown key at the top": ("width = 4", "unknown key 'width' in recipe"),
    "weights at the top": ("weights = 4", "unknown key 'weights' in recipe"),
    "unknown key in default": ("[default]\nbits = 4", r"unknown key 'bits' in \[default\]"),
    "unknown key in a layer": ('[layers."a"]\nbits = 4', "unknown key 'bits' in layer 'a'"),
    "layers is no table": ("layers = 3", "'layers' in recipe is int, not a table"),
    "default is no table": ('default = "x"', "'default' in recipe is str, not a table"),
    "a layer is no table": ("[layers]\na = 4", "layer 'a' in recipe is int, not a table"),
    "nine bits": ("[default]\nweights = 9", "weights is 9, not a width of 2 to 8 bits"),
    "one bit": ("[default]\nweights = 1", "weights is 1"),
    "a text of bits": ('[default]\nweights = "8"', "weights is '8'"),
    "half bits": ("[default]\nweights = 4.5", "'weights' in .* is 4.5, not int or str"),
    "a truth for a width": ("[default]\nweights = true", "'weights' in .* is True"),
    "a truth for a seed": ("seed = true", "'seed' in recipe is True, not int"),
    "a negative seed": ("seed = -1", "seed is -1"),
    "a huge seed": (f"seed = {2**53}", "seed is 9007199254740992"),
    "unknown activations": ('[default]\nactivations = "int4"', "activations is 'int4', not one of static, dynamic"),
    "unknown profile": ('profile = "strict"', "profile is 'strict', not one of auto, exact, tolerant"),
    "unknown layout": ('layout = "nchw"', "layout is 'nchw'"),
    "profile is a number": ("profile = 1", "'profile' in recipe is 1, not str"),
    "percentile of a half": ("[default]\npercentile = 0.5", "percentile is 0.5"),
    "percentile over one": ("[default]\npercentile = 1.5", "percentile is 1.5"),
    "percentile is no number": ("[default]\npercentile = nan", "percentile is nan"),
    "smoothing over one": ("smoothing = 2", "smoothing is 2"),
    "smoothing by a word": ('smoothing = "strong"', "smoothing is 'strong'"),
    "smoothing is no number": ("smoothing = nan", "smoothing is nan"),
    "embeddings of nine bits": ("embeddings = 9", "embeddings is 9"),
    "a bad override": ('[layers."a"]\nactivations = "x"', "activations is 'x'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case: str) -> None:
    text, message = BAD[case]
    with pytest.raises(UsageError, match=message):
        from_toml(text)


def test_an_unknown_key_comes_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as refused:
        from_toml("[default]\nbits = 4")
    assert "weights" in str(refused.value.hint)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(UsageError, match=r"latin\.toml"):
        read_toml(tmp_path / "latin.toml")
    (tmp_path / "bad.toml").write_text("colour = 1")
    with pytest.raises(UsageError, match=r"unknown key 'colour' in '.*bad\.toml'"):
        read_toml(tmp_path / "bad.toml")


def test_later_overrides_win_and_patterns_match_names() -> None:
    recipe = from_toml('[layers."body*"]\nweights = 4\n[layers."body.2"]\nweights = 6\nobserver = "minmax"')
    assert recipe.layer("stem").weights == 8
    assert recipe.layer("body.1").weights == 4
    assert recipe.layer("body.2").weights == 6
    assert recipe.layer("body.2").observer == "minmax"
    assert recipe.unused_patterns(("body.1",)) == ("body.2",)


def graph(recipe: Recipe) -> object:
    return plan(normalise(load(cnn())), recipe)


def test_overrides_reach_the_layers_they_name() -> None:
    recipe = from_toml('[layers.body]\nweights = 4\n[layers."h*"]\nweights = 2')
    solutions = compress(cnn(), {"x": X}, recipe).emission.solutions
    assert {name: solution.bits for name, solution in solutions.items()} == {
        "stem": 8,
        "body": 4,
        "head": 2,
    }


def test_a_layer_left_float_keeps_its_weights_and_says_why() -> None:
    made = compress(cnn(), {"x": X}, from_toml('[layers.body]\nweights = "float"'))
    assert "body" not in made.emission.solutions
    assert [step.reason for step in made.plan.floats] == ["the recipe leaves it in float"]
    assert not made.plan.exact


def test_a_pattern_that_no_layer_matches_is_refused_with_the_names() -> None:
    with pytest.raises(UsageError, match=r"layers that are not there: nope\*") as refused:
        graph(from_toml('[layers."nope*"]\nweights = 4'))
    assert "stem, body, head" in str(refused.value.hint)


def test_the_exact_profile_is_refused_with_the_reasons() -> None:
    with pytest.raises(UsageError, match="exact profile cannot be had: .*: the recipe leaves it in float"):
        graph(from_toml('profile = "exact"\n[layers.body]\nweights = "float"'))
    with pytest.raises(UsageError, match="stem: its activations have no static scale"):
        graph(from_toml('profile = "exact"\nlayout = "codes"\n[layers.stem]\nactivations = "dynamic"'))
    with pytest.raises(UsageError, match="free scales were chosen"):
        graph(from_toml('profile = "exact"\nlayout = "islands"'))


@pytest.mark.parametrize("key", ["method", "observer"])
def test_unknown_members_of_a_family_are_refused_before_any_work(key: str) -> None:
    with pytest.raises(UsageError, match="is called 'hessian'") as refused:
        graph(from_toml(f'[layers.head]\n{key} = "hessian"'))
    assert "known" in str(refused.value.hint)
