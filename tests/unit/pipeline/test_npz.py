"""Arrays in .npz files."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from intact.errors import DataError, UsageError
from intact.pipeline.npz import read_npz, with_calibration, write_npz
from intact.pipeline.spec import Spec

ARRAYS = {"x": np.arange(12, dtype=np.float32).reshape(3, 4), "ids": np.arange(3)}


def packed(*, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **ARRAYS)
    return file.getvalue()


def test_arrays_come_back(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ARRAYS)
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)
    with np.load(tmp_path / "a.npz") as theirs:
        assert sorted(theirs.files) == sorted(ARRAYS)


@pytest.mark.parametrize("name", ["file", "allow_pickle", "args", "a/b", "ä"])
def test_any_name_of_an_output_can_be_written(name: str, tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", {name: ARRAYS["x"]})
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz")[name], ARRAYS["x"])


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_is_refused_or_harmless(compressed: bool, tmp_path: Path) -> None:
    """Every byte changed, and every third truncation: never another exception, never a leaked file."""
    whole, path = packed(compressed=compressed), tmp_path / "a.npz"
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            read_npz(path)
        except DataError:
            continue
    for size in range(0, len(whole) - 1, 3):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            read_npz(path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(ARRAYS))
    for name in ("a.npz", "b.npz"):
        with pytest.raises(DataError, match="not an .npz file of plain arrays"):
            read_npz(tmp_path / name)


def test_what_is_no_npz_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data file"):
        read_npz(tmp_path / "none.npz")
    with pytest.raises(DataError, match="not an .npz file"):
        read_npz(tmp_path)
    np.save(tmp_path / "bare.npy", ARRAYS["x"])
    with pytest.raises(DataError, match="one bare array"):
        read_npz(tmp_path / "bare.npy")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_text("before")
    with pytest.raises(ValueError, match="Object arrays"):
        write_npz(path, {"x": ARRAYS["x"], "y": np.array([object()])})
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write_npz(tmp_path / "none" / "a.npz", ARRAYS)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        write_npz(tmp_path / "folder", ARRAYS)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_a_file_takes_the_place_of_a_specs_own_data(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ARRAYS)
    spec = Spec(model=b"", calibration=np.zeros(3))
    assert with_calibration(spec, None) is spec
    assert with_calibration(spec, tmp_path / "a.npz").calibration.keys() == ARRAYS.keys()
