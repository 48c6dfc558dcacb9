"""Sums, products and matrix products of exact values."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.engine.exact.call import Call
from intact.engine.exact.value import Exact, InexactError, Ints, Value, align, common, from_float, guard

CARRIERS: Final = ((24, np.float32), (53, np.float64))
"""Floats that hold every integer below 2**bits, so that BLAS may do the work."""


def add(call: Call) -> Value:
    """Return a + b."""
    return plus(call.exact(0), call.exact(1))


def subtract(call: Call) -> Value:
    """Return a - b."""
    b = call.exact(1)
    return plus(call.exact(0), Exact(mantissa=-b.mantissa, exponent=b.exponent, bound=b.bound, divisor=b.divisor))


def plus(a: Exact, b: Exact) -> Exact:
    """Return a + b, broadcast."""
    a, b = common([a, b])
    guard(a.bound.astype(np.float64) + b.bound)
    return Exact(
        mantissa=a.mantissa + b.mantissa, exponent=a.exponent, bound=np.asarray(a.bound + b.bound), divisor=a.divisor
    )


def multiply(call: Call) -> Value:
    """Return a * b, broadcast."""
    a, b = call.exact(0), call.exact(1)
    guard(a.bound.astype(np.float64) * b.bound)
    return Exact(
        mantissa=a.mantissa * b.mantissa,
        exponent=a.exponent + b.exponent,
        bound=np.asarray(a.bound * b.bound),
        divisor=a.divisor * b.divisor,
    )


def relu(call: Call) -> Value:
    """Return max(x, 0)."""
    x = call.exact(0)
    return Exact(mantissa=np.maximum(x.mantissa, 0), exponent=x.exponent, bound=x.bound, divisor=x.divisor)


def clip(call: Call) -> Value:
    """Return x limited to the constants of inputs 1 and 2, or of opset 6's attributes."""
    x = call.exact(0)
    for index, name, limit in ((1, "min", np.maximum), (2, "max", np.minimum)):
        edge = _edge(call, index, name)
        if edge is not None:
            value, fixed = common([x, edge])
            mantissa = limit(value.mantissa, fixed.mantissa)
            x = Exact(mantissa=mantissa, exponent=value.exponent, bound=value.bound, divisor=value.divisor)
    return x


def _edge(call: Call, index: int, name: str) -> Exact | None:
    given = call.optional(index)
    if isinstance(given, Exact):
        return given
    if given is None:
        given = call.attributes.get(name)
    if given is None or abs(float(given)) >= np.finfo(np.float32).max:
        return None
    return from_float(given)


def matmul(call: Call) -> Value:
    """Return the matrix product, batched and broadcast as numpy does it."""
    return _product(call.exact(0), call.exact(1))


def gemm(call: Call) -> Value:
    """Return A @ B + C with the transpositions asked for."""
    if call.attributes.get("alpha", 1.0) != 1.0 or call.attributes.get("beta", 1.0) != 1.0:
        raise InexactError("alpha or beta is not 1")
    a, b = call.exact(0), call.exact(1)
    a = _transposed(a) if call.attributes.get("transA", 0) else a
    b = _transposed(b) if call.attributes.get("transB", 0) else b
    product = _product(a, b)
    return product if call.optional(2) is None else plus(product, call.exact(2))


def _transposed(value: Exact) -> Exact:
    def swap(part: Ints) -> Ints:
        return part.T if part.ndim == 2 else part

    return Exact(
        mantissa=value.mantissa.T, exponent=swap(value.exponent), bound=swap(value.bound), divisor=value.divisor
    )


def _product(a: Exact, b: Exact) -> Exact:
    if a.mantissa.ndim < 2 or b.mantissa.ndim < 2:
        raise InexactError("a matrix product with a vector")
    a, b = align(a, axes=(-1,)), align(b, axes=(-2,))
    bound = _product_bound(a, b)
    kind = carrier(int(bound.max(initial=0)))
    return Exact(
        mantissa=np.matmul(a.mantissa.astype(kind), b.mantissa.astype(kind)).astype(np.int64),
        exponent=a.exponent + b.exponent,
        bound=bound,
        divisor=a.divisor * b.divisor,
    )


def _product_bound(a: Exact, b: Exact) -> Ints:
    """Bound sum(|a| * |b|) over the depth, for each column of b."""
    depth = a.mantissa.shape[-1]
    row = np.broadcast_to(a.bound, a.mantissa.shape).reshape(-1, depth).max(axis=0) if a.bound.ndim else a.bound
    columns = np.broadcast_to(b.bound, b.mantissa.shape) if b.bound.ndim else np.broadcast_to(b.bound, (depth, 1))
    columns = columns.reshape(-1, depth, columns.shape[-1]).max(axis=0)
    return whole(np.broadcast_to(row, depth).astype(np.float64) @ columns.astype(np.float64))


def whole(bound: NDArray[np.float64]) -> Ints:
    """Return integers no smaller than a bound computed in float64.

    Raises:
        InexactError: The bound would leave the headroom.
    """
    guard(bound)
    margin = np.where(bound < 2.0**53, 0.0, bound * 2.0**-40)  # above 2**53 the float sum may have been rounded down
    return np.asarray(np.ceil(bound + margin).astype(np.int64))


def carrier(bound: int) -> np.dtype[Any]:
    """Return a number type in which sums of products that stay within `bound` are exact in any order."""
    return np.dtype(next((kind for bits, kind in CARRIERS if bound < 1 << bits), np.int64))
