"""The canary breaks engines that saturate, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from intact.engine import canary
from intact.engine.backend import Backend, Options, Session
from intact.engine.backends import get
from intact.engine.exact import execute, prepare
from intact.engine.vectors import digest
from intact.errors import CheckFailed


def test_the_expected_digest_is_what_the_definition_gives():
    trace = execute(prepare(canary.canary()), {"x": canary.codes()})
    assert trace.notes.departures == trace.notes.breaches == ()
    assert digest(trace.outputs["y"]) == canary.EXPECTED


def test_it_is_a_valid_model_with_every_kind_of_integer_kernel():
    proto = canary.canary().to_proto()
    onnx.checker.check_model(proto, full_check=True)
    operators = {node.op_type for node in proto.graph.node}
    assert operators >= {"Conv", "Gemm", "MatMul", "Add", "AveragePool", "Concat"}
    groups = {a.i for node in proto.graph.node for a in node.attribute if a.name == "group"}
    assert groups == {canary.CHANNELS}


def test_inner_codes_are_not_all_saturated():
    """A kernel's fault must not be hidden by the next rounding."""
    proto = canary.canary().to_proto()
    names = [node.output[0] for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    proto.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.UINT8, None) for n in names)
    plan = prepare(type(canary.canary()).from_proto(proto))
    outputs = execute(plan, {"x": canary.codes()}).outputs
    for name in names:
        inner = (outputs[name] > 0) & (outputs[name] < 255)
        assert inner.mean() > 0.2, name


@pytest.mark.parametrize("layer", ["conv", "gemm", "matmul"])
def test_sixteen_bit_sums_of_two_products_overflow_in_every_product(layer):
    proto = canary.canary().to_proto()
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    made = {node.output[0]: node for node in proto.graph.node}
    for node in proto.graph.node:
        if node.op_type.lower() == layer:
            w = weights[made[node.input[1]].input[0]].astype(np.int64)
            columns = w.reshape(len(w), -1) if layer == "conv" else w.T
            pairs = columns[:, : columns.shape[1] // 2 * 2].reshape(len(columns), -1, 2).sum(axis=2)
            assert (np.abs(pairs) * 255 > 32767).any(axis=1).all()


def other(change) -> Backend:
    def load(program, options: Options, variant: str) -> Session:
        base = get("reference").load(program, options, variant)
        return replace(base, execute=lambda x: change(base.execute(x)))

    return replace(get("reference"), name="other", load=load)


def test_an_engine_that_is_off_by_one_code_is_refused():
    canary.check(other(lambda outputs: outputs), "default")
    with pytest.raises(CheckFailed, match="saturate or round otherwise"):
        canary.check(other(lambda outputs: {"y": outputs["y"] + np.eye(2, 24, dtype=np.float32)}), "default")
