"""How far two engines may be apart that are both right: measured on the definition, by rounding otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.engine.exact import Plan, execute

AMPLITUDE: Final = 2.0**-16
"""Each value that was computed in float32 moves by this part of itself.

Engines are some 2^-22 apart. A larger step turns more codes at ties, so that few inputs show what many would.
"""

FACTOR: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Distances between an output and what it should be.

    Args:
        euclidean: |y - expected| / |expected|.
        element: max|y - expected| / max|expected|.
    """

    euclidean: float
    element: float


EXACT: Final = Bounds(euclidean=0.0, element=0.0)
FLOOR: Final = Bounds(euclidean=0.01, element=0.02)
"""Allowed to every tolerant model: about one code more or less in an output."""

CAP: Final = Bounds(euclidean=0.2, element=0.5)
"""Allowed to none: further away is another model."""


def distance(found: NDArray[Any], expected: NDArray[Any]) -> Bounds:
    """Return how far `found` is from `expected`, both flat; NaN where it holds one."""
    y, wanted = found.astype(np.float64), expected.astype(np.float64)
    largest = float(np.abs(wanted).max(initial=0.0)) or 1.0
    return Bounds(
        euclidean=float(np.linalg.norm(y - wanted)) / (float(np.linalg.norm(wanted)) or 1.0),
        element=float(np.abs(y - wanted).max(initial=0.0)) / largest,
    )


def noise(plan: Plan, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> Bounds:
    """Return how far the outputs move when every operator in floating point rounds otherwise.

    Args:
        plan: The model.
        inputs: What to run it on.
        outputs: What it gives on them undisturbed.
    """
    moved = execute(plan, inputs, _disturb).outputs
    found = [distance(moved[name].reshape(-1), value.reshape(-1)) for name, value in outputs.items()]
    return _largest(found)


def allowance(noises: Sequence[Bounds]) -> Bounds:
    """Return the bounds of a model that moves so far on its vectors."""
    seen = _largest(noises)
    return Bounds(
        euclidean=min(CAP.euclidean, max(FLOOR.euclidean, FACTOR * seen.euclidean)),
        element=min(CAP.element, max(FLOOR.element, FACTOR * seen.element)),
    )


def _largest(found: Sequence[Bounds]) -> Bounds:
    return Bounds(
        euclidean=max((each.euclidean for each in found), default=0.0),
        element=max((each.element for each in found), default=0.0),
    )


def _disturb(name: str, value: NDArray[Any]) -> NDArray[Any]:
    """Move every element up or down, as a stream of bits made from the tensor's name says."""
    stream = hashlib.shake_128(f"intact/noise/{name}".encode()).digest(-(-value.size // 8))
    bits = np.unpackbits(np.frombuffer(stream, np.uint8), count=value.size).reshape(value.shape)
    moved = value.astype(np.float64) * np.where(bits == 1, 1 + AMPLITUDE, 1 - AMPLITUDE)
    limits = np.finfo(value.dtype)  # a mask may already be the lowest number there is
    return np.clip(moved, limits.min, limits.max).astype(value.dtype)
