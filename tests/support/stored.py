"""Tensors that each storage form is made for."""

from __future__ import annotations

import numpy as np

ROWS, COLUMNS = 40, 96


def samples() -> dict[str, np.ndarray]:
    """Return small tensors by what they are; the word before the first space is the form that stores them smallest."""
    rng = np.random.default_rng(11)
    narrow = rng.integers(-7, 8, (ROWS, COLUMNS))
    book = np.array([-127, -64, -30, -11, 0, 7, 29, 90])
    few = np.array([-9, -4, -1, 0, 1, 2, 5, 8])
    tall = (6 * ROWS, COLUMNS)
    kept = rng.random(tall) < 0.2
    found = {
        "raw noise": rng.integers(-128, 128, (ROWS, COLUMNS)),
        "codes narrow": narrow,
        "codes of a book": book[rng.integers(0, 8, (ROWS, COLUMNS))],
        "codes of one value": np.full((ROWS, COLUMNS), -3),
        "multiples in a row": narrow * times(rng, (ROWS, 1), COLUMNS),
        "multiples by 32": narrow * times(rng, (ROWS, 3), 32),
        "multiples by 40, ragged": narrow[:, :80] * times(rng, (ROWS, 2), 40),
        "multiples by 64, ragged": narrow * times(rng, (ROWS, 2), 64)[:, :COLUMNS],
        "multiples down a column": (narrow.T * times(rng, (COLUMNS, 2), 20)).T,
        "multiples of a book": few[rng.integers(0, 8, (ROWS, COLUMNS))] * times(rng, (ROWS, 6), 16),
        "multiples of either sign": book[rng.integers(0, 8, (ROWS, COLUMNS))] * signs(rng, (ROWS, 3), 32),
        "sparse wide": kept * rng.integers(-127, 128, tall),
        "sparse multiples": kept * rng.integers(-31, 32, tall) * times(rng, (6 * ROWS, 3), 32, most=4),
    }
    arrays = {name: array.astype(np.int8) for name, array in found.items()}
    record = rng.integers(0, 256, (64, 9), dtype=np.uint8)
    repeated = record[rng.integers(0, 64, 4096)].reshape(-1).view(np.int32)  # nine bytes again and again, items of four
    return {
        **arrays,
        "codes unsigned": (narrow + 130).astype(np.uint8),
        "codes of floats": rng.normal(size=16).astype(np.float32)[rng.integers(0, 16, (ROWS, COLUMNS))],
        "codes of booleans": rng.random((ROWS, COLUMNS)) < 0.5,
        "planes of floats": rng.normal(size=(ROWS, COLUMNS)).astype(np.float32),
        "planes of halves": rng.normal(size=(ROWS, COLUMNS, 3)).astype(np.float16),
        "zstd repeated": repeated,
    }


def times(rng: np.random.Generator, shape: tuple[int, int], group: int, *, most: int = 15) -> np.ndarray:
    """Return multipliers of 1 to `most` by groups of columns."""
    return np.repeat(rng.integers(1, most + 1, shape), group, axis=1)


def signs(rng: np.random.Generator, shape: tuple[int, int], group: int) -> np.ndarray:
    """Return a factor of 1 or -1 by groups of columns."""
    return np.repeat(rng.choice([-1, 1], shape), group, axis=1)
