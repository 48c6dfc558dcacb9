"""How much of an output a grant shows: its label, its highest few, rounded values, or all of it.

Hygiene against extraction, no guarantee: what is hidden costs a thief more queries, not his success.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError

Array = NDArray[Any]

FULL: Final = "full"
LABEL: Final = "label"
_FORM: Final = re.compile(r"full|label|top-[1-9][0-9]{0,3}|rounded-[0-9]")


def check(shows: str) -> str:
    """Return `shows`, which must be "full", "label", "top-K" or "rounded-D".

    Raises:
        UsageError: It is not.
    """
    if _FORM.fullmatch(shows) is None:
        raise UsageError(
            f"{shows!a:.40} is no part of an output", hint="give full, label, top-K such as top-3, or rounded-D"
        )
    return shows


def apply(shows: str, outputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """Return what `shows` leaves of `outputs`.

    An output of whole numbers along no more than the batch axis is taken for labels already. Of all others

    - "label" gives the index of the largest value along the last axis, as INT64;
    - "top-K" gives two: `NAME.labels`, the indices of the K largest, and `NAME.scores`, their values;
    - "rounded-D" gives values rounded to D decimals, half to even; whole numbers as they are.

    Args:
        shows: As `check` takes it.
        outputs: Outputs by name.
    """
    return outputs if shows == FULL else _shaper(shows)(outputs)


@lru_cache(maxsize=64)
def _shaper(shows: str) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """Return the function that leaves of outputs what `shows` says."""
    kind, _, number = check(shows).partition("-")
    if kind == "rounded":
        return lambda outputs: {name: _rounded(value, int(number)) for name, value in outputs.items()}
    if kind == "top":
        return lambda outputs: _top(outputs, int(number))
    return lambda outputs: {
        name: value if _is_labels(value) else np.argmax(_rows(value), axis=-1) for name, value in outputs.items()
    }


def _is_labels(value: Array) -> bool:
    return value.ndim < 2 and value.dtype.kind in "uib"


def _rows(value: Array) -> Array:
    """Return `value` with an axis to choose along: a row that is one number has the one index 0."""
    return value if value.ndim > 1 else value[..., None]


def _rounded(value: Array, digits: int) -> Array:
    if value.dtype.kind not in "fV":
        return value
    rounded = np.round(value.astype(np.float64), digits)
    return (rounded + 0.0).astype(value.dtype)  # no minus zero, which would tell the sign of what was rounded away


def _top(outputs: Mapping[str, Array], count: int) -> dict[str, Array]:
    """Return labels and scores of the `count` largest, the largest first; of equals the first comes first."""
    found: dict[str, Array] = {}
    for name, value in outputs.items():
        if _is_labels(value):
            found[name] = value
            continue
        value = _rows(value)
        order = np.argsort(-value.astype(np.float64), axis=-1, kind="stable")[..., :count]
        found[f"{name}.labels"] = order
        found[f"{name}.scores"] = np.take_along_axis(value, order, axis=-1)
    return found


__all__ = ["FULL", "LABEL", "apply", "check"]
