"""Which tensors an engine reads from the memory it was handed, and which it copied: found by trying.

Engines pack weights for their kernels, or fold them into others, and do not say so. A tensor whose bits are all changed
for the length of one run, and whose change no output shows, is not read from there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.engine.backend import EngineError, Session

_MASKS: Final[Mapping[str, int]] = {"i1": 0x55, "u1": 0x55, "i4": 0x0155, "f4": 0x0040_0000}
"""What is flipped of each element, by the kind of the tensor: enough to show, and never a NaN or an infinity of it."""


def read_in_place(
    session: Session, tensors: Mapping[str, NDArray[Any]], feeds: Mapping[str, NDArray[Any]]
) -> frozenset[str]:
    """Return the names of the tensors that a session reads where they lie.

    Every tensor is changed while the session runs once, and changed back; nobody else may use the session meanwhile.

    Args:
        session: The session.
        tensors: The program's tensors, to know their types.
        feeds: Inputs that reach the whole graph.

    Returns:
        Names of those that are certainly read in place. A tensor that changes no output on `feeds`, or of a type that
        is not tried since it may hold shapes or indices, is not among them.
    """
    before = session.run(feeds)
    found = set()
    for name, memory in session.weights.items():
        mask = _MASKS.get(_kind(tensors[name])) if name in tensors else None
        if mask is None or not memory.nbytes:
            continue
        flip(memory, mask)
        try:
            after = session.run(feeds)
            seen = any(not np.array_equal(after[output], before[output], equal_nan=True) for output in before)
        except EngineError:
            seen = True
        finally:
            flip(memory, mask)
        if seen:
            found.add(name)
    return frozenset(found)


def flip(memory: NDArray[np.uint8], mask: int) -> None:
    """Flip the bits of `mask` in every element of `memory`, in place, though the array is read-only."""
    width = 4 if mask > 0xFF else 1
    kind = ctypes.c_uint32 if width == 4 else ctypes.c_uint8
    place = np.ctypeslib.as_array((kind * (memory.nbytes // width)).from_address(memory.ctypes.data))
    place ^= np.asarray(mask, place.dtype)


def _kind(tensor: NDArray[Any]) -> str:
    """Return kind and size of an element; nibbles count as bytes."""
    return "u1" if tensor.dtype.name in ("int4", "uint4") else tensor.dtype.str[1:]
