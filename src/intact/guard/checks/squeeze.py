"""How far the answer moves when fine detail is taken from the input: far, where an attack lives in that detail.

Source: Xu, Evans, Qi 2018, arXiv:1704.01155, section 4: reduced depth, and a median filter for images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from intact.guard.arrays import fields
from intact.guard.check import Array, Check, Params, Score
from intact.guard.rows import Rows, are_probabilities, softmax

LEVELS: Final = 8
"""Values that are left of each input, spread over the row's own range."""
EDGE: Final = 3
"""Smallest height and width of what is filtered as an image."""


def measure(rows: Rows) -> Array | None:
    """Return the largest L1 distance between the answers to a row and to it squeezed; None where there is no way."""
    if rows.run is None or not rows.outputs or not any(each.dtype == "float32" for each in rows.takes):
        return None
    name = rows.scores or next(iter(rows.outputs))
    before = _answer(rows.outputs[name], scores=rows.scores is not None)
    if before.shape[0] != rows.count:
        return None
    away = np.zeros(rows.count, np.float32)
    for feeds in squeezed(rows.feeds):
        after = _answer(rows.run(feeds)[name], scores=rows.scores is not None)
        away = np.maximum(away, np.abs(after - before).sum(axis=1))
    return away[:, None]


def squeezed(feeds: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Yield the inputs with less depth, and images smoothed."""
    yield {name: shallow(value) if value.dtype.kind == "f" else value for name, value in feeds.items()}
    if any(_image(value) for value in feeds.values()):
        yield {name: smooth(value) if _image(value) else value for name, value in feeds.items()}


def shallow(value: Array) -> Array:
    """Round every row to `LEVELS` values between its least and its greatest."""
    flat = value.reshape(len(value), -1)
    low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
    step = np.maximum(high - low, np.float32(1e-12)) / (LEVELS - 1)
    return np.asarray((np.rint((flat - low) / step) * step + low).reshape(value.shape), value.dtype)


def smooth(value: Array) -> Array:
    """Replace every value by the median of the nine around it, over the last two axes."""
    padded = np.pad(value, [*[(0, 0)] * (value.ndim - 2), (1, 1), (1, 1)], mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(-2, -1))
    return np.asarray(np.median(around.reshape(*value.shape, 9), axis=-1), value.dtype)


def bind(params: Params) -> Score:
    """Take what is measured as it is."""
    fields(params)
    return lambda measured: measured[:, 0]


def _image(value: Array) -> bool:
    return value.dtype.kind == "f" and value.ndim == 4 and min(value.shape[2:]) >= EDGE


def _answer(output: Array, *, scores: bool) -> Array:
    """Probabilities where there are scores of labels, else the output over its length."""
    if scores:
        return output if are_probabilities(output) else softmax(output, 1.0)
    flat = output.reshape(len(output), -1).astype(np.float32)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12))


CHECK = Check(name="squeeze", place="output", mode="off", measure=measure, bind=bind, asks=True)
