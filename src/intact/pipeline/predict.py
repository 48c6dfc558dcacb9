"""The same call for the float and the integer model: what `evaluate` is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.graph.run import is_batched
from intact.graph.view import Port
from intact.pipeline.spec import as_arrays

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]

MAX_BATCH = 64
"""Rows given to an engine at a time; larger calls are cut, which cannot change a row's result."""


def batch_size(ports: Sequence[Port]) -> int:
    """Rows that fit in one call: `MAX_BATCH` where they may vary, the model's own number where it is fixed, else 0."""
    if is_batched(ports):
        return MAX_BATCH
    sizes = {port.shape[0] if port.shape else 0 for port in ports}
    size = sizes.pop() if len(sizes) == 1 else 0
    return size if isinstance(size, int) else 0


def cut(feeds: Mapping[str, Array], size: int) -> list[Mapping[str, Array]]:
    """Cut arrays that share their first axis into pieces of at most `size` rows; leave them whole where it is 0."""
    rows = len(next(iter(feeds.values()), ())) if size else 0
    if rows <= size:
        return [feeds]
    return [{name: value[at : at + size] for name, value in feeds.items()} for at in range(0, rows, size)]


class Predictor:
    """A model behind one call: takes arrays by name, in order, or alone; gives an array, or a mapping of them.

    Args:
        inputs: The model's inputs.
        outputs: Their names in order.
        run: The engine; it checks what it is given.
        rows_apart: Whether a row's result depends on that row alone, so that a long call may be cut.
    """

    def __init__(self, *, inputs: Sequence[Port], outputs: Sequence[str], run: Run, rows_apart: bool = True) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._run = run
        self._names = [port.name for port in self.inputs]
        self._dtypes = {port.name: port.dtype for port in self.inputs}
        self._size = batch_size(self.inputs) if rows_apart or not is_batched(self.inputs) else 0

    def __call__(self, data: Any) -> Any:
        """Run on `data`, any number of rows.

        Raises:
            DataError: A name, dtype, shape or value does not fit.
        """
        results = self.run(data)
        return results[self.outputs[0]] if len(self.outputs) == 1 else results

    def run(self, data: Any) -> dict[str, Array]:
        """Run on `data` and return every output by name."""
        alone = type(data) is np.ndarray and len(self._names) == 1
        feeds = {self._names[0]: data} if alone else as_arrays(data, self._names)
        feeds = {name: self._cast(name, value) for name, value in feeds.items()}
        parts = [self._run(part) for part in cut(feeds, self._size)]
        if len(parts) == 1:
            return dict(parts[0])
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def _cast(self, name: str, value: Array) -> Array:
        """Another width of the same kind of number is taken; anything else is the engine's to refuse."""
        wanted = self._dtypes.get(name, value.dtype)
        if value.dtype == wanted or not np.can_cast(value.dtype, wanted, casting="same_kind"):
            return value
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
            result = value.astype(wanted)
        return value if wanted.kind in "iu" and not np.array_equal(result, value) else result
