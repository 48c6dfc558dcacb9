import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import IntegrityError, UsageError
from intact.numbers.packing import PLANES, pack, packed_size, unpack


@st.composite
def coded(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    bits = draw(st.integers(1, 8))
    return bits, np.array(draw(st.lists(st.integers(0, 2**bits - 1), max_size=70)), dtype=np.uint8)


@given(coded())
def test_roundtrip(case: tuple[int, np.ndarray]) -> None:
    bits, codes = case
    data = pack(codes, bits)
    back = unpack(data, bits, codes.size)
    assert len(data) == packed_size(codes.size, bits) == -(-codes.size // 8) * bits
    assert back.dtype == np.uint8
    assert np.array_equal(back, codes)


@given(coded())
def test_every_bit_lies_where_the_specification_says(case: tuple[int, np.ndarray]) -> None:
    bits, codes = case
    stream = np.zeros(packed_size(codes.size, bits), np.uint8)
    padded, start, left = -(-codes.size // 8) * 8, 0, bits
    for width in {7: (4, 2, 1), 6: (4, 2), 5: (4, 1), 3: (2, 1)}.get(bits, (bits,)):
        left -= width
        size = width * padded // 8
        for i, code in enumerate(codes.tolist()):
            stream[start + i % size] |= (code >> left) % 2**width << width * (i // size)
        start += size
    assert pack(codes, bits) == stream.tobytes()


def test_planes_are_powers_of_two_and_add_up() -> None:
    assert all(sum(planes) == bits and {*planes} <= {1, 2, 4, 8} for bits, planes in PLANES.items())


def test_known_answers() -> None:
    assert pack(np.array([1, 2, 3]), 4) == bytes([0x01, 0x02, 0x03, 0x00])
    assert pack(np.array([1, 2, 3, 4, 5]), 4) == bytes([0x51, 0x02, 0x03, 0x04])
    assert pack(np.array([5, 1, 7]), 3) == bytes([0b1110, 0b0000, 0b111])


def test_any_shape_is_taken_in_c_order() -> None:
    codes = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert pack(codes.T, 4) == pack(codes.T.reshape(-1).copy(), 4)


@pytest.mark.parametrize("change", [-1, 1])
@given(case=coded())
def test_a_wrong_length_is_refused(change: int, case: tuple[int, np.ndarray]) -> None:
    bits, codes = case
    data = pack(codes, bits)
    damaged = data[:-1] if change < 0 else data + b"\0"
    if len(damaged) != len(data):
        with pytest.raises(IntegrityError, match="packed codes take"):
            unpack(damaged, bits, codes.size)


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_code_after_the_last_is_refused(bits: int) -> None:
    for place in range(3, 8):
        codes = np.zeros(8, np.uint8)
        codes[place] = 1
        with pytest.raises(IntegrityError, match="after the last are not zero"):
            unpack(pack(codes, bits), bits, 3)


@pytest.mark.parametrize(("codes", "bits"), [([4], 2), ([-1], 8), ([256], 8), ([2], 1)])
def test_a_code_that_does_not_fit_is_refused(codes: list[int], bits: int) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        pack(np.array(codes), bits)


def test_floats_and_odd_widths_are_refused() -> None:
    with pytest.raises(UsageError, match="wanted integers"):
        pack(np.array([1.0]), 4)
    for bits in (0, 9):
        with pytest.raises(UsageError, match="wanted 1 to 8"):
            pack(np.array([1]), bits)
    with pytest.raises(UsageError, match="wanted 0 or more"):
        unpack(b"", 4, -1)
