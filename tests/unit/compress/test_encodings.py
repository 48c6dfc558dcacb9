"""Codes of activations: what calibration saw, within the limits of the integer graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from intact.compress.encodings import Encoding
from intact.compress.recipe import LayerRecipe, Override, Recipe
from intact.numbers import Affine, dyadic
from support.nets import Net, cnn, data, mlp
from support.stages import compress, sqnr_db

X = data(1, 32, 3, 8, 8)


def image_net(body: Callable[[Net], str]) -> bytes:
    net = Net(0, x=["n", 3, 8, 8])
    return net.bytes(body(net))


def conv(net: Net, x: str, read: int, made: int, size: float = 0.3, bias: float = 1.0) -> str:
    return net.conv(x, net.normal(made, read, 3, 3, scale=size), net.normal(made, scale=bias), pads=[1] * 4)


def test_every_coded_tensor_has_an_encoding_of_even_zero_point() -> None:
    made = compress(cnn(), {"x": X})
    assert set(made.encodings) == set(made.plan.coded)
    for name, encoding in made.encodings.items():
        assert dyadic.is_power_of_two(encoding.scale)
        assert encoding.zero_point % 2 == 0 or name == "x"


def test_only_the_input_has_a_free_scale_and_its_rest_goes_into_the_weights() -> None:
    made = compress(mlp(), {"x": data(0, 64, 8, scale=0.37)})
    assert 1.0 <= float(made.encodings["x"].factor) < 2.0
    assert [name for name, encoding in made.encodings.items() if float(encoding.factor) != 1.0] == ["x"]
    real = made.encodings["x"].real
    assert float(real.scale) == pytest.approx(made.encodings["x"].scale * float(made.encodings["x"].factor))


def test_relu_outputs_start_at_zero() -> None:
    assert compress(mlp(), {"x": data(0, 64, 8)}).encodings["relu1"].zero_point == 0


def test_an_input_read_by_a_sum_too_has_a_power_of_two() -> None:
    net = Net(0, x=["n", 8])
    made = compress(
        net.bytes(net.op("Add", "x", net.gemm("x", net.normal(8, 8), net.normal(8)))), {"x": data(0, 64, 8)}
    )
    assert float(made.encodings["x"].factor) == 1.0


def test_a_moved_input_keeps_its_code_and_its_factor() -> None:
    net = Net(0, x=["n", 2, 4])
    flat = net.op("Flatten", "x")
    made = compress(net.bytes(net.gemm(flat, net.normal(3, 8), net.normal(3))), {"x": data(0, 64, 2, 4)})
    assert made.encodings[flat] == made.encodings["x"]


def test_a_moved_input_that_a_dynamic_layer_reads_too_is_right_for_both() -> None:
    net = Net(0, x=["n", 8])
    flat = net.op("Flatten", net.op("Reshape", "x", net.whole(-1, 2, 4)))
    first = net.gemm(flat, net.normal(4, 8), net.normal(4), "first")
    second = net.gemm(flat, net.normal(4, 8), net.normal(4), "second")
    feeds = {"x": data(0, 64, 8)}
    recipe = Recipe(overrides=(Override(pattern="second", settings={"activations": "dynamic"}),))
    made = compress(net.bytes(first, second), feeds, recipe)
    wanted, found = made.float_run(feeds), made.run("onnxruntime", feeds)
    assert all(sqnr_db(wanted[name], found[name]) > 30 for name in wanted)


def test_what_only_a_clip_reads_has_codes_for_no_more_than_the_clip_lets_through() -> None:
    made = compress(
        image_net(
            lambda net: conv(net, net.op("Clip", conv(net, "x", 3, 8), net.constant(0.0), net.constant(6.0)), 8, 3)
        ),
        {"x": X},
    )
    encoding = made.encodings["conv0"]
    assert encoding.zero_point == 0
    assert 255 * encoding.scale < 12.0


def test_affine_is_what_the_graph_writes() -> None:
    encoding = Encoding(affine=Affine(scale=0.25, zero_point=4), factor=np.asarray(1.5, np.float32))
    assert (encoding.scale, encoding.zero_point, encoding.exponent) == (0.25, 4, -2)
    assert float(encoding.real.scale) == 0.375


ADVERSARIAL: dict[str, tuple[Callable[[Net], str], float, float]] = {
    # what stands in the net, the scale of the inputs, and the least signal to noise ratio in dB
    "a residual branch of zeros": (
        lambda net: net.op("Add", (h := conv(net, "x", 3, 4)), conv(net, h, 4, 4, 0, 0)),
        1,
        30,
    ),
    **{
        f"a residual branch of 1e{power}": (
            lambda net, size=10.0**power: conv(
                net, net.op("Add", (h := net.op("Relu", conv(net, "x", 3, 4))), conv(net, h, 4, 4, size, size)), 4, 3
            ),
            1,
            30,
        )
        for power in (-4, -8, -12, -20, 3, 6)
    },
    **{
        f"a joined part of 1e{power}": (
            lambda net, size=10.0**power: conv(
                net, net.op("Concat", (h := conv(net, "x", 3, 4)), conv(net, h, 4, 4, size, size), axis=1), 8, 3
            ),
            1,
            30,
        )
        for power in (-4, -8, -20, 6)
    },
    **{
        f"a gate of 1e{power}": (
            lambda net, size=10.0**power: conv(
                net, net.op("Mul", (h := conv(net, "x", 3, 4)), conv(net, h, 4, 4, size, size)), 4, 3, bias=size
            ),
            1,
            25,
        )
        for power in (-6, 6)
    },
    "a tensor less itself": (lambda net: conv(net, net.op("Sub", (h := conv(net, "x", 3, 4)), h), 4, 3), 1, 30),
    "a dead layer": (
        lambda net: conv(net, net.op("Relu", net.conv("x", net.normal(4, 3, 3, 3), np.full(4, -1e9))), 4, 3),
        1,
        30,
    ),
    "a dead channel": (
        lambda net: conv(net, net.op("Relu", net.conv("x", net.normal(4, 3, 3, 3), np.array([0, 1, -1e30, 1]))), 4, 3),
        1,
        30,
    ),
    "a channel of weight zero": (
        lambda net: conv(
            net,
            net.op(
                "Relu", net.conv("x", net.normal(4, 3, 3, 3) * np.array([1, 0, 1, 1])[:, None, None, None], np.ones(4))
            ),
            4,
            3,
        ),
        1,
        30,
    ),
    "an outlier channel": (
        lambda net: conv(
            net,
            net.op(
                "Relu",
                net.conv("x", net.normal(4, 3, 3, 3) * np.array([1, 1e6, 1, 1])[:, None, None, None], np.ones(4)),
            ),
            4,
            3,
        ),
        1,
        20,
    ),
    "denormal weights": (
        lambda net: conv(net, net.op("Relu", net.conv("x", np.full((4, 3, 3, 3), 1e-42), np.ones(4))), 4, 3),
        1,
        30,
    ),
    **{
        f"inputs of 1e{power}": (
            lambda net, size=10.0**power: conv(
                net, net.op("Relu", net.conv("x", net.normal(4, 3, 3, 3) / size, net.normal(4))), 4, 3
            ),
            10.0**power,
            30,
        )
        for power in (-10, -6, 6, 20)
    },
}


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_whatever_the_ranges_the_limits_hold_and_the_engine_agrees(case: str) -> None:
    """`compress` makes the exact self-test, which refuses a graph that breaks a limit."""
    body, size, least_db = ADVERSARIAL[case]
    feeds = {"x": X * np.float32(size)}
    made = compress(image_net(body), feeds)
    assert made.plan.exact
    name = made.graph.outputs[0].name
    integer = made.run("reference", feeds)[name]
    np.testing.assert_array_equal(made.run("onnxruntime", feeds)[name], integer)
    wanted = made.float_run(feeds)[name]
    assert sqnr_db(wanted, integer) > least_db or float(np.abs(wanted - integer).max()) < 1e-6


@pytest.mark.parametrize("observer", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("percentile", [0.6, 0.999])
def test_means_over_odd_windows_hold_the_limits_whatever_the_ranges(observer: str, percentile: float) -> None:
    heavy = np.random.default_rng(0).standard_t(1.5, (32, 3, 8, 8)).astype(np.float32)
    uneven = np.diag([1.0, 1.0, 100.0]).reshape(3, 3, 1, 1)
    model = image_net(
        lambda net: conv(net, net.op("AveragePool", net.op("Relu", net.conv("x", uneven)), kernel_shape=[3, 3]), 3, 3)
    )
    made = compress(model, {"x": heavy}, Recipe(default=LayerRecipe(observer=observer, percentile=percentile)))
    assert made.plan.exact


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-20, 1e20])
def test_constant_calibration_data_give_a_model(value: float) -> None:
    feeds = {"x": np.full((4, 3, 8, 8), value, np.float32)}
    made = compress(cnn(), feeds)
    assert made.plan.exact
    assert np.isfinite(made.run("onnxruntime", {"x": X})[made.graph.outputs[0].name]).all()
