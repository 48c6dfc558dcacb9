"""QuantizeLinear and DequantizeLinear: between codes and exact values."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from intact.engine.exact.call import Call
from intact.engine.exact.value import HEADROOM_BITS, Array, Exact, InexactError, Ints, Value, constant, guard

Integer: TypeAlias = np.dtype[np.integer[Any]]

FAR: Final = 1 << 20
"""Beyond any code: a value this large saturates whatever the zero point."""


def dequantize(call: Call) -> Value:
    """Return (q - z) * scale, exactly where every scale is a power of two, else as ONNX defines it in float32."""
    q, scale, zero = call.array(0), call.array(1), call.optional(2)
    _check_static(call)
    if q.dtype.kind not in "iu" or scale.dtype != np.float32 or call.attributes.get("block_size", 0):
        raise InexactError("not codes with float32 scales per tensor or per axis")
    z = np.zeros((), np.int64) if zero is None else np.asarray(zero).astype(np.int64)
    axis = int(call.attributes.get("axis", 1))
    z, scale = _along(z, q.ndim, axis), _along(scale, q.ndim, axis)
    mantissa = q.astype(np.int64) - z
    exponent = power_of_two(scale)
    if exponent is None:
        return np.asarray(mantissa.astype(np.float32) * scale)
    if call.known[0]:
        return constant(mantissa, exponent)
    info = np.iinfo(q.dtype)
    bound = np.maximum(z - info.min, info.max - z)
    return Exact(mantissa=mantissa, exponent=exponent, bound=bound)


def quantize(call: Call) -> Value:
    """Return the codes of operand 0: round half to even, add the zero point, saturate."""
    scale = call.array(1)
    _check_static(call)
    dtype, z = _target(call)
    x = call.optional(0)
    if call.attributes.get("block_size", 0) or scale.dtype != np.float32:
        raise InexactError("not float32 scales per tensor or per axis")
    axis = int(call.attributes.get("axis", 1))
    if isinstance(x, Exact):
        ndim = x.mantissa.ndim
        exponent = power_of_two(_along(scale, ndim, axis))
        if exponent is None:
            raise InexactError("the scale is not a power of two")
        return quantize_exact(x, exponent, _along(z, ndim, axis), dtype)
    if x is None or x.dtype != np.float32:
        raise InexactError("operand 0 is not float32")
    return quantize_float(x, _along(scale, x.ndim, axis), _along(z, x.ndim, axis), dtype)


def quantize_float(x: Array, scale: Array, zero_point: Array, dtype: Integer) -> Array:
    """Return saturate(rint(float32(x / scale)) + zero_point): the definition of the input quantizer.

    Args:
        x: float32, finite.
        scale: float32, positive; broadcasts to x.
        zero_point: Integers; broadcasts to x.
        dtype: Integer type of the codes.

    Returns:
        Codes of `dtype`, in the shape of x.
    """
    info = np.iinfo(dtype)
    with np.errstate(over="ignore"):
        steps = np.asarray(np.divide(x, scale, dtype=np.float32))
    np.rint(steps, out=steps)
    steps += zero_point.astype(np.float32)  # integers: exact below 2**24, saturated above
    return np.clip(steps, info.min, info.max, out=steps).astype(dtype)


def quantize_exact(x: Exact, exponent: Ints, zero_point: Ints, dtype: Integer) -> Array:
    """Return saturate(round_half_even(x * 2**-exponent) + zero_point), in integers."""
    info = np.iinfo(dtype)
    rounded = round_half_even(x.mantissa, exponent - x.exponent, x.divisor)
    return np.asarray(np.clip(rounded + zero_point, info.min, info.max).astype(dtype))


def round_half_even(mantissa: Ints, shift: Ints, divisor: int = 1) -> Ints:
    """Return mantissa / (divisor * 2**shift) rounded half to even, limited to +-2**20.

    Args:
        mantissa: int64, |mantissa| < 2**62.
        shift: Integers of either sign; broadcasts to the mantissa.
        divisor: Positive and odd.
    """
    if divisor != 1:
        return _round_quotient(mantissa, shift, divisor)
    down = np.clip(shift, 0, HEADROOM_BITS + 1)  # 2**63 takes every mantissa to 0
    up = np.clip(-shift, 0, 20)
    odd = (mantissa >> down) & 1
    nudge = np.where(down > 0, (np.int64(1) << np.maximum(down - 1, 0)) - 1, 0)
    rounded = (mantissa + (nudge + np.where(down > 0, odd, 0))) >> down
    return np.asarray(np.clip(rounded, -FAR, FAR) << up)


def _round_quotient(mantissa: Ints, shift: Ints, divisor: int) -> Ints:
    up, down = np.maximum(-shift, 0), np.maximum(shift, 0)
    largest = np.abs(mantissa).max(initial=0)
    guard(np.ldexp(np.float64(largest) * 2, up.astype(np.int32)))
    guard(np.ldexp(np.float64(divisor) * 2, down.astype(np.int32)))
    numerator, denominator = mantissa << up, np.int64(divisor) << down
    floor = numerator // denominator
    rest = 2 * (numerator - floor * denominator)  # 0 <= rest < 2 * denominator
    rounded = floor + ((rest > denominator) | ((rest == denominator) & (floor & 1 == 1)))
    return np.asarray(np.clip(rounded, -FAR, FAR))


def power_of_two(scale: Array) -> Ints | None:
    """Return the exponents if every scale is a positive power of two, else None."""
    fraction, exponent = np.frexp(scale)
    return np.asarray(exponent, dtype=np.int64) - 1 if scale.size and bool((fraction == 0.5).all()) else None


def _check_static(call: Call) -> None:
    if not all(call.known[1:]):
        raise InexactError("a scale or zero point is computed from the input")


def _target(call: Call) -> tuple[Integer, Ints]:
    zero = call.optional(2)
    if zero is None:
        if call.attributes.get("output_dtype", 0) not in (0, 2):
            raise InexactError("codes without a zero point that are not uint8")
        return np.dtype(np.uint8), np.zeros((), np.int64)
    z = np.asarray(zero)
    if z.dtype.kind not in "iu" or z.dtype.itemsize > 2:
        raise InexactError(f"codes of type {z.dtype}")
    return z.dtype, z.astype(np.int64)


def _along(parameter: Array, ndim: int, axis: int) -> Array:
    """Shape a scale or zero point to broadcast: 0-d for one element, else along `axis`."""
    if parameter.size == 1:
        return parameter.reshape(())
    if parameter.ndim != 1:
        raise InexactError("blocked scales")
    shape = [1] * ndim
    shape[axis] = parameter.size
    return parameter.reshape(shape)
