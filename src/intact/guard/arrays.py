"""Small arrays as JSON: one byte an element, and back, within bounds."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.errors import IntegrityError

Array = NDArray[Any]

ELEMENTS_LIMIT: Final = 1 << 16
"""Most elements of one array."""
LEVELS: Final = 255
MOST: Final = 1e30
"""No value is larger."""


def pack(values: Array) -> dict[str, Any]:
    """Return `values` in 256 steps between its smallest and largest; what is read back is at most half a step away.

    Args:
        values: Finite, at most `ELEMENTS_LIMIT` elements.
    """
    low = round_to(float(values.min()), 6) if values.size else 0.0
    step = round_to((float(values.max()) - low) / LEVELS, 6) if values.size else 0.0
    codes = np.rint((values - low) / step) if step > 0 else np.zeros(values.shape)
    data = base64.b64encode(np.clip(codes, 0, LEVELS).astype(np.uint8).tobytes()).decode()
    return {"shape": list(values.shape), "low": low, "step": max(step, 0.0), "data": data}


def unpack(record: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the array behind what `pack` wrote, which must have this shape; -1 is any size.

    Raises:
        IntegrityError: It has another form or shape, or is not finite.
    """
    if not isinstance(record, Mapping) or set(record) != {"shape", "low", "step", "data"}:
        raise refusal("an array without exactly the keys data, low, shape, step")
    found, low = record["shape"], number(record["low"], "low", least=-MOST, most=MOST)
    step = number(record["step"], "step", least=0.0, most=MOST)
    if not isinstance(found, list) or len(found) != len(shape):
        raise refusal(f"an array of {found!a:.40} axes, wanted {len(shape)}")
    if not all(type(size) is int and size >= 0 and want in (-1, size) for size, want in zip(found, shape, strict=True)):
        raise refusal(f"an array of shape {found!a:.40}, wanted {list(shape)}")
    if math.prod(found) > ELEMENTS_LIMIT:
        raise refusal(f"an array of {math.prod(found)} elements, more than {ELEMENTS_LIMIT}")
    codes = _bytes(record["data"], math.prod(found)).reshape(found)
    return (codes * np.float64(step) + low).astype(np.float32)


def pack_codes(values: Array) -> dict[str, Any]:
    """Return a row of whole numbers, each of two bytes."""
    return {"count": len(values), "data": base64.b64encode(values.astype("<i2").tobytes()).decode()}


def unpack_codes(record: Any) -> NDArray[np.int16]:
    """Return the numbers behind what `pack_codes` wrote.

    Raises:
        IntegrityError: It has another form.
    """
    count, data = fields(record, "count", "data")
    if type(count) is not int or not 0 <= count <= ELEMENTS_LIMIT:
        raise refusal(f"a row of {count!a:.40} numbers")
    return _bytes(data, 2 * count).view("<i2").astype(np.int16)


def number(value: Any, name: str, *, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a finite number of the contract, within these bounds.

    Raises:
        IntegrityError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise refusal(f"{name} {value!a:.40}")
    if not least <= value <= most:
        raise refusal(f"{name} {value!a:.40}, wanted {least} to {most}")
    return float(value)


def fields(record: Any, *names: str) -> list[Any]:
    """Return the values of a mapping that has exactly these keys.

    Raises:
        IntegrityError: It has others.
    """
    if not isinstance(record, Mapping) or set(record) != set(names):
        raise refusal(f"parameters without exactly the keys {', '.join(sorted(names))}")
    return [record[name] for name in names]


def round_to(value: float, digits: int) -> float:
    """Return the number with so many significant digits that is nearest to `value`."""
    return float(f"{value:.{digits - 1}e}")


def refusal(found: str) -> IntegrityError:
    """Return the error of a contract that holds what it may not."""
    return IntegrityError(f"the guard's contract cannot be read: {found}")


def _bytes(text: Any, count: int) -> NDArray[np.uint8]:
    if not isinstance(text, str) or len(text) != 4 * -(-count // 3):
        raise refusal(f"an array's data are no base64 of {count} bytes")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise refusal("an array's data are no base64") from None
    if len(raw) != count:
        raise refusal(f"an array has {len(raw)} bytes, its shape wants {count}")
    return np.frombuffer(raw, np.uint8)
