"""Checksums of memory: every flipped bit shows, and what is put back is what was there."""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact.engine.scrub import Checksums, Group
from intact.graph.program import memory_of

RNG = np.random.default_rng(0)


def frozen(size: int) -> NDArray[np.uint8]:
    """Return random bytes that numpy will not write to."""
    data = RNG.integers(0, 256, size, dtype=np.uint8)
    data.flags.writeable = False
    return data


def flip(memory: NDArray[np.uint8], bit: int) -> None:
    (ctypes.c_uint8 * memory.nbytes).from_address(memory.ctypes.data)[bit // 8] ^= 1 << bit % 8


def test_groups_cover_every_byte_once() -> None:
    taken = Checksums.take({"a": frozen(25), "b": frozen(8), "empty": frozen(0)}, 10)
    assert taken.groups == (
        Group(tensor="a", start=0, end=10),
        Group(tensor="a", start=10, end=20),
        Group(tensor="a", start=20, end=25),
        Group(tensor="b", start=0, end=8),
    )
    assert taken.nbytes == 33
    assert str(taken.groups[2]) == "'a' bytes 20 to 24"


def test_every_flipped_bit_shows_in_its_group() -> None:
    memory = {"a": frozen(21), "b": frozen(5)}
    taken = Checksums.take(memory, 8)
    for name, data in memory.items():
        for bit in range(8 * data.nbytes):
            flip(data, bit)
            wrong = [group for number, group in enumerate(taken.groups) if not taken.holds(number)]
            assert [(group.tensor, group.start <= bit // 8 < group.end) for group in wrong] == [(name, True)]
            flip(data, bit)
    assert all(taken.holds(number) for number in range(len(taken.groups)))


@given(st.sets(st.integers(0, 8 * 40 - 1), min_size=1))
def test_what_changed_is_put_back_in_place(bits: set[int]) -> None:
    data = frozen(40)
    before = data.copy()
    taken = Checksums.take({"a": data}, 16)
    for bit in bits:
        flip(data, bit)
    wrong = [number for number in range(len(taken.groups)) if not taken.holds(number)]
    assert {bit // 128 for bit in bits} == set(wrong)
    for number in wrong:
        assert taken.restore(number, before)
    assert np.array_equal(data, before)


def test_nothing_is_written_that_has_another_checksum() -> None:
    data = frozen(16)
    taken = Checksums.take({"a": data})
    flip(data, 3)
    before = data.copy()
    assert not taken.restore(0, np.zeros(16, np.uint8))
    assert np.array_equal(data, before)


def test_every_process_and_model_has_a_key_of_its_own() -> None:
    data = {"a": frozen(16)}
    assert Checksums.take(data).sums != Checksums.take(data).sums


def test_keys_and_sums_do_not_show() -> None:
    taken = Checksums.take({"a": frozen(16)})
    assert repr(taken.key) not in repr(taken)
    assert repr(taken.sums[0]) not in repr(taken)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.int64, np.bool_])
def test_engines_get_the_memory_of_a_tensor_itself(dtype: Any) -> None:
    tensor = np.ones((3, 4), dtype)
    assert memory_of(tensor).ctypes.data == tensor.ctypes.data
    assert memory_of(tensor).nbytes == tensor.nbytes


def test_nibbles_share_bytes() -> None:
    tensor = np.array([[1, -2, 3], [4, 5, -8]]).astype(ml_dtypes.int4)
    assert memory_of(tensor).tolist() == [0xE1, 0x43, 0x85]
    assert memory_of(tensor.reshape(-1)[:3]).tolist()[0] == 0xE1
