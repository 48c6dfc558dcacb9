"""Where things lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact import seal
from intact.crypto.chunked import PREFIX_BYTES, WIRE_CHUNK_BYTES
from intact.errors import UsageError
from intact.graph import Program
from intact.seal import layout
from intact.wire import count_values, encode


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


@pytest.mark.parametrize("sealed", [True, False])
def test_the_most_tensors_hold_few_enough_values(sealed: bool) -> None:
    kind: dict[str, object] = {"dtype": "U8", "shape": [1] if sealed else [1, 1, 1, 1], "segments": ["0" * 64]}
    data = encode({"tensors": [kind] * layout.MAX_TENSORS})
    assert count_values(data) < layout.most_values(len(data))


@pytest.mark.parametrize("part", ["card", "lineage"])
def test_what_no_reader_takes_is_not_written(tmp_path: Path, part: str) -> None:
    parts = {"header": {}, "card": {}, "lineage": {}, part: {"zeros": [0] * 2**19}}
    payload = seal.Payload(program=Program(model=b"graph", tensors={}), **parts)
    with pytest.raises(UsageError, match=r"json would have more than the \d+ values allowed"):
        seal.write(payload, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
