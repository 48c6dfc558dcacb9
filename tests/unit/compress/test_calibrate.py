"""What calibration sees, and which data it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.compress.calibrate import SAMPLE_ROWS, SAMPLE_VALUES, Statistics, calibrate, check_data
from intact.errors import DataError
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.portions import Portions
from intact.graph.view import Graph, Port
from support.nets import Net, data, mlp

X = data(0, 200, 8)


def port(dtype: str = "float32", shape: tuple[int | str, ...] = ("n", 8), name: str = "x") -> Port:
    return Port(name=name, dtype=np.dtype(dtype), shape=shape)


def graph() -> Graph:
    return normalise(load(mlp()))


def test_ranges_and_channels_are_those_of_the_data() -> None:
    seen = calibrate(graph(), [{"x": X}], ["x"])["x"]
    assert (seen.low, seen.high) == (float(X.min()), float(X.max()))
    np.testing.assert_array_equal(seen.channel_low, X.min(axis=0))
    np.testing.assert_array_equal(seen.channel_high, X.max(axis=0))
    assert np.isin(seen.sample, X).all()
    assert len(seen.rows) <= SAMPLE_ROWS


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 199), max_size=4, unique=True))
def test_how_the_data_are_cut_does_not_matter_to_ranges(cuts: list[int]) -> None:
    pieces = [{"x": part} for part in np.split(X, sorted(cuts))]
    whole = calibrate(graph(), [{"x": X}], ["x", "relu1"])
    cut = calibrate(graph(), pieces, ["x", "relu1"])
    for name in whole:
        assert cut[name].low == pytest.approx(whole[name].low, rel=1e-6)
        assert cut[name].high == pytest.approx(whole[name].high, rel=1e-6)


def test_samples_are_bounded_and_the_same_each_time() -> None:
    net = Net(0, x=["n", 4096])
    wide = normalise(load(net.bytes(net.op("Relu", "x"))))
    big = data(0, 100, 4096)
    first, second = (calibrate(wide, [{"x": big}], ["x"])["x"] for _ in range(2))
    assert len(first.sample) <= SAMPLE_VALUES * 1.01
    np.testing.assert_array_equal(first.sample, second.sample)


def test_pieces_of_several_lengths_have_no_fixed_channels() -> None:
    net = Net(0, x=["n", "length"])
    free = normalise(load(net.bytes(net.op("Relu", "x"))))
    seen = calibrate(free, [{"x": X[:, :5]}, {"x": X[:, :7]}], ["x"])["x"]
    assert seen.rows.shape == (0, 0)
    assert seen.channel_low.shape == (0,)
    assert seen.high == float(X[:, :7].max())


def test_progress_ends_at_the_number_of_rows() -> None:
    told: list[tuple[int, int]] = []
    calibrate(graph(), [{"x": X[:70]}, {"x": X[70:]}], ["x"], progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (200, 200)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_value_that_becomes_infinite_inside_is_named() -> None:
    net = Net(0, x=["n", 8])
    proto = normalise(load(net.bytes(net.op("Exp", net.op("Exp", "x")))))
    with pytest.raises(DataError, match="tensor 'exp1' became NaN or infinite"):
        calibrate(proto, [{"x": X + 5}], ["exp1"])


def test_an_index_beyond_its_table_is_told_as_a_fault_of_the_data() -> None:
    net = Net(0)
    net.take_indices("ids", "n", 3)
    table = normalise(load(net.bytes(net.op("Gather", net.constant(net.normal(10, 4)), "ids"))))
    with pytest.raises(DataError, match="does not run on these inputs"):
        calibrate(table, [{"ids": np.full((2, 3), 10)}], ["gather0"])


GOOD = {
    "as they are": (port(), X),
    "wider floats": (port(), X.astype(np.float64)),
    "whole numbers for floats": (port(), np.arange(16).reshape(2, 8)),
    "truths for floats": (port(), X > 0),
    "narrower integers": (port("int64"), np.ones((2, 8), np.int8)),
    "wider integers that fit": (port("int32"), np.full((2, 8), 2**31 - 1)),
}


@pytest.mark.parametrize("case", GOOD)
def test_numbers_of_a_like_kind_are_taken(case: str) -> None:
    wanted, value = GOOD[case]
    checked = check_data([wanted], {"x": value})["x"]
    assert checked.dtype == wanted.dtype
    np.testing.assert_allclose(checked, value.astype(wanted.dtype))


BAD = {
    "another name": ({"y": X}, r"name the inputs \['y'\], the model \['x'\]"),
    "a name too many": ({"x": X, "y": X}, r"name the inputs \['x', 'y'\]"),
    "no rows": ({"x": X[:0]}, "no rows"),
    "no columns": ({"x": X[:, :0]}, "no rows"),
    "another width": ({"x": X[:, :5]}, r"shape \(200, 5\), the model wants \('n', 8\)"),
    "another rank": ({"x": X[0]}, r"shape \(8,\)"),
    "a NaN": ({"x": np.where(X > 2, np.nan, X)}, "NaN or infinite"),
    "an infinity": ({"x": np.where(X > 2, np.inf, X)}, "NaN or infinite"),
    "a number beyond float32": ({"x": np.full((2, 8), 1e300)}, "16 values that are NaN or infinite"),
    "complex numbers": ({"x": X.astype(np.complex64)}, "complex64, the model wants float32"),
    "texts": ({"x": X.astype(str)}, "the model wants float32"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_named(case: str) -> None:
    given_data, message = BAD[case]
    with pytest.raises(DataError, match=message):
        check_data([port()], given_data)


def test_floats_for_integers_are_refused() -> None:
    with pytest.raises(DataError, match="float32, the model wants int64"):
        check_data([port("int64")], {"x": X})


def test_integers_that_do_not_fit_are_refused_and_not_wrapped() -> None:
    with pytest.raises(DataError, match="do not fit int32"):
        check_data([port("int32")], {"x": np.full((2, 8), 2**31)})


def test_inputs_must_have_equally_many_rows() -> None:
    with pytest.raises(DataError, match="different numbers of rows"):
        check_data([port(), port(name="y")], {"x": X, "y": X[:5]})


@settings(max_examples=10, deadline=None)
@given(most=st.integers(1, 1 << 15))
def test_how_much_is_fetched_at_a_time_does_not_matter_to_what_is_kept(most: int) -> None:
    (whole, small) = (seen_with(size) for size in (1 << 30, most))
    for name in whole:
        assert len(small[name].sample) == len(whole[name].sample)
        np.testing.assert_allclose(small[name].sample, whole[name].sample, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(small[name].rows, whole[name].rows, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(small[name].channel_high, whole[name].channel_high, rtol=1e-5, atol=1e-6)


def seen_with(most_bytes: int) -> dict[str, Statistics]:
    """Statistics where at most so much is fetched at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Portions.__init__, "__defaults__", (most_bytes,))
        patch.setattr("intact.compress.calibrate.SAMPLE_VALUES", 301)
        patch.setattr("intact.compress.calibrate.SAMPLE_ROWS", 37)
        return calibrate(graph(), [{"x": X[:90]}, {"x": X[90:]}], ["x", "relu1", "gemm2"])


def test_rows_are_kept_of_what_enters_a_product_only() -> None:
    seen = calibrate(graph(), [{"x": X}], ["x", "gemm0", "relu1"])
    assert len(seen["x"].rows) == len(seen["relu1"].rows) == len(X)
    assert seen["gemm0"].rows.shape == (0, 0)


def test_a_fixed_batch_is_run_whole() -> None:
    net = Net(0, x=[100, 8])
    fixed = normalise(load(net.bytes(net.op("Relu", "x"))))
    assert calibrate(fixed, [{"x": X[:100]}], ["relu0"])["relu0"].high == pytest.approx(float(X[:100].max()))
