"""A product that reads another's output, in the layout of transformers: its input is smoothed there too."""

from __future__ import annotations

import numpy as np

from intact.compress.recipe import Recipe
from support.nets import Net, data
from support.stages import compress, cosine


def test_a_smoothed_tensor_that_a_product_makes_is_divided_before_it_is_coded() -> None:
    net = Net(0, x=["n", 16])
    uneven = net.normal(32, 16, scale=0.3) * np.linspace(0.1, 8, 32, dtype=np.float32)[:, None]
    first = net.gemm("x", uneven, net.normal(32), "first")
    model = net.bytes(net.gemm(first, net.normal(8, 32, scale=0.3), net.normal(8), "second"))
    feeds = {"x": data(0, 64, 16)}
    made = compress(model, feeds, Recipe(layout="islands"))
    assert any(encoding.factor.ndim for encoding in made.encodings.values())
    (before,), (after,) = made.float_run(feeds).values(), made.run("reference", feeds).values()
    assert cosine(before, after) > 0.999
