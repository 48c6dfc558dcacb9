"""Where things lie."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.crypto.chunked import PREFIX_BYTES, WIRE_CHUNK_BYTES
from intact.seal import layout


@given(st.integers(0, 5 * layout.SEGMENT_BYTES), st.booleans())
def test_segments_cover_a_tensor_once_and_end_where_chunks_end(size: int, sealed: bool) -> None:
    spans = list(layout.segments(size, sealed=sealed))
    assert [start for start, _ in spans] == [0, *[end for _, end in spans[:-1]]][: len(spans)]
    assert (spans[-1][1] if spans else 0) == size
    assert len(spans) == layout.segment_count(size, sealed=sealed)
    if sealed:
        assert all((end - PREFIX_BYTES) % WIRE_CHUNK_BYTES == 0 for _, end in spans[:-1])


def test_the_index_is_what_safetensors_wants() -> None:
    head = layout.index([("F32", (2, 3)), ("I8", (5,))])
    assert struct.unpack("<Q", head[:8])[0] == len(head) - 8
    assert len(head) % 8 == 0
    assert json.loads(head[8:]) == {
        "t00000": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "t00001": {"dtype": "I8", "shape": [5], "data_offsets": [24, 29]},
    }


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "=f4"])
def test_byte_order_does_not_change_a_type(dtype: str) -> None:
    assert layout.dtype_name(np.dtype(dtype)) == "F32"


@pytest.mark.parametrize("dtype", ["O", "U3", "c8", "M8[s]", [("a", "i4")]])
def test_other_types_have_no_name(dtype: object) -> None:
    assert layout.dtype_name(np.dtype(dtype)) is None
