"""Tensors stored and read back: nothing is lost, the smallest form is found, hostile bytes are refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intact.errors import IntegrityError, UsageError
from intact.numbers.storage import Stored, check_size, decode, encode
from intact.numbers.storage.form import MAX_RATIO
from intact.numbers.storage.frame import LITERALS, SMALL_BYTES, compress_codes, content_size, decompress
from intact.numbers.storage.pieces import FRAME, Pieces, join
from support.stored import samples, times

SAMPLES = samples()
MULTIPLES = ["values", "bits", "axis", "group", "multipliers", "multiplier_bits"]
DTYPES = ["?", "u1", "i1", "u2", "<i2", ">i4", "f2", "<f4", ">f8", "i8", "u8"]


def back(stored: Stored, array: np.ndarray) -> bytes:
    return decode(stored.form, stored.parameters, array.shape, array.itemsize, stored.data).tobytes()


def little(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def words(*sizes: int) -> bytes:
    return np.array(sizes, "<u4").tobytes()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_form_that_fits_is_found_and_loses_nothing(name: str) -> None:
    array = SAMPLES[name]
    stored = encode(array)
    assert stored.form == name.split()[0]
    assert back(stored, array) == array.tobytes()


@settings(max_examples=150, deadline=None)
@given(array=hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=20)))
def test_every_bit_of_any_array_comes_back(array: np.ndarray) -> None:
    stored = encode(array)
    assert len(stored.data) <= array.nbytes
    assert back(stored, array) == little(array)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_every_bit_of_narrow_multiples_comes_back(data: st.DataObject) -> None:
    rows, columns, group = (data.draw(st.integers(1, 90)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    levels = data.draw(st.lists(st.integers(-8, 8), min_size=1, max_size=17))
    shared = rng.choice([*range(-3, 16)], (rows, -(-columns // group)))
    matrix = rng.choice(levels, (rows, columns)) * np.repeat(shared, group, axis=1)[:, :columns]
    array = (matrix.T if data.draw(st.booleans()) else matrix).astype(data.draw(st.sampled_from(["i1", "u1"])))
    assert back(encode(array), array) == array.tobytes()


def test_bits_that_numbers_do_not_tell_apart_are_kept() -> None:
    odd = np.array([0.0, -0.0, np.nan, np.inf, 1e-45], np.float32).view(np.uint32)
    odd = np.concatenate([odd, odd[2:3] + 1])  # another NaN
    array = odd[np.random.default_rng(0).integers(0, 6, (64, 64))].view(np.float32)
    stored = encode(array)
    assert stored.form == "codes"
    assert back(stored, array) == array.tobytes()


@pytest.mark.parametrize(("bits", "group"), [(4, 32), (3, 32), (2, 16), (5, 128), (4, 0)])
@pytest.mark.parametrize("turned", [False, True])
def test_narrow_codes_take_as_many_bits_as_they_have(bits: int, group: int, turned: bool) -> None:
    rng, top = np.random.default_rng(0), 2 ** (bits - 1)
    levels = rng.integers(-top + 1, top, (256, 256))
    codes = levels * times(rng, (256, 256 // group), group, most=127 // top) if group else levels
    array = np.ascontiguousarray(codes.T if turned else codes).astype(np.int8)
    wanted = bits + (np.ceil(np.log2(127 // top)) / group if group else 0)
    assert len(encode(array).data) * 8 / array.size < 1.02 * wanted


def test_levels_that_are_not_symmetric_take_one_sign_a_group() -> None:
    rng = np.random.default_rng(0)
    levels = np.array([-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 120])
    array = (rng.choice(levels, (128, 256)) * np.repeat(rng.choice([-1, 1], (128, 8)), 32, axis=1)).astype(np.int8)
    stored = encode(array)
    assert (stored.parameters["values"], stored.parameters["multipliers"]) == (16, 2)
    assert back(stored, array) == array.tobytes()


def test_the_bound_on_the_ratio_costs_no_more_than_the_ratio() -> None:
    for array in (np.zeros((1000, 1000), np.int8), np.zeros((300, 300)), np.ones(10_000, np.float32)):
        stored = encode(array)
        assert array.nbytes / MAX_RATIO <= len(stored.data) <= array.size / 4
        assert back(stored, array) == array.tobytes()


def test_equal_arrays_give_equal_bytes() -> None:
    for array in SAMPLES.values():
        one, other = encode(array), encode(np.asfortranarray(array.copy()))
        assert (one.form, one.parameters, bytes(one.data)) == (other.form, other.parameters, bytes(other.data))


@pytest.mark.parametrize(
    "array", [np.zeros(3, complex), np.array(["x"]), np.zeros(2, "M8[s]"), np.zeros(2, np.longdouble)]
)
def test_other_items_are_refused(array: np.ndarray) -> None:
    with pytest.raises(UsageError, match="wanted numbers of 1, 2, 4 or 8 bytes"):
        encode(array)


@pytest.mark.parametrize(
    ("form", "parameters", "shape", "size", "message"),
    [
        ("raw", {}, (4,), 3, "stored in 3"),
        ("raw", {"bits": 4}, (4,), 4, "with {'bits': 4}"),
        ("zstd", {}, (2**42,), 2**20, "stored in 1048576"),
        ("zstd", {}, (0, 4), 0, "0 bytes is stored in 0"),
        ("codes", {"values": 2, "bits": 1}, (64, 2**20), 2**20 - 1, "stored in"),
        ("codes", {"values": 2, "bits": 1}, (2**17, 2), 7, "stored in"),
        ("codes", {"values": 2, "bits": 1}, (64, 4), 7, "too few for 2 pieces"),
        ("codes", {"values": 257, "bits": 1}, (64,), 64, "'values' of a storage form is 257"),
        ("multiples", dict.fromkeys(MULTIPLES, 1), (9, 9), 4, "too few for 4 pieces"),
        ("seven", {}, (64,), 64, "does not know"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_allocated(
    form: str, parameters: dict[str, int], shape: tuple[int, ...], size: int, message: str
) -> None:
    tracemalloc.start()
    with pytest.raises(IntegrityError, match=message):
        check_size(form, parameters, shape, 1, size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("name", ["multiples", "sparse"])
def test_multiples_of_wide_items_are_refused(name: str) -> None:
    stored = encode(SAMPLES[f"{name} wide" if name == "sparse" else "multiples by 32"])
    with pytest.raises(IntegrityError, match="in a form for bytes"):
        check_size(name, stored.parameters, (96, 40), 4, 10**6)


@pytest.mark.parametrize("group", [97, 2**40])
def test_groups_larger_than_the_tensor_are_refused(group: int) -> None:
    stored = encode(SAMPLES["multiples by 32"])
    parameters = {**stored.parameters, "group": group}
    with pytest.raises(IntegrityError, match="has groups of"):
        decode(stored.form, parameters, (40, 96), 1, stored.data)


def test_an_index_beyond_the_book_is_refused() -> None:
    stored = encode(SAMPLES["codes of a book"])
    fewer = join([b"".join(bytes([value]) for value in range(5)), *[bytes(stored.data)[-1440:]]], compress=False)
    assert fewer is not None
    with pytest.raises(IntegrityError, match="its book has 5 values"):
        decode("codes", {**stored.parameters, "values": 5}, (40, 96), 1, memoryview(fewer))


def test_mask_bits_after_the_last_element_are_refused() -> None:
    data = join([b"\x07", b"\x11\x08", b"\x00\x00\x00"], compress=False)
    assert data is not None
    plain = {"values": 1, "bits": 1, "axis": 0, "group": 0, "multipliers": 0, "multiplier_bits": 0}
    with pytest.raises(IntegrityError, match="bits after the last element"):
        decode("sparse", plain, (11,), 1, memoryview(data))
    data = join([b"\x07", b"\x11\x04", b"\x00"], compress=False)
    assert data is not None
    assert decode("sparse", plain, (11,), 1, memoryview(data)).tolist() == [7, 0, 0, 0, 7, 0, 0, 0, 0, 0, 7]


def test_words_must_fill_what_is_stored() -> None:
    for data in (
        b"",
        b"\1\0\0",
        words(3) + b"ab",
        words(1) + b"ab",
        words(FRAME - 1) + b"ab",
        words(2**32 - 1) + b"ab",
    ):
        with pytest.raises(IntegrityError, match="stored tensor"):
            Pieces(memoryview(data), 1)
    assert bytes(Pieces(memoryview(words(2) + b"ab"), 1)(0, 2)) == b"ab"


def test_a_frame_that_lies_about_its_size_is_refused_unread() -> None:
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(2**26))
    unsized = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(b"ab" * 99)
    for frame in (bomb, unsized, b"", b"junk", b"\x28\xb5\x2f\xfd", bomb[:9], bytes(40)):
        pieces = Pieces(memoryview(words(FRAME + len(frame)) + frame), 1)
        tracemalloc.start()
        with pytest.raises(IntegrityError):
            pieces(0, 198)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20


def test_two_frames_and_frames_with_a_tail_are_refused() -> None:
    frame = compress_codes(b"ab" * 99)
    for data in (frame + frame, frame + b"\0", frame[:-1]):
        with pytest.raises(IntegrityError, match="Zstandard frame"):
            Pieces(memoryview(words(FRAME + len(data)) + data), 1)(0, 198)


def test_a_frame_that_needs_a_dictionary_is_refused() -> None:
    dictionary = zstandard.ZstdCompressionDict(bytes(range(256)) * 8, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    frame = zstandard.ZstdCompressor(dict_data=dictionary).compress(bytes(range(200)) * 3)
    with pytest.raises(IntegrityError):
        decompress(memoryview(frame), content_size(memoryview(frame)))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3 * SMALL_BYTES), st.integers(0, 9))
def test_frames_come_back(data: bytes, times: int) -> None:
    whole = data * times
    frame = memoryview(compress_codes(whole))
    assert content_size(frame) == len(whole)
    assert decompress(frame, len(whole)) == whole


def test_codes_are_compressed_to_their_entropy() -> None:
    share = np.array([0.02, 0.1, 0.2, 0.36, 0.2, 0.1, 0.02])
    codes = np.random.default_rng(0).choice(7, 2**18, p=share / share.sum()).astype(np.uint8)
    pairs = codes[::2] | codes[1::2] << 4
    entropy = -float(share @ np.log2(share))
    assert len(compress_codes(pairs.tobytes())) * 8 / codes.size < 1.02 * entropy
    assert LITERALS.min_match == 7
