"""Random small networks of the operators that have an integer form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from support.nets import Net

MOST_SIDE = 9


@dataclass(frozen=True, kw_only=True)
class Value:
    """A tensor inside the network: its name and its shape without the batch axis."""

    name: str
    shape: tuple[int, ...]


@st.composite
def networks(draw: st.DrawFn) -> bytes:
    """A network x (n, c, h, w) to one output, of two to seven random operators and a last layer."""
    side = draw(st.integers(4, MOST_SIDE))
    channels = draw(st.integers(1, 4))
    net = Net(draw(st.integers(0, 2**32 - 1)), x=["n", channels, side, side])
    first = Value(name="x", shape=(channels, side, side))
    values = [_conv(draw, net, first) if draw(st.booleans()) else first]
    for _ in range(draw(st.integers(1, 6))):
        maker = draw(st.sampled_from(MAKERS))
        source = draw(st.sampled_from(values[-3:]))
        values.append(maker(draw, net, source))
    return net.bytes(_ending(draw, net, values[-1]).name)


def _conv(draw: st.DrawFn, net: Net, x: Value) -> Value:
    channels, height, width = x.shape
    groups = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
    kernel = draw(st.integers(1, min(3, height, width)))
    dilation = draw(st.integers(1, 2)) if (kernel - 1) * 2 < min(height, width) else 1
    reach = (kernel - 1) * dilation
    pads = [draw(st.integers(0, reach)) for _ in range(4)]
    strides = [draw(st.integers(1, 2)) for _ in range(2)]
    made = groups * draw(st.integers(1, 4))
    weight = net.normal(made, channels // groups, kernel, kernel, scale=1.0 / np.sqrt(channels // groups * kernel**2))
    bias = net.normal(made, scale=draw(st.sampled_from([0.1, 1.0]))) if draw(st.booleans()) else None
    name = net.conv(x.name, weight, bias, pads=pads, strides=strides, dilations=[dilation] * 2, group=groups)
    sides = [
        (size + pads[axis] + pads[axis + 2] - reach - 1) // strides[axis] + 1
        for axis, size in enumerate((height, width))
    ]
    return Value(name=name, shape=(made, *sides))


def _same(draw: st.DrawFn, net: Net, x: Value, channels: int | None = None) -> Value:
    """A convolution of one tap that keeps the picture's size."""
    made = channels or x.shape[0]
    name = net.conv(x.name, net.normal(made, x.shape[0], 1, 1, scale=0.7), net.normal(made))
    return Value(name=name, shape=(made, *x.shape[1:]))


def _activation(draw: st.DrawFn, net: Net, x: Value) -> Value:
    kind = draw(st.sampled_from(["Relu", "Clip", "Sigmoid", "SiLU", "HardSwish", "Tanh", "LeakyRelu"]))
    if kind == "Clip":
        return Value(name=net.op("Clip", x.name, net.constant(0.0), net.constant(6.0)), shape=x.shape)
    if kind == "SiLU":
        return Value(name=net.op("Mul", x.name, net.op("Sigmoid", x.name)), shape=x.shape)
    return Value(name=net.op(kind, x.name), shape=x.shape)


def _sum(draw: st.DrawFn, net: Net, x: Value) -> Value:
    name = net.op(draw(st.sampled_from(["Add", "Sub"])), x.name, _same(draw, net, x).name)
    return Value(name=net.op("Relu", name) if draw(st.booleans()) else name, shape=x.shape)


def _gate(draw: st.DrawFn, net: Net, x: Value) -> Value:
    source = x
    if draw(st.booleans()) and _is_safe(x):
        source = Value(name=net.op("GlobalAveragePool", x.name), shape=(x.shape[0], 1, 1))
    gate = net.op("Sigmoid", _same(draw, net, source).name)
    return Value(name=net.op("Mul", x.name, gate), shape=x.shape)


def _concat(draw: st.DrawFn, net: Net, x: Value) -> Value:
    other = _same(draw, net, x, draw(st.integers(1, 3)))
    name = net.op("Concat", x.name, other.name, axis=1)
    return Value(name=name, shape=(x.shape[0] + other.shape[0], *x.shape[1:]))


def _pool(draw: st.DrawFn, net: Net, x: Value) -> Value:
    kernel = draw(st.integers(1, min(3, *x.shape[1:])))
    stride = draw(st.integers(1, 2))
    sides = tuple((size - kernel) // stride + 1 for size in x.shape[1:])
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    name = net.op(op, x.name, kernel_shape=[kernel] * 2, strides=[stride] * 2)
    return Value(name=name, shape=(x.shape[0], *sides))


def _move(draw: st.DrawFn, net: Net, x: Value) -> Value:
    channels, height, width = x.shape
    kind = draw(st.sampled_from(["Pad", "Slice", "Transpose"]))
    if kind == "Pad":
        pads = [draw(st.integers(0, 1)) for _ in range(4)]
        name = net.op("Pad", x.name, net.whole(0, 0, *pads[:2], 0, 0, *pads[2:]))
        return Value(name=name, shape=(channels, height + pads[0] + pads[2], width + pads[1] + pads[3]))
    if kind == "Slice" and height > 2:
        name = net.op("Slice", x.name, net.whole(1), net.whole(height), net.whole(2))
        return Value(name=name, shape=(channels, height - 1, width))
    return Value(name=net.op("Transpose", x.name, perm=[0, 1, 3, 2]), shape=(channels, width, height))


MAKERS = (_conv, _conv, _activation, _activation, _sum, _gate, _concat, _pool, _move)


def _is_safe(x: Value) -> bool:
    """Whether a mean over the picture is over an odd number or a power of two."""
    count = x.shape[1] * x.shape[2]
    return count % 2 == 1 or count & (count - 1) == 0


def _ending(draw: st.DrawFn, net: Net, x: Value) -> Value:
    kind = draw(st.sampled_from(["conv", "dense", "codes"]))
    if kind == "conv":
        return _same(draw, net, x, 3)
    flat = Value(name=net.op("Flatten", x.name), shape=(int(np.prod(x.shape)),))
    if kind == "codes":
        return flat
    weight = net.normal(4, flat.shape[0], scale=1.0 / np.sqrt(flat.shape[0]))
    return Value(name=net.gemm(flat.name, weight, net.normal(4)), shape=(4,))
