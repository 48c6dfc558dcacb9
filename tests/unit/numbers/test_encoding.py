import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import UsageError
from intact.numbers.affine import dequantize, quantize
from intact.numbers.encoding import Affine, covering


@pytest.mark.parametrize("bits", range(2, 9))
def test_codes_of_every_width(bits: int) -> None:
    unsigned, signed = Affine(scale=1.0, bits=bits), Affine(scale=1.0, bits=bits, signed=True)
    narrow = Affine(scale=1.0, bits=bits, signed=True, narrow=True)
    assert (unsigned.qmin, unsigned.qmax) == (0, 2**bits - 1)
    assert (signed.qmin, signed.qmax) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert (narrow.qmin, narrow.qmax) == (-signed.qmax, signed.qmax)
    assert (unsigned.dtype, signed.dtype) == (np.uint8, np.int8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 1}, "wanted 2 to 8"),
        ({"bits": 9}, "wanted 2 to 8"),
        ({"narrow": True}, "wanted a signed one"),
        ({"scale": 0.0}, "wanted positive numbers"),
        ({"scale": -1.0}, "wanted positive numbers"),
        ({"scale": math.nan}, "wanted positive numbers"),
        ({"scale": math.inf}, "wanted positive numbers"),
        ({"scale": 1e-40}, "too small for float32"),
        ({"scale": 1e39}, "wanted positive numbers"),
        ({"scale": [1.0, 2.0]}, "wanted 0 per tensor"),
        ({"scale": [[1.0]], "axis": 0}, "wanted 0 per tensor"),
        ({"scale": 1.0, "axis": 0}, "wanted 0 per tensor"),
        ({"zero_point": 256}, "outside codes 0 to 255"),
        ({"zero_point": -1}, "outside codes 0 to 255"),
        ({"zero_point": 1.5}, "wanted integers"),
        ({"zero_point": [0, 0]}, "zero point has shape"),
        ({"group": 4}, "wanted a positive size and an axis"),
        ({"scale": [[1.0]], "axis": 1, "group": 0}, "wanted a positive size and an axis"),
        ({"scale": [[1.0]], "axis": 2, "group": 4}, "no axis 2"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Affine(**{"scale": 1.0, **change})


def test_it_is_a_value() -> None:
    scale = np.array([1.0, 0.5], dtype=np.float32)
    one, other = Affine(scale=scale, axis=0), Affine(scale=[1.0, 0.5], axis=0)
    scale[0] = 9  # the encoding keeps its own copy
    assert one == other
    assert hash(one) == hash(other)
    assert one != Affine(scale=[1.0, 0.5], axis=0, zero_point=1)
    assert one != Affine(scale=[1.0, 0.25], axis=0)
    assert one != 1.0
    assert dataclasses.replace(one, bits=4).qmax == 15
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.bits = 4  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        one.scale[0] = 2


def test_powers_of_two() -> None:
    assert Affine(scale=[0.25, 8.0], axis=0).exponent.tolist() == [-2, 3]
    assert Affine(scale=[0.25, 8.0], axis=0).is_power_of_two
    uneven = Affine(scale=[0.25, 3.0], axis=0)
    assert not uneven.is_power_of_two
    with pytest.raises(UsageError, match="not a power of two"):
        _ = uneven.exponent


def test_spread_follows_the_axis() -> None:
    channels = Affine(scale=[1.0, 2.0, 3.0], axis=-1)
    assert channels.spread(channels.scale, (2, 3)).tolist() == [[1, 2, 3]]
    assert Affine(scale=[1.0, 2.0], axis=0).spread(np.array([1, 2]), (2, 3)).tolist() == [[1], [2]]
    groups = Affine(scale=[[1.0, 2.0], [3.0, 4.0]], axis=1, group=2)
    assert groups.spread(groups.scale, (2, 4)).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]


@pytest.mark.parametrize(
    ("encoding", "shape", "message"),
    [
        (Affine(scale=[1.0, 2.0], axis=1), (4,), "has no axis 1"),
        (Affine(scale=[1.0, 2.0], axis=0), (3, 2), "has 2 channels"),
        (Affine(scale=[[1.0, 2.0]], axis=1, group=2), (1, 5), "not a multiple of group 2"),
        (Affine(scale=[[1.0, 2.0]], axis=1, group=2), (1, 6), "wanted \\(1, 3\\)"),
    ],
)
def test_a_tensor_of_another_shape_is_refused(encoding: Affine, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encoding.spread(encoding.scale, shape)


@given(
    ends=st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32)),
    bits=st.integers(2, 8),
    signed=st.booleans(),
    symmetric=st.booleans(),
    power_of_two=st.booleans(),
)
def test_covering_reaches_both_ends_and_keeps_zero(
    ends: tuple[float, float], bits: int, signed: bool, symmetric: bool, power_of_two: bool
) -> None:
    low, high = sorted(ends)
    encoding = covering(low, high, bits=bits, signed=signed, symmetric=symmetric, power_of_two=power_of_two)
    values = np.array([low, high, 0.0])
    error = np.abs(dequantize(quantize(values, encoding)).astype(np.float64) - values)
    assert (error <= encoding.scale * (0.5 + 1e-4)).all()
    assert error[2] == 0
    assert encoding.is_power_of_two or not power_of_two
    if symmetric:
        assert encoding.zero_point == (0 if signed else 2 ** (bits - 1))


def test_covering_gives_each_channel_its_own() -> None:
    encoding = covering([-1.0, -4.0], [1.0, 2.0], signed=True, symmetric=True, power_of_two=True, axis=0)
    assert encoding.exponent.tolist() == [-6, -4]
    assert (encoding.qmin, encoding.axis) == (-127, 0)


def test_a_range_of_only_zero_has_an_ordinary_scale() -> None:
    assert covering(0.0, 0.0).scale == 2.0**-24
    assert covering(0.0, 0.0, smallest_exponent=-3).scale == 0.125


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (math.nan, 1.0), (0.0, math.inf)])
def test_ranges_that_are_none_are_refused(low: float, high: float) -> None:
    with pytest.raises(UsageError, match="not finite, or its low end"):
        covering(low, high)
