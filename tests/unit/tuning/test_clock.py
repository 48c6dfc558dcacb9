"""How much slower a choice is."""

from __future__ import annotations

import intact
from intact.compress.recipe import Recipe
from intact.tuning.choices import FLOAT, Choice
from intact.tuning.clock import extra_ns
from intact.tuning.objective import layers_of, objective
from support.nets import data, mlp


def test_only_graphs_that_differ_are_timed_and_the_time_is_shared_out() -> None:
    spec = intact.Spec(model=mlp(), calibration=data(1, 64, 8))
    builds: list[Recipe] = []

    def build(recipe: Recipe) -> intact.Built:
        builds.append(recipe)
        return intact.build(spec, recipe=recipe, engines=["onnxruntime"])

    base = build(Recipe())
    layers = layers_of(base.plan)
    told: list[tuple[int, int]] = []
    choices = [Choice(bits=8), Choice(bits=3), FLOAT]
    found = extra_ns(base, Recipe(), layers, choices, build, lambda done, total: told.append((done, total)))
    assert len(builds) == 4
    assert set(found) == {(layer.name, FLOAT) for layer in layers}
    assert all(isinstance(longer, int) and longer >= 0 for longer in found.values())
    first, last = (found[layer.name, FLOAT] for layer in layers)
    assert abs(first * layers[1].weights - last * layers[0].weights) <= sum(layer.weights for layer in layers)
    assert told[-1] == (3, 3)
    latency = objective("latency", found)
    assert [latency.cost(layers[0], choice) for choice in choices] == [0, 0, first]
