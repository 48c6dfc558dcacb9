"""What checks look at: the rows of one call, and what was computed from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Run: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]

WIDTH: Final = 256
"""Most features that are kept of a layer; of more, neighbours are averaged."""
CLASSES: Final = 1024
"""An output with more columns is not taken for scores of labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """One input of the model.

    Args:
        name: Its name.
        dtype: numpy name of its element type.
        shape: Sizes; a text is the name of a size that may vary.
    """

    name: str
    dtype: str
    shape: tuple[Any, ...]

    @property
    def varies(self) -> bool:
        """Whether a row may have one size or another."""
        return any(isinstance(size, str) for size in self.shape[1:])

    def fits(self, value: Array, sizes: dict[str, int]) -> bool:
        """Whether an array has this dtype and shape; one name is one size, which `sizes` gathers."""
        if value.dtype.name != self.dtype or value.ndim != len(self.shape):
            return False
        for actual, wanted in zip(value.shape, self.shape, strict=True):
            if actual < 1 or actual != (sizes.setdefault(wanted, actual) if isinstance(wanted, str) else wanted):
                return False
        return True


def row_axis(takes: Sequence[Takes]) -> bool:
    """Whether the first axis of all inputs is one and the same: rows."""
    firsts = {each.shape[0] if each.shape else None for each in takes}
    return len(firsts) == 1 and None not in firsts


class Rows:
    """The rows of one call.

    Args:
        takes: The model's inputs.
        feeds: What it was given.
        outputs: What it gave; None before the run.
        features: A layer's codes, rows first; None where none are tapped.
        zero: The code of zero in them.
        scores: Name of the output that holds scores of labels; None where there is none.
        chances: Whether these are probabilities.
        run: The model, to be asked again.
    """

    def __init__(
        self,
        *,
        takes: Sequence[Takes],
        feeds: Mapping[str, Array],
        outputs: Mapping[str, Array] | None = None,
        features: Array | None = None,
        zero: int = 0,
        scores: str | None = None,
        chances: bool = False,
        run: Run | None = None,
    ) -> None:
        self.takes = takes
        self.feeds = feeds
        self.outputs = outputs or {}
        self.features = features
        self.zero = zero
        self.scores = scores
        self.chances = chances
        self.run = run
        self.count = _count(takes, feeds)

    @cached_property
    def fits(self) -> bool:
        """Whether names, dtypes and shapes are the model's."""
        sizes: dict[str, int] = {}
        feeds = self.feeds
        return len(feeds) == len(self.takes) and all(
            each.name in feeds and each.fits(feeds[each.name], sizes) for each in self.takes
        )

    @cached_property
    def logits(self) -> Array | None:
        """Scores of labels, float32 (rows, labels); logarithms where they are probabilities. None without such."""
        found = None if self.scores is None else self.outputs[self.scores]
        if found is None or not self.chances:
            return found
        return np.log(np.maximum(found, np.float32(1e-30)))

    @cached_property
    def embedding(self) -> Array | None:
        """The rows as features: of the tapped layer, else of an output; float32 (rows, features)."""
        source = self.features
        if source is None and self.outputs:
            source = self.outputs[self.scores] if self.scores else next(iter(self.outputs.values()))
        if source is None or source.ndim < 2 or len(source) != self.count:
            return None
        features = pooled(source)
        if self.features is not None and self.zero:
            features = features - np.float32(self.zero)
        return features


def _count(takes: Sequence[Takes], feeds: Mapping[str, Array]) -> int:
    """Return how many rows there are; 1 where the model has none, or there is nothing to count."""
    first = feeds.get(takes[0].name) if takes and row_axis(takes) else None
    return len(first) if first is not None and first.ndim and len(first) else 1


def softmax(logits: Array, temperature: float) -> Array:
    """Return the probabilities of labels, float32."""
    shifted = (logits - logits.max(axis=1, keepdims=True)) * np.float32(1 / temperature)
    exponentials = np.exp(shifted, out=shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def are_probabilities(values: Array) -> bool:
    """Whether every row is a distribution already."""
    return float(values.min()) >= 0.0 and bool(np.abs(values.sum(axis=1) - 1.0).max() < 1e-3)


def pooled(values: Array, width: int = WIDTH) -> Array:
    """Return (rows, features) float32: the mean over positions, and over neighbours where features are many.

    Args:
        values: (rows, features), (rows, positions, features), or (rows, features, height, width) and the like.
        width: Most features to return.
    """
    if values.ndim == 3:
        values = values.mean(axis=1, dtype=np.float32)
    elif values.ndim > 3:
        values = values.reshape(*values.shape[:2], -1).mean(axis=2, dtype=np.float32)
    if values.shape[1] > width:
        size = -(-values.shape[1] // width)
        starts = np.arange(0, values.shape[1], size)
        sums = np.add.reduceat(values.astype(np.float32), starts, axis=1)
        return np.asarray(sums / np.diff(np.append(starts, values.shape[1])).astype(np.float32))
    return values.astype(np.float32, copy=False)
