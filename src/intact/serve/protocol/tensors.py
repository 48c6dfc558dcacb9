"""Tensors as the Open Inference Protocol writes them, to numpy and back; every length is checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from intact.serve.refused import bad_request

Array = NDArray[Any]

MOST_AXES: Final = 8
MOST_ELEMENTS: Final = 2**28
"""Largest number of elements a shape may name; what a request holds is bounded by its bytes long before."""

DATATYPES: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype("u1"),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
        "INT8": np.dtype("i1"),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "FP16": np.dtype("<f2"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
        "BF16": np.dtype(ml_dtypes.bfloat16),
    }
)
"""Names of the protocol; BYTES is not among them, since no integer model takes text."""

_NAMES: Final[Mapping[np.dtype[Any], str]] = {dtype: name for name, dtype in DATATYPES.items()}


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Return the protocol's name of a numpy type.

    Raises:
        KeyError: The protocol has none.
    """
    return _NAMES[dtype]


def check_shape(name: str, shape: Sequence[object]) -> tuple[int, ...]:
    """Return `shape` as sizes of at least one, few and small enough to be multiplied.

    Raises:
        Refused: It is not that.
    """
    if len(shape) > MOST_AXES:
        raise bad_request(f"input {name!a} has {len(shape)} axes, more than the {MOST_AXES} allowed")
    for size in shape:
        if type(size) is not int or not 1 <= size <= MOST_ELEMENTS:
            raise bad_request(f"shape of input {name!a} has a size that is not from 1 to {MOST_ELEMENTS}")
    sizes = tuple(shape)
    if math.prod(sizes) > MOST_ELEMENTS:  # type: ignore[arg-type]  # each is an int, as was just checked
        raise bad_request(f"input {name!a} has more than the {MOST_ELEMENTS} elements allowed")
    return sizes  # type: ignore[return-value]


def from_bytes(name: str, datatype: str, shape: Sequence[object], data: bytes) -> Array:
    """Return the tensor whose elements are `data`, little-endian and row by row.

    Returns:
        A read-only array over `data`, in the byte order of the protocol.

    Raises:
        Refused: Another datatype, a shape of another length, or a BOOL that is neither 0 nor 1.
    """
    dtype, sizes = _dtype(name, datatype), check_shape(name, shape)
    wanted = math.prod(sizes) * dtype.itemsize
    if len(data) != wanted:
        raise bad_request(f"input {name!a} has {len(data)} bytes, but its shape and datatype make {wanted}")
    if dtype.kind == "b" and np.frombuffer(data, np.uint8).max() > 1:
        raise bad_request(f"input {name!a} has a BOOL that is neither 0 nor 1")
    return np.frombuffer(data, dtype).reshape(sizes)


def from_values(name: str, datatype: str, shape: Sequence[object], values: object) -> Array:
    """Return the tensor of JSON or typed gRPC values, nested or flat.

    Raises:
        Refused: Another datatype, another number of elements, values of another kind or out of its range.
    """
    dtype, sizes = _dtype(name, datatype), check_shape(name, shape)
    nested, flat = _flatten(name, values)
    if len(flat) != math.prod(sizes):
        raise bad_request(f"data of input {name!a} are {len(flat)} elements, but its shape has {math.prod(sizes)}")
    if len(nested) > 1 and nested != sizes:
        raise bad_request(f"data of input {name!a} nest as {list(nested)}, but its shape is {list(sizes)}")
    return _as(name, flat, dtype).reshape(sizes)


def to_bytes(value: Array) -> bytes:
    """Return the elements of `value`, little-endian and row by row."""
    return value.astype(DATATYPES[_NAMES[value.dtype]], copy=False).tobytes()


def _dtype(name: str, datatype: object) -> np.dtype[Any]:
    """Return the numpy type of a datatype."""
    found = DATATYPES.get(datatype) if isinstance(datatype, str) else None
    if found is None:
        raise bad_request(
            f"datatype of input {name!a} is {datatype!a:.40}", hint=f"it may be one of {', '.join(DATATYPES)}"
        )
    return found


def _flatten(name: str, values: object) -> tuple[tuple[int, ...], list[Any]]:
    """Return the sizes of nested lists, and what they hold; each list of an axis must be as long as its siblings."""
    level: list[Any] = values if type(values) is list else []
    sizes = [len(level)]
    while level and type(level[0]) is list:
        if len(sizes) == MOST_AXES or set(map(type, level)) != {list} or len(set(map(len, level))) != 1:
            raise bad_request(f"data of input {name!a} are ragged, or nest deeper than {MOST_AXES} lists")
        sizes.append(len(level[0]))
        level = list(chain.from_iterable(level))
    return tuple(sizes), level


_TAKES: Final[Mapping[str, set[type]]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}, "V": {int, float}}
"""What values a type of this kind is made from: a number never from text, nor a truth value from a number."""


def _as(name: str, flat: list[Any], dtype: np.dtype[Any]) -> Array:
    """Return `flat` in `dtype`, which must hold every value of it."""
    if not set(map(type, flat)) <= _TAKES[dtype.kind]:
        raise bad_request(f"data of input {name!a} are not all values of datatype {_NAMES[dtype]}")
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        if min(flat) < limits.min or max(flat) > limits.max:
            raise bad_request(f"data of input {name!a} are out of the range of {_NAMES[dtype]}")
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which the model refuses
            return np.array(flat, np.float64).astype(dtype) if dtype.kind in "fV" else np.array(flat, dtype)
    except OverflowError:
        raise bad_request(f"data of input {name!a} are out of the range of {_NAMES[dtype]}") from None
