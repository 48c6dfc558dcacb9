import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import IntegrityError, UsageError
from intact.numbers.packing import pack, packed_size, unpack


@st.composite
def coded(draw: st.DrawFn) -> tuple[int, bool, np.ndarray]:
    bits, signed = draw(st.integers(2, 8)), draw(st.booleans())
    low = -(2 ** (bits - 1)) if signed else 0
    values = draw(st.lists(st.integers(low, low + 2**bits - 1), max_size=70))
    return bits, signed, np.array(values, dtype=np.int8 if signed else np.uint8)


@given(coded())
def test_roundtrip(case: tuple[int, bool, np.ndarray]) -> None:
    bits, signed, codes = case
    data = pack(codes, bits, signed=signed)
    back = unpack(data, bits, codes.size, signed=signed)
    assert len(data) == packed_size(codes.size, bits) == -(-codes.size * bits // 8)
    assert back.dtype == codes.dtype
    assert np.array_equal(back, codes)


@given(coded())
def test_the_stream_is_the_sum_of_shifted_codes(case: tuple[int, bool, np.ndarray]) -> None:
    bits, signed, codes = case
    stream = sum((int(code) % 2**bits) << (i * bits) for i, code in enumerate(codes))
    assert int.from_bytes(pack(codes, bits, signed=signed), "little") == stream


def test_a_known_answer() -> None:
    assert pack(np.array([1, 2, 3]), 4, signed=False) == bytes([0x21, 0x03])
    assert pack(np.array([-1, 0, -2]), 3, signed=True) == bytes([0b10000111, 0b1])


def test_any_shape_is_read_in_c_order() -> None:
    codes = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert pack(codes.T, 4, signed=False) == pack(codes.T.reshape(-1).copy(), 4, signed=False)


@pytest.mark.parametrize("change", [-1, 1])
@given(case=coded())
def test_a_wrong_length_is_refused(change: int, case: tuple[int, bool, np.ndarray]) -> None:
    bits, signed, codes = case
    data = pack(codes, bits, signed=signed)
    damaged = data[:-1] if change < 0 else data + b"\0"
    if len(damaged) != len(data):
        with pytest.raises(IntegrityError, match="packed codes take"):
            unpack(damaged, bits, codes.size, signed=signed)


@pytest.mark.parametrize("bits", range(2, 8))
def test_every_set_bit_after_the_last_code_is_refused(bits: int) -> None:
    data = pack(np.zeros(3, dtype=np.uint8), bits, signed=False)
    for bit in range(3 * bits, 8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] |= 1 << bit % 8
        with pytest.raises(IntegrityError, match="wanted zeros"):
            unpack(bytes(damaged), bits, 3, signed=False)


@pytest.mark.parametrize(
    ("codes", "bits", "signed"), [([4], 2, False), ([-1], 8, False), ([2], 2, True), ([-3], 2, True)]
)
def test_a_code_that_does_not_fit_is_refused(codes: list[int], bits: int, signed: bool) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        pack(np.array(codes), bits, signed=signed)


def test_floats_and_odd_widths_are_refused() -> None:
    with pytest.raises(UsageError, match="wanted integers"):
        pack(np.array([1.0]), 4, signed=False)
    for bits in (1, 9):
        with pytest.raises(UsageError, match="wanted 2 to 8"):
            pack(np.array([1]), bits, signed=False)
    with pytest.raises(UsageError, match="wanted 0 or more"):
        unpack(b"", 4, -1, signed=False)
