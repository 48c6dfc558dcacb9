"""Finding the smallest form of a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError
from intact.numbers.storage.form import MAX_RATIO, Draft, Extent, Parameters
from intact.numbers.storage.forms import forms
from intact.numbers.storage.pieces import WORTH, join

RAW: Final = "raw"
"""The form of bytes as they are, with nothing around them."""
LEAST_BYTES: Final = 256
"""What a form must save at least: it has to be described, and decoded."""
ITEM_SIZES: Final = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A tensor in the form it is stored in.

    Args:
        form: "raw", or a member of the family.
        parameters: What the form needs to know beside shape and item size.
        data: The bytes; of a raw tensor, its own memory.
    """

    form: str
    parameters: Parameters
    data: memoryview


def encode(array: NDArray[Any]) -> Stored:
    """Store `array` in the form that takes the fewest bytes. Equal arrays give equal bytes.

    Args:
        array: Integers, floats or booleans of 1, 2, 4 or 8 bytes, any shape.

    Returns:
        A form from which `decode` gives the little-endian bytes of `array`, every bit of them: of those as small as
        the smallest, or nearly so, the one that is decoded fastest.

    Raises:
        UsageError: The items are of another size.
    """
    if array.dtype.kind not in "?biuf" or array.itemsize not in ITEM_SIZES:
        raise UsageError(f"array has type {array.dtype}, wanted numbers of 1, 2, 4 or 8 bytes")
    matrix = _matrix(array)
    plain = matrix.reshape(-1).view(np.uint8).data
    found = [Stored(form=RAW, parameters={}, data=plain)]
    for form in sorted(forms().values(), key=lambda form: (form.effort, form.name)) if matrix.size else ():
        for draft in form.drafts(matrix):
            data = _joined(draft, least=-(-len(plain) // MAX_RATIO))
            if data is not None:
                found.append(Stored(form=form.name, parameters=draft.parameters, data=memoryview(data)))
    smallest = min(len(stored.data) for stored in found)
    return next(stored for stored in found if len(stored.data) - _slack(len(stored.data)) <= smallest)


def _slack(size: int) -> int:
    """Return how many bytes of `size` are not worth a form that takes longer."""
    return max(size // WORTH, LEAST_BYTES)


def _joined(draft: Draft, *, least: int) -> bytes | None:
    """Return the pieces of a draft as they are stored, in at least `least` bytes; None where that cannot be."""
    for compress in (True, False):
        data = join(draft.pieces, compress=compress)
        if data is not None and len(data) >= least:
            return data
    return None


def _matrix(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` as rows and columns of integers: signed ones only where an item is a byte."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    extent = Extent.of(array.shape, array.itemsize)
    kind = "i1" if array.dtype == np.int8 else f"<u{array.itemsize}"
    return little.view(kind).reshape(extent.rows, extent.columns)
