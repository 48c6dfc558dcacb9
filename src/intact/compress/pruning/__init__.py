"""Ways to say which weights become zero, all over the same layer problem: one file each, named after the file.

They make a model smaller in storage. No engine here skips single zeros, so they do not make it faster:
`intact.compress.channels` does.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.patterns import Keep, Pattern, pattern
from intact.errors import DataError, UsageError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsifying:
    """One layer's problem: set `share` of W to zero such that E||(W - Q) x||^2 = tr((W - Q) H (W - Q)^T) stays small.

    Args:
        weights: W: float64, shape (rows, columns); a row is an output channel.
        gram: H: mean of x x^T over the layer's inputs; float64, shape (columns, columns), symmetric, positive
            semidefinite. None where nothing is known of them, which counts as H = I.
        share: Of the weights that become zero.
        pattern: Which may do so together.
    """

    weights: Array
    gram: Array | None
    share: float
    pattern: Pattern

    def __post_init__(self) -> None:
        self.pattern.refuse_share(self.share)
        self.pattern.refuse_columns(self.weights.shape[1])
        if not np.isfinite(self.weights).all():
            raise DataError("weights to be pruned hold a NaN or an infinity", hint="check the float model")
        if self.gram is not None and not np.isfinite(self.gram).all():
            raise DataError(
                "second moments of a layer's inputs hold a NaN or an infinity", hint="check the calibration data"
            )

    @property
    def importance(self) -> Array:
        """The diagonal of H: float64 >= 0, shape (columns,)."""
        return np.ones(self.weights.shape[1]) if self.gram is None else np.diag(self.gram).clip(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """An answer.

    Args:
        weights: Q: float64, shape (rows, columns), zero wherever `keep` is false.
        keep: Which weights may be other than zero: bool, shape (rows, columns).
        note: What had to be repaired on the way; empty for nothing.
    """

    weights: Array
    keep: Keep
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruner:
    """A way to prune.

    Args:
        name: The file's name.
        prune: Returns weights of the problem's shape with exactly `pattern.zeros(shape, share)` places closed.
        needs_inputs: Whether it looks at the inputs, so that calibration data are wanted.
    """

    name: str
    prune: Callable[[Sparsifying], Pruned]
    needs_inputs: bool = False


@cache
def pruners() -> dict[str, Pruner]:
    """Return every way to prune in this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").PRUNER for name in names}


def pruner(name: str) -> Pruner:
    """Return the way to prune called `name`, or raise UsageError."""
    known = pruners()
    if name not in known:
        raise UsageError(f"no way to prune is called '{name}'", hint=f"known: {', '.join(known)}")
    return known[name]


def prune(weights: Array, gram: Array | None, name: str, sparsity: float, shape: str) -> Pruned:
    """Set `sparsity` of `weights` to zero.

    Args:
        weights: float64, shape (rows, columns).
        gram: As in `Sparsifying`.
        name: Member of this family.
        sparsity: Share of zeros, in [0, 1).
        shape: Pattern as a recipe spells it.

    Raises:
        UsageError: No such member or pattern, a share that contradicts the pattern, columns that do not divide.
        DataError: Weights or moments hold a NaN or an infinity.
        ModelError: The moments are far from positive semidefinite.
    """
    chosen = pruner(name)
    return chosen.prune(Sparsifying(weights=weights, gram=gram, share=sparsity, pattern=pattern(shape)))
