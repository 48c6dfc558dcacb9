"""Real numbers to whole numbers: five roundings, each exact for every finite float."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError

Float = TypeVar("Float", bound=np.floating)


class Rounding(StrEnum):
    """Where a number between two integers goes."""

    FLOOR = "floor"
    HALF_EVEN = "half_even"
    HALF_UP = "half_up"
    HALF_AWAY = "half_away"
    STOCHASTIC = "stochastic"


def floor(x: NDArray[Float]) -> NDArray[Float]:
    """Return the largest integer <= x."""
    return np.asarray(np.floor(x))


def half_even(x: NDArray[Float]) -> NDArray[Float]:
    """Return the nearest integer, ties to the even one (IEEE 754 roundTiesToEven)."""
    return np.asarray(np.rint(x))


def half_up(x: NDArray[Float]) -> NDArray[Float]:
    """Return the nearest integer, ties towards +infinity: floor(x + 1/2) without its rounding error."""
    below = np.floor(x)
    return np.asarray(below + (x - below >= 0.5))  # x - below is exact, or rounds to 1 for x just under 0


def half_away(x: NDArray[Float]) -> NDArray[Float]:
    """Return the nearest integer, ties away from zero."""
    return np.asarray(np.copysign(half_up(np.abs(x)), x))


def stochastic(x: NDArray[Float], generator: np.random.Generator) -> NDArray[Float]:
    """Return floor(x) or floor(x) + 1, the second with probability x - floor(x), so that the mean is x.

    It is floor(x + u) with u uniform in [0, 1); integers stay as they are.

    Args:
        x: Finite values.
        generator: Source of the draws, one float64 per element in C order.
    """
    below = np.floor(x)
    return np.asarray(below + (generator.random(np.shape(x)) < x - below))


def rounded(x: NDArray[Float], rounding: Rounding, generator: np.random.Generator | None = None) -> NDArray[Float]:
    """Round `x` by the named rule.

    Args:
        x: Finite values, any shape, a float dtype, which is kept.
        rounding: The rule.
        generator: Needed by `Rounding.STOCHASTIC`, refused by the others.

    Raises:
        UsageError: A generator is missing, or given to a rule that draws nothing.
    """
    if rounding is Rounding.STOCHASTIC:
        if generator is None:
            raise UsageError("stochastic rounding needs a generator", hint="pass numpy.random.default_rng(seed)")
        return stochastic(x, generator)
    if generator is not None:
        raise UsageError(f"rounding '{rounding}' draws no random numbers but a generator was given")
    rules = {
        Rounding.FLOOR: floor,
        Rounding.HALF_EVEN: half_even,
        Rounding.HALF_UP: half_up,
        Rounding.HALF_AWAY: half_away,
    }
    return rules[rounding](x)
