"""Whether zeros make a program faster is measured, not believed."""

from __future__ import annotations

import numpy as np
import pytest

import intact
from intact.errors import UsageError
from intact.pipeline.sparse_speed import SparseGain, sparse_gain
from support.nets import cnn, data


@pytest.fixture(scope="module")
def built() -> intact.Built:
    return intact.build(intact.Spec(model=cnn(), calibration=data(0, 32, 3, 8, 8)), engines=["onnxruntime"])


def test_a_dense_program_is_raced_against_itself_with_zeros(built: intact.Built) -> None:
    before = {name: value.copy() for name, value in built.program.tensors.items()}
    gain = sparse_gain(built.program, {"x": data(1, 8, 3, 8, 8)}, sparsity=0.9, threads=1, rounds=4)
    assert gain.engine.startswith("onnxruntime")
    assert 0.89 < gain.zeros < 0.95
    assert gain.low <= gain.ratio <= gain.high
    assert min(gain.dense_ms, gain.sparse_ms) > 0
    for name, value in before.items():
        np.testing.assert_array_equal(built.program.tensors[name], value)


def test_layers_that_do_not_divide_stay_dense(built: intact.Built) -> None:
    gain = sparse_gain(
        built.program, {"x": data(1, 1, 3, 8, 8)}, sparsity=0.5, shape="2:4", threads=1, rounds=2
    )  # the stem has 27 columns
    assert 0.3 < gain.zeros < 0.5
    with pytest.raises(UsageError, match="divides into runs of 'block:64'"):
        sparse_gain(built.program, {"x": data(1, 1, 3, 8, 8)}, sparsity=0.5, shape="block:64")


def test_only_what_is_surely_faster_is_called_so() -> None:
    facts = {"engine": "e", "pattern": "2:4", "zeros": 0.5, "dense_ms": 2.0, "sparse_ms": 1.0, "ratio": 2.0}
    assert SparseGain(**facts, low=1.9, high=2.1).label == "faster"
    assert SparseGain(**facts, low=1.01, high=3.1).label == "size only"


def test_what_is_not_there_is_refused(built: intact.Built) -> None:
    with pytest.raises(UsageError, match="no engine is called 'abacus'"):
        sparse_gain(built.program, {"x": data(1, 1, 3, 8, 8)}, sparsity=0.5, name="abacus")
    with pytest.raises(UsageError, match="contradicts"):
        sparse_gain(built.program, {"x": data(1, 1, 3, 8, 8)}, sparsity=0.7, shape="2:4")
