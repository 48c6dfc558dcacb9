"""Synthetic inputs for the self-test, made from a seed alone.

Elements come from SHAKE-128 (FIPS 202) of a label, read as little-endian 16-bit numbers. That is specified outside this
package, has no version to drift, and one call fills an array.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from intact.engine.spec import TensorSpec
from intact.errors import ModelError

Array = NDArray[Any]
Draws = NDArray[np.int64]

BEYOND: Final = 1.5
"""With an input quantizer, extremes go this much further than its range, so that it saturates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The values an input takes in a self-test.

    Args:
        low: The smallest.
        high: The largest, included.
        step: The input quantizer's scale, whose half multiples are ties; None where there is no quantizer.
    """

    low: float
    high: float
    step: float | None = None


def spans_of(graph: onnx.GraphProto, specs: Sequence[TensorSpec]) -> dict[str, Span]:
    """Return a span for every input: of its quantizer, of the table it indexes, else 0..1 (integers) or -1..1."""
    constants = {i.name: i for i in graph.initializer}
    return {spec.name: _span(graph, spec, constants) for spec in specs}


def _span(graph: onnx.GraphProto, spec: TensorSpec, constants: Mapping[str, onnx.TensorProto]) -> Span:
    readers = [node for node in graph.node if spec.name in node.input]
    if np.dtype(spec.dtype).kind != "f":
        sizes = [size for node in readers if (size := _table_size(graph, node, spec.name, constants)) is not None]
        return Span(low=0, high=min(sizes, default=2) - 1)
    for node in readers:
        if node.op_type == "QuantizeLinear" and len(node.input) == 3 and set(node.input[1:]) <= set(constants):
            scale, zero = (onnx.numpy_helper.to_array(constants[name]) for name in node.input[1:])
            if scale.size == 1:
                info, step, z = np.iinfo(zero.dtype), float(scale.reshape(())), int(zero.reshape(()))
                return Span(low=(info.min - z) * step, high=(info.max - z) * step, step=step)
    return Span(low=-1, high=1)


def _table_size(
    graph: onnx.GraphProto, node: onnx.NodeProto, name: str, constants: Mapping[str, onnx.TensorProto]
) -> int | None:
    """Return how many entries the table has that `name` indexes here, looking through a Cast."""
    if node.op_type == "Cast":
        sizes = [_table_size(graph, n, node.output[0], constants) for n in graph.node if node.output[0] in n.input]
        return min((size for size in sizes if size is not None), default=None)
    if node.op_type != "Gather" or node.input[1] != name:
        return None
    source = node.input[0]
    for producer in graph.node:
        if producer.op_type == "DequantizeLinear" and source in producer.output:
            source = producer.input[0]
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return int(constants[source].dims[axis]) if source in constants else None


def make(kind: str, span: Span, spec: TensorSpec, sizes: Mapping[str, int], label: str) -> Array:
    """Return the array of this kind for one input.

    Args:
        kind: One of `KINDS`.
        span: What values to take.
        spec: The input's type and shape.
        sizes: A size for every named dimension.
        label: Makes the array unlike every other.

    Raises:
        ModelError: A dimension has neither a size nor a name with one.
    """
    shape = resolve(spec, sizes)
    count = int(np.prod(shape, dtype=np.int64))
    drawn = np.frombuffer(hashlib.shake_128(label.encode()).digest(2 * count), dtype="<u2")
    draws = drawn.astype(np.int64).reshape(shape)
    if np.dtype(spec.dtype).kind != "f":
        return _integers(kind, span, draws).astype(spec.dtype)
    return KINDS[kind](span, draws).astype(spec.dtype)


def resolve(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the input's shape with every name replaced by its size."""
    shape = [sizes.get(size) if isinstance(size, str) else size for size in spec.shape or (None,)]
    if None in shape:
        raise ModelError(f"input {spec} has a dimension without a size", hint="name it, and give the name a size")
    return tuple(int(size) for size in shape if size is not None)


def _uniform(span: Span, draws: Draws) -> Array:
    return np.asarray(span.low + (span.high - span.low) * (draws / 65535.0)).astype(np.float32)


def _ties(span: Span, draws: Draws) -> Array:
    """Half multiples of the step, and their neighbours in float32 on either side."""
    if span.step is None:
        return _uniform(span, draws)
    codes = round((span.high - span.low) / span.step) + 1
    first = round(span.low / span.step)
    tie = np.asarray((first + draws % codes + 0.5) * span.step).astype(np.float32)
    side = (draws // codes) % 3  # -1, 0 or +1 unit in the last place
    return np.where(side == 0, np.nextafter(tie, np.float32(-np.inf)), np.where(side == 1, tie, _above(tie)))


def _above(x: Array) -> Array:
    return np.nextafter(x, np.float32(np.inf))


def _extremes(span: Span, draws: Draws) -> Array:
    ends = [span.low, span.high]
    if span.step is not None:
        ends += [span.low * BEYOND, span.high * BEYOND, 0.0]
    return np.array(ends, np.float32)[draws % len(ends)]


def _steps(span: Span, draws: Draws) -> Array:
    """Long runs of the largest and the smallest value: what drives sums, and what follows them, to their ends."""
    flat = draws.reshape(draws.shape[0], -1) if draws.ndim > 1 else draws.reshape(1, -1)
    period = 1 + flat[:, :1] % max(1, flat.shape[1])
    high = (np.arange(flat.shape[1]) // period) % 2 == 0
    return np.where(high, span.high, span.low).reshape(draws.shape).astype(np.float32)


def _integers(kind: str, span: Span, draws: Draws) -> Array:
    low, high = int(span.low), int(span.high)
    if kind == "extremes":
        return np.where(draws % 2 == 0, low, high)
    return low + draws * (high - low + 1) // 65536


KINDS: Final[Mapping[str, Callable[[Span, Draws], Array]]] = {
    "uniform": _uniform,
    "ties": _ties,
    "extremes": _extremes,
    "steps": _steps,
}
