"""What must hold of the float model before it is compared with an integer one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.errors import ModelError
from intact.graph.run import Runner, is_batched
from intact.graph.view import Port

Array = NDArray[Any]

SAME = 1e-3
"""Relative Euclidean distance up to which two float runs count as the same: sums may be taken in another order."""


def refuse_changed(source: Runner, normalised: Runner, feeds: Mapping[str, Array]) -> None:
    """Raise ModelError where the normalised graph is another function than the model it came from.

    The integer model is made from the normalised graph, so a wrong rewrite could not be seen in any later check.
    """
    before, after = source(feeds), normalised(feeds)
    for name in source.fetch:
        if before[name].shape != after[name].shape or not _same(before[name], after[name]):
            raise ModelError(
                f"normalising changed output '{name}' of the float model",
                hint="this is a defect of intact: report it with the model, and build from an export without it",
            )


def rows_are_apart(source: Runner, ports: Sequence[Port], feeds: Mapping[str, Array]) -> bool:
    """Whether a row's outputs depend on that row alone, as far as the rows of `feeds` (two or more) show."""
    rows = len(next(iter(feeds.values())))
    if not is_batched(ports) or rows < 2:
        return False
    whole = source(feeds)
    if any(value.ndim == 0 or len(value) != rows for value in whole.values()):
        return False
    for row in (0, rows - 1):
        alone = source({name: value[row : row + 1] for name, value in feeds.items()})
        for name, value in whole.items():
            if alone[name].shape != value[row : row + 1].shape or not _same(value[row : row + 1], alone[name]):
                return False
    return True


def _same(wanted: Array, found: Array) -> bool:
    a, b = wanted.astype(np.float64), found.astype(np.float64)
    return bool(np.linalg.norm(a - b) <= SAME * max(np.linalg.norm(a), np.finfo(np.float32).tiny))
