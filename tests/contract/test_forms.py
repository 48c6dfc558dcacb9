"""Every storage form found in the folder keeps the contract of `Form`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from intact.errors import IntegrityError
from intact.numbers.storage import Decoder, decode, forms
from intact.numbers.storage.form import MAX_RATIO, Draft, Extent
from intact.numbers.storage.forms import form
from intact.numbers.storage.pieces import join
from support.stored import samples

FORMS = forms.forms()
SAMPLES = {**samples(), "one element": np.array([[5]], np.int8), "one wide element": np.array([[5.0]])}


def matrix(array: np.ndarray) -> np.ndarray:
    """Return `array` as forms are given it."""
    kind = array.dtype if array.dtype == np.int8 else f"<u{array.itemsize}"
    return np.ascontiguousarray(array).reshape(len(array), -1).view(kind)


def drafts(name: str) -> Iterator[tuple[np.ndarray, Draft]]:
    """Yield every sample with every draft that the form makes of it."""
    for array in SAMPLES.values():
        for draft in FORMS[name].drafts(matrix(array)):
            yield array, draft


def test_every_file_is_a_form_of_its_name() -> None:
    files = {path.stem for path in Path(forms.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(FORMS) == files
    assert all(FORMS[name].name == name for name in files)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(IntegrityError, match="'pickle'"):
        form("pickle")


@pytest.mark.parametrize("name", FORMS)
def test_every_draft_comes_back(name: str) -> None:
    count = 0
    for array, draft in drafts(name):
        for compress in (True, False):
            data = join(draft.pieces, compress=compress)
            assert data is not None
            if len(data) * MAX_RATIO >= array.nbytes:  # smaller ones are never written
                found = decode(name, draft.parameters, array.shape, array.itemsize, memoryview(data))
                assert found.tobytes() == array.tobytes()
                count += 1
    assert count >= 2


@pytest.mark.parametrize("name", FORMS)
def test_chunks_may_be_decoded_in_any_order(name: str) -> None:
    rng = np.random.default_rng(0)
    few = (rng.integers(-7, 8, (900, 1024)) * np.repeat(rng.integers(1, 5, (900, 16)), 64, axis=1)).astype(np.int8)
    few[rng.random(few.shape) < 0.6] = 0
    array = few.astype(np.int32) if name == "planes" else few
    for draft in FORMS[name].drafts(matrix(array)):
        data = join(draft.pieces)
        assert data is not None
        decoder = Decoder(name, draft.parameters, array.shape, array.itemsize, memoryview(data))
        assert decoder.chunks == Extent.of(array.shape, array.itemsize).chunks > 1
        out = np.empty(array.nbytes, np.uint8)
        for chunk in reversed(range(decoder.chunks)):
            decoder.decode(chunk, out)
        assert out.tobytes() == array.tobytes()


@pytest.mark.parametrize("name", FORMS)
def test_pieces_are_as_many_as_the_form_says(name: str) -> None:
    for array, draft in drafts(name):
        extent = Extent.of(matrix(array).shape, array.itemsize)
        assert FORMS[name].pieces(extent, draft.parameters) == len(draft.pieces)


@pytest.mark.parametrize("name", FORMS)
def test_parameters_missing_unknown_or_out_of_range_are_refused(name: str) -> None:
    array, draft = next(drafts(name))
    extent = Extent.of(array.shape, array.itemsize)
    given = dict(draft.parameters)
    wrong = [{**given, "more": 1}, *({k: v for k, v in given.items() if k != key} for key in given)]
    wrong += [{**given, key: value} for key in given for value in (-1, 2**53 - 1)]
    for parameters in wrong:
        with pytest.raises(IntegrityError, match="storage form"):
            FORMS[name].pieces(extent, parameters)


@pytest.mark.parametrize("name", FORMS)
def test_every_shorter_or_longer_stored_tensor_is_refused(name: str) -> None:
    array, draft = next(drafts(name))
    data = join(draft.pieces)
    assert data is not None
    for damaged in (*(data[:size] for size in range(0, len(data), 7)), data + b"\0", b"\0" + data):
        with pytest.raises(IntegrityError):
            decode(name, draft.parameters, array.shape, array.itemsize, memoryview(damaged))


@pytest.mark.parametrize("name", FORMS)
def test_damage_gives_another_tensor_or_an_integrity_error(name: str) -> None:
    """Whoever may write stored bytes may write any tensor; what they may not do is anything else."""
    rng, refused = np.random.default_rng(1), 0
    for array, draft in list(drafts(name))[:6]:
        data = join(draft.pieces)
        assert data is not None
        for place in {*range(min(400, 8 * len(data))), *rng.integers(0, 8 * len(data), 400).tolist()}:
            damaged = bytearray(data)
            damaged[place // 8] ^= 1 << place % 8
            try:
                found = decode(name, draft.parameters, array.shape, array.itemsize, memoryview(damaged))
            except IntegrityError:
                refused += 1
            else:
                assert found.nbytes == array.nbytes
    assert refused > 100


@pytest.mark.parametrize("name", FORMS)
def test_another_shape_is_refused_or_gives_a_tensor_of_that_shape(name: str) -> None:
    refused = 0
    for array, draft in drafts(name):
        data = join(draft.pieces)
        assert data is not None
        for shape in [
            (),
            (1,),
            (0, 5),
            array.shape[::-1],
            (array.size,),
            (array.shape[0] + 1, *array.shape[1:]),
            (999, 99),
        ]:
            for itemsize in (1, 2, 4, 8):
                try:
                    found = decode(name, draft.parameters, shape, itemsize, memoryview(data))
                except IntegrityError:
                    refused += 1
                else:
                    assert found.nbytes == itemsize * int(np.prod(shape))
    assert refused > 10
