"""How far two models agree on the same inputs, where nobody said what is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Agreement of one output on one set of inputs.

    Args:
        output: The output's name.
        rows: Inputs compared.
        same_label: Share of rows whose largest output is the same; None where the output is no row of scores.
        cosine: Mean cosine between the outputs of a row.
        error: Euclidean distance of all outputs over the length of the float ones; 0 where both are zero.
    """

    output: str
    rows: int
    same_label: float | None
    cosine: float
    error: float


def agree(output: str, first: Array, second: Array) -> Agreement:
    """Compare two outputs of shape (rows, ...), the float one first."""
    first, second = np.atleast_1d(first), np.atleast_1d(second)
    rows = len(first)
    a, b = (value.reshape(rows, -1).astype(np.float64) for value in (first, second))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), (a == b).all(axis=1))
    labels = first.ndim == 2 and first.shape[1] > 1
    return Agreement(
        output=output,
        rows=rows,
        same_label=float((a.argmax(axis=1) == b.argmax(axis=1)).mean()) if labels else None,
        cosine=float(cosine.mean()),
        error=_relative(float(np.linalg.norm(a - b)), float(np.linalg.norm(a))),
    )


def _relative(distance: float, length: float) -> float:
    if length == 0.0:
        return 0.0 if distance == 0.0 else float("inf")
    return distance / length


def pool(parts: Sequence[Agreement]) -> Agreement | None:
    """Join agreements of one output on several sets of inputs; None where there are none."""
    rows = sum(part.rows for part in parts)
    if not rows:
        return None
    labels = [part.same_label for part in parts]
    same = None if None in labels else sum((part.same_label or 0.0) * part.rows for part in parts) / rows
    return Agreement(
        output=parts[0].output,
        rows=rows,
        same_label=same,
        cosine=sum(part.cosine * part.rows for part in parts) / rows,
        error=float(np.sqrt(sum(part.error**2 * part.rows for part in parts) / rows)),
    )


def worst(found: Sequence[Agreement]) -> Agreement | None:
    """The output that agrees least; None where there is none."""
    return max(found, key=lambda agreement: agreement.error, default=None)
