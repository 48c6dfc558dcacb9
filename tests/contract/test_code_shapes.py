"""Every shape of codes found in the folder keeps the contract of `Shape`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intact.compress import shapes
from intact.compress.shapes import LARGEST, NARROW, room, shape
from intact.errors import UsageError

SHAPES = shapes.shapes()


def test_every_file_is_a_shape_of_its_name() -> None:
    files = {path.stem.replace("_", "-") for path in Path(shapes.__file__).parent.glob("*.py")} - {"--init--"}
    assert set(SHAPES) == files == {"uniform", "nf4", "kmeans", "powers", "two-powers"}


def test_an_unknown_shape_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'nf5'") as refused:
        shape("nf5")
    assert all(name in str(refused.value.hint) for name in SHAPES)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=60, deadline=None)
@given(
    weights=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    bits=st.integers(2, 8),
    weighed=st.booleans(),
    largest=st.sampled_from([LARGEST, NARROW]),
)
def test_levels_are_few_whole_ascending_and_hold_zero(
    name: str, weights: np.ndarray, bits: int, weighed: bool, largest: int
) -> None:
    weights = weights.astype(np.float64)
    importance = np.arange(weights.shape[1], dtype=np.float64) if weighed else None
    levels = SHAPES[name].levels(weights, bits, importance, largest)
    assert levels.dtype == np.int64
    assert 2 <= len(levels) <= 2**bits
    assert (np.diff(levels) > 0).all()
    assert 0 in levels
    assert np.abs(levels).max() <= (LARGEST if name == "uniform" else largest)
    np.testing.assert_array_equal(levels, SHAPES[name].levels(weights, bits, importance, largest))


def test_room_is_for_multipliers_where_they_choose_the_scale() -> None:
    assert {room(bits, 0, False) for bits in range(2, 9)} == {127}
    assert {room(4, 32, False), room(4, 0, True), room(4, 32, True)} == {21}
    assert [room(bits, 32, True) for bits in range(2, 9)] == [21, 21, 21, 21, 42, 127, 127]
