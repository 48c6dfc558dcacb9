from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.errors import DataError
from intact.graph.view import Port
from intact.serve.console import arrays
from intact.serve.protocol import rest

X = Port(name="x", dtype=np.dtype(np.float32), shape=("n", 3))
IDS = Port(name="ids", dtype=np.dtype(np.int64), shape=("n", 2))
MASK = Port(name="mask", dtype=np.dtype(np.bool_), shape=("n", 2))
ONE, TWO = {"x": X}, {"ids": IDS, "mask": MASK}


def npy(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value, **options)
    return file.getvalue()


def npz(**values: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **values)
    return file.getvalue()


@pytest.mark.parametrize("text", ["[1, 2, 3]", "[[1, 2, 3]]", ' {"x": [[1, 2, 3]]} '])
def test_texts_are_read(text: str) -> None:
    (value,) = arrays.from_text(text, ONE).values()
    assert (value.dtype, value.tolist()) == (np.float32, [[1.0, 2.0, 3.0]])


def test_several_inputs_are_named() -> None:
    found = arrays.from_text('{"ids": [[1, 2]], "mask": [[true, false]]}', TWO)
    assert found["ids"].tolist() == [[1, 2]]
    assert found["mask"].dtype == np.bool_
    with pytest.raises(DataError, match="the model has the inputs"):
        arrays.from_text("[1, 2]", TWO)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "nul", "NaN", "[Infinity]", '"x"', '["1"]', "[null]", "[]", "[[]]", "[[1], [1, 2]]", "{}"),
        *('{"y": [1]}', '{"x": [1], "y": [1]}', "[" * 100_000, "[" * 70 + "1" + "]" * 70, '[{"a": 1}]'),
        "[" + "9" * 5000 + "]",
    ],
)
def test_texts_that_are_no_numbers(text: str) -> None:
    with pytest.raises(DataError):
        arrays.from_text(text, ONE)


@pytest.mark.parametrize("text", ["[1.5, 2]", "[1e30, 2]", "[true, false]", "[" + "9" * 30 + ", 1]"])
def test_what_a_type_does_not_hold_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        arrays.from_text(f'{{"ids": {text}, "mask": [true, true]}}', TWO)


def test_files_are_read() -> None:
    x = np.arange(6, dtype=np.float64).reshape(2, 3)
    for data in (npy(x), npy(np.asfortranarray(x)), npy(x.astype(">f4")), npz(x=x), npz(anything=x)):
        (value,) = arrays.from_file(data, ONE).values()
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, x)
    found = arrays.from_file(npz(ids=np.ones((1, 2), int), mask=np.ones((1, 2), bool)), TWO)
    assert found.keys() == TWO.keys()


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"x", b"\x93NUMPY", b"PK\x03\x04", b"\x93NUMPY\x09\x00", b"PK\x03\x04" + bytes(100)),
        npy(np.array([{"a": 1}], dtype=object), allow_pickle=True),
        npy(np.array(["a"])),
        npy(np.zeros(3, "M8[s]")),
        npy(np.zeros(3, [("a", "f4")])),
        npy(np.zeros((1,) * 20)),
        npy(np.zeros((1, 3)))[:-1],
        npy(np.zeros((1, 3))) + b"\0",
        npz(a=np.zeros((1, 3)), b=np.zeros((1, 3))),
    ],
)
def test_files_that_are_no_arrays(data: bytes) -> None:
    with pytest.raises(DataError):
        arrays.from_file(data, ONE)


def test_a_head_that_lies_allocates_nothing() -> None:
    good = npy(np.zeros((1, 3), np.float32))
    lie = good.replace(b"(1, 3), }" + b" " * 9, b"(9999999999, 3), }")
    assert len(lie) == len(good)
    assert lie != good
    with pytest.raises(DataError, match="not as long"):
        arrays.from_file(lie, ONE)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = npz(x=np.zeros((2**20, 3), np.float32))
    assert len(bomb) < 2**16
    with pytest.raises(DataError, match="unpacked"):
        arrays.from_file(bomb, ONE)
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(DataError, match="100 arrays"):
        arrays.from_file(many.getvalue(), ONE)


@settings(max_examples=500)
@given(st.binary(max_size=200), st.sampled_from([npy(np.zeros((2, 3))), npz(x=np.zeros((2, 3)))]), st.data())
def test_damaged_files_raise_nothing_else(noise: bytes, good: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(good)))
    for damaged in (noise, arrays.NPY + noise, arrays.ZIP + noise, good[:at] + noise + good[at + len(noise) :]):
        with suppress(DataError):
            arrays.from_file(damaged, ONE)


def test_what_is_written_is_what_the_protocol_reads() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    body, length = arrays.write({"x": x})
    np.testing.assert_array_equal(rest.parse(body, length).feeds["x"], x)
    answer = json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1.0]}]}).encode()
    assert arrays.read_answer(answer) == [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1.0], "size": 1}]
