"""Every operator of the integer graph: close to float, and the same bits on every engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from intact import engine
from intact.compress import operators
from intact.compress.plan import FLOAT
from intact.compress.recipe import LayerRecipe, Override, Recipe
from intact.errors import CheckFailed
from support.nets import Net, data
from support.random_nets import networks
from support.stages import Compressed, compress, sqnr_db

OPERATORS = operators.operators()
FAST = ("onnxruntime", "openvino")

ROWS, CHANNELS, SIDE = 32, 6, 8
X = data(1, ROWS, 3, SIDE, SIDE)

Body = Callable[[Net, str], str]


def tap(net: Net, x: str, made: int = CHANNELS, read: int = CHANNELS, name: str = "") -> str:
    """A convolution of one tap."""
    return net.conv(x, net.normal(made, read, 1, 1, scale=0.5), net.normal(made), name)


def window(net: Net, x: str, **attributes: object) -> str:
    """A convolution of nine taps."""
    return net.conv(x, net.normal(4, CHANNELS, 3, 3, scale=0.2), net.normal(4), "window", **attributes)


def depthwise(net: Net, x: str) -> str:
    return net.conv(x, net.normal(CHANNELS, 1, 3, 3, scale=0.3), net.normal(CHANNELS), group=CHANNELS, pads=[1] * 4)


def squeeze_excite(net: Net, x: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", tap(net, net.op("GlobalAveragePool", x))))


def halves(net: Net, x: str) -> str:
    first, second = net.op("Split", x, outputs=2, axis=1, num_outputs=2)
    return str(net.op("Concat", second, net.op("Relu", first), axis=1))


def dense(net: Net, x: str, *, bias: bool) -> str:
    wide = CHANNELS * SIDE**2
    return net.gemm(net.op("Flatten", x), net.normal(7, wide, scale=0.1), net.normal(7) if bias else None)


def tokens(net: Net, x: str) -> str:
    """A dense layer on every row of a rank-3 tensor: MatMul and Add."""
    rows = net.op("Reshape", x, net.whole(0, CHANNELS, SIDE**2))
    return net.op(
        "Add", net.op("MatMul", rows, net.constant(net.normal(64, 7, scale=0.2))), net.constant(net.normal(7))
    )


def clip(low: float, high: float) -> Body:
    return lambda net, x: net.op("Clip", x, net.constant(low), net.constant(high))


def unary(op: str, **attributes: object) -> Body:
    return lambda net, x: net.op(op, x, **attributes)


BODIES: dict[str, Body] = {
    "conv stride": lambda net, x: window(net, x, strides=[2, 2], pads=[1] * 4),
    "conv uneven pads": lambda net, x: window(net, x, pads=[0, 1, 2, 0]),
    "conv dilation": lambda net, x: window(net, x, dilations=[2, 2], pads=[2] * 4),
    "conv same upper": lambda net, x: window(net, x, auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv depthwise": depthwise,
    "conv groups": lambda net, x: net.conv(x, net.normal(9, 2, 3, 3, scale=0.3), net.normal(9), group=3),
    "conv without bias": lambda net, x: net.conv(x, net.normal(4, CHANNELS, 3, 3, scale=0.2)),
    "conv relu": lambda net, x: net.op("Relu", tap(net, x)),
    "gemm": lambda net, x: dense(net, x, bias=True),
    "gemm without bias": lambda net, x: dense(net, x, bias=False),
    "gemm relu": lambda net, x: net.op("Relu", dense(net, x, bias=True)),
    "matmul with bias": tokens,
    "matmul relu matmul": lambda net, x: net.op(
        "MatMul", net.op("Relu", tokens(net, x)), net.constant(net.normal(7, 3, scale=0.3))
    ),
    "residual": lambda net, x: net.op("Relu", net.op("Add", x, tap(net, x))),
    "add to itself": lambda net, x: net.op("Add", x, x),
    "sub": lambda net, x: net.op("Sub", x, tap(net, x)),
    "mul by itself": lambda net, x: net.op("Mul", x, x),
    "squeeze and excite": squeeze_excite,
    "concat": lambda net, x: net.op("Concat", x, tap(net, x, 2), axis=1),
    "split and concat": halves,
    "maxpool": lambda net, x: net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "maxpool ceil": lambda net, x: net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "average of 4": lambda net, x: net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]),
    "average of 9": lambda net, x: net.op("AveragePool", x, kernel_shape=[3, 3]),
    "global average": lambda net, x: net.op("GlobalAveragePool", x),
    "global average relu": lambda net, x: net.op("Relu", net.op("GlobalAveragePool", x)),
    "reduce mean": lambda net, x: net.op("ReduceMean", x, net.whole(2, 3), keepdims=0),
    "relu6": clip(0.0, 6.0),
    "clip": clip(-1.0, 1.0),
    "clip without bounds": unary("Clip"),
    "relu after pool": lambda net, x: net.op("Relu", net.op("MaxPool", x, kernel_shape=[2, 2])),
    "sigmoid": unary("Sigmoid"),
    "silu": lambda net, x: net.op("Mul", x, net.op("Sigmoid", x)),
    "hardswish": unary("HardSwish"),
    "gelu": unary("Gelu"),
    "tanh": unary("Tanh"),
    "leaky relu": unary("LeakyRelu", alpha=0.1),
    "square": lambda net, x: net.op("Pow", x, net.constant(2.0)),
    "sqrt of abs": lambda net, x: net.op("Sqrt", net.op("Abs", x)),
    "scalar arithmetic": lambda net, x: net.op("Div", net.op("Add", x, net.constant(0.7)), net.constant(3.0)),
    "pad": lambda net, x: net.op("Pad", x, net.whole(0, 0, 1, 1, 0, 0, 2, 2)),
    "pad reflect": lambda net, x: net.op("Pad", x, net.whole(0, 0, 1, 1, 0, 0, 2, 2), mode="reflect"),
    "pad edge": lambda net, x: net.op("Pad", x, net.whole(0, 0, 1, 1, 0, 0, 2, 2), mode="edge"),
    "slice": lambda net, x: net.op("Slice", x, net.whole(0, 1), net.whole(4, 7), net.whole(1, 2)),
    "slice backwards": lambda net, x: net.op("Slice", x, net.whole(-1), net.whole(-9), net.whole(3), net.whole(-2)),
    "transpose": lambda net, x: net.op("Transpose", x, perm=[0, 2, 3, 1]),
    "reshape": lambda net, x: net.op("Reshape", x, net.whole(-1, CHANNELS, SIDE**2)),
    "squeeze": lambda net, x: net.op("Squeeze", net.op("GlobalAveragePool", x), net.whole(2, 3)),
    "unsqueeze": lambda net, x: net.op("Unsqueeze", x, net.whole(1)),
    "tile": lambda net, x: net.op("Tile", x, net.whole(1, 1, 2, 1)),
    "expand": lambda net, x: net.op("Expand", net.op("GlobalAveragePool", x), net.whole(1, CHANNELS, 3, 3)),
    "depth to space": lambda net, x: net.op("DepthToSpace", tap(net, x, 8), blocksize=2),
    "space to depth": lambda net, x: net.op("SpaceToDepth", x, blocksize=2),
    "shared weights": lambda net, x: net.op(
        "Conv", net.op("Relu", tap(net, x, name="twice")), "twice.weight", "twice.bias"
    ),
}
"""What stands between a first convolution and, where it is not the end, a last one."""

LEAST_DB = 30.0


def between_convolutions(body: Body, *, last: bool) -> Compressed:
    net = Net(0, x=["n", 3, SIDE, SIDE])
    stem = net.conv("x", net.normal(CHANNELS, 3, 3, 3, scale=0.3), net.normal(CHANNELS), "stem", pads=[1] * 4)
    made = body(net, stem)
    if last:
        made = net.op("Relu", net.op("Reshape", made, net.whole(0, -1)))
        shape = onnx.shape_inference.infer_shapes(net.proto(made)).graph.output[0].type.tensor_type.shape
        made = net.gemm(made, net.normal(5, shape.dim[1].dim_value, scale=0.1), net.normal(5), "last")
    return compress(net.bytes(made), {"x": X})


@pytest.fixture(scope="module")
def compressed() -> Callable[[str], Compressed]:
    made: dict[str, Compressed] = {}

    def get(case: str) -> Compressed:
        if case not in made:
            made[case] = between_convolutions(BODIES[case], last=False)
        return made[case]

    return get


def assert_same_bits(made: Compressed, feeds: dict[str, np.ndarray], engines: tuple[str, ...] = FAST) -> None:
    """The first engine must conform; another may be refused by the self-test, but never differ unnoticed."""
    wanted = made.run("reference", feeds)
    for name in engines:
        if engine.find()[name].why_unavailable():
            continue
        session = engine.find()[name].load(made.program, engine.Options(threads=1), "default")
        try:
            engine.self_test(session, made.vectors)
        except CheckFailed:
            assert name != engines[0]
            continue
        found = session.run(feeds)
        for output, value in wanted.items():
            np.testing.assert_array_equal(found[output], value, err_msg=f"{output} on {name}")


def test_every_file_is_an_operator_of_its_name() -> None:
    files = {path.stem for path in Path(operators.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(OPERATORS) == files
    assert all(OPERATORS[name].name == name for name in files)


def test_every_exact_operator_is_met_by_a_case(compressed: Callable[[str], Compressed]) -> None:
    met = {step.operator for case in BODIES for step in compressed(case).plan.steps} - {FLOAT}
    assert met == {name for name, member in OPERATORS.items() if member.exact and "codes" in member.layouts}


@pytest.mark.parametrize("case", BODIES)
def test_the_integers_are_close_to_float(case: str, compressed: Callable[[str], Compressed]) -> None:
    made = compressed(case)
    assert made.plan.exact
    assert made.vectors.profile == "exact"
    wanted = made.float_run({"x": X})
    found = made.run("onnxruntime", {"x": X})
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        assert sqnr_db(value, found[name]) > LEAST_DB


@pytest.mark.parametrize("case", BODIES)
def test_every_engine_gives_the_same_bits(case: str, compressed: Callable[[str], Compressed]) -> None:
    assert_same_bits(compressed(case), {"x": np.concatenate([X, data(2, 8, 3, SIDE, SIDE, scale=4.0)])})


@pytest.mark.parametrize("case", BODIES)
def test_codes_go_on_into_a_next_layer(case: str) -> None:
    made = between_convolutions(BODIES[case], last=True)
    assert made.plan.exact
    wanted, found = made.float_run({"x": X}), made.run("onnxruntime", {"x": X})
    assert all(sqnr_db(wanted[name], found[name]) > LEAST_DB - 5 for name in wanted)
    assert_same_bits(made, {"x": X}, FAST[:1])


@pytest.mark.parametrize("case", ["residual", "silu", "conv stride", "matmul with bias"])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_do_not_depend_on_their_batch_or_on_threads(
    case: str, threads: int, compressed: Callable[[str], Compressed]
) -> None:
    made = compressed(case)
    batch = {"x": np.concatenate([X[:3], X[3:4] * 100])}
    for name in FAST:
        if engine.find()[name].why_unavailable():
            continue
        together = made.run(name, batch, threads=threads)
        alone = [made.run(name, {"x": batch["x"][row : row + 1]}, threads=threads) for row in range(4)]
        for output in together:
            np.testing.assert_array_equal(together[output], np.concatenate([part[output] for part in alone]))


REFUSED: dict[str, tuple[Body, str]] = {
    "average of 6": (lambda net, x: net.op("AveragePool", x, kernel_shape=[2, 3]), "neither odd nor a power of two"),
    "average with padding left out": (
        lambda net, x: net.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4),
        "not known or varies",
    ),
    "clip without zero": (clip(0.5, 1.0), "leaves zero out"),
    "pad with one": (
        lambda net, x: net.op("Pad", x, net.whole(0, 0, 1, 1, 0, 0, 1, 1), net.constant(1.0)),
        "other than zero",
    ),
    "softmax": (unary("Softmax"), "'Softmax' has no integer form"),
    "resize": (
        lambda net, x: net.op("Resize", x, "", net.constant([1, 1, 2, 2]), mode="nearest"),
        "'Resize' has no integer form",
    ),
    "product of two computed tensors": (
        lambda net, x: net.op("MatMul", x, net.op("Transpose", x, perm=[0, 1, 3, 2])),
        "two computed tensors",
    ),
    "largest of two tensors": (lambda net, x: net.op("Max", x, tap(net, x)), "'Max' has no integer form"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_integer_form_stays_float_and_says_why(case: str) -> None:
    body, reason = REFUSED[case]
    made = between_convolutions(body, last=False)
    assert not made.plan.exact
    assert any(reason in step.reason for step in made.plan.floats)
    wanted, found = made.float_run({"x": X}), made.run("onnxruntime", {"x": X})
    assert all(sqnr_db(wanted[name], found[name]) > LEAST_DB for name in wanted)


def test_means_over_too_many_values_stay_float() -> None:
    for side, reason in ((65, "4225 values, too many"), (258, "66564 values")):
        net = Net(0, x=["n", 1, side, side])
        made = compress(net.bytes(net.op("GlobalAveragePool", net.op("Relu", "x"))), {"x": data(0, 2, 1, side, side)})
        assert any(reason in step.reason for step in made.plan.floats)


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_width_of_weights_is_exact(bits: int) -> None:
    net = Net(0, x=["n", 3, SIDE, SIDE])
    first = net.op("Relu", net.conv("x", net.normal(8, 3, 3, 3, scale=0.3), net.normal(8), "first"))
    model = net.bytes(net.conv(first, net.normal(4, 8, 3, 3, scale=0.2), net.normal(4), "second"))
    made = compress(model, {"x": X}, Recipe(default=LayerRecipe(weights=bits)))
    for solution in made.emission.solutions.values():
        assert max(len(np.unique(row)) for row in solution.codes.q) <= 2**bits
    assert made.plan.exact
    assert_same_bits(made, {"x": X})


@pytest.mark.parametrize("bits", range(2, 8))
@pytest.mark.parametrize("method", ["nearest", "gptq"])
def test_narrow_activations_in_groups_are_exact(bits: int, method: str) -> None:
    net = Net(0, x=["n", 3, SIDE, SIDE])
    first = net.op("Relu", net.conv("x", net.normal(16, 3, 3, 3, scale=0.3), net.normal(16), "first"))
    second = net.conv(first, net.normal(16, 16, 3, 3, scale=0.2), net.normal(16), "second", pads=[1, 1, 1, 1])
    model = net.bytes(net.conv(second, net.normal(4, 16, 1, 1, scale=0.2), net.normal(4), "third"))
    narrow = LayerRecipe(weights=4, group=16, activation_bits=bits, method=method, bias_correction=True)
    overrides = (Override(pattern="first", settings={"weights": 8, "group": 0, "activation_bits": 8}),)
    made = compress(model, {"x": X}, Recipe(default=narrow, overrides=overrides))
    assert made.plan.exact
    assert any(encoding.affine.bits == bits for encoding in made.encodings.values())
    assert_same_bits(made, {"x": X})


def test_one_tensor_is_read_in_several_widths() -> None:
    net = Net(0, x=["n", 3, SIDE, SIDE])
    body = net.op("Relu", net.conv("x", net.normal(8, 3, 3, 3, scale=0.3), net.normal(8), "body"))
    wide = net.conv(body, net.normal(8, 8, 3, 3, scale=0.2), net.normal(8), "wide", pads=[1, 1, 1, 1])
    slim = net.conv(body, net.normal(8, 8, 3, 3, scale=0.2), net.normal(8), "slim", pads=[1, 1, 1, 1])
    model = net.bytes(net.op("Add", wide, slim))
    overrides = (Override(pattern="slim", settings={"activation_bits": 4}),)
    made = compress(model, {"x": X}, Recipe(overrides=overrides))
    assert sorted(encoding.affine.bits for encoding in made.encodings.values())[:2] == [4, 8]
    assert_same_bits(made, {"x": X})


def test_embeddings_are_looked_up_in_eight_bits() -> None:
    table = np.random.default_rng(0).normal(size=(200, 32)).astype(np.float32) * np.linspace(0.01, 10, 200)[:, None]
    net = Net(0)
    net.take_indices("ids", "n", 5)
    found = net.op("Gather", net.constant(table, "words.weight"), "ids")
    ids = np.random.default_rng(1).integers(0, 200, (16, 5))
    made = compress(net.bytes(found), {"ids": ids})
    assert [step.operator for step in made.plan.layers or made.plan.steps] == ["embedding"]
    assert made.program.size_bytes < table.nbytes / 3
    looked_up = made.run("onnxruntime", {"ids": ids})[found]
    limit = np.abs(table[ids]).max(axis=-1, keepdims=True) / 127 / 2
    assert (np.abs(looked_up - table[ids]) <= limit * 1.001).all()


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(model=networks())
def test_random_networks_are_exact_on_every_engine(model: bytes) -> None:
    shape = [dim.dim_value for dim in onnx.load_from_string(model).graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": data(1, 16, *shape[1:])}
    made = compress(model, feeds)
    assert made.plan.exact
    assert_same_bits(made, feeds)
    (name, wanted), found = next(iter(made.float_run(feeds).items())), made.run("onnxruntime", feeds)
    assert sqnr_db(wanted, found[name]) > 15 or np.abs(wanted).max() < 1e-3
