"""Which exact rule serves which operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from intact.engine.exact import arith, codes, moves, pool, window
from intact.engine.exact.call import Call
from intact.engine.exact.floats import Evaluator
from intact.engine.exact.value import Exact, InexactError, Value

Rule = Callable[[Call, Evaluator], list[Value]]


def _one(rule: Callable[[Call], Value]) -> Rule:
    return lambda call, evaluate: [rule(call)]


def _cast(call: Call, evaluate: Evaluator) -> list[Value]:
    value = call.inputs[0]
    if not isinstance(value, Exact):
        return [*evaluate([value])]
    if call.attributes["to"] != 1:  # TensorProto.FLOAT
        raise InexactError("an exact value cast to another type")
    return [value]


RULES: Final[Mapping[str, Rule]] = {
    "Add": _one(arith.add),
    "AveragePool": _one(pool.average_pool),
    "Cast": _cast,
    "Clip": _one(arith.clip),
    "Concat": moves.concat,
    "Conv": _one(window.conv),
    "DequantizeLinear": _one(codes.dequantize),
    "Gemm": _one(arith.gemm),
    "GlobalAveragePool": _one(pool.global_average_pool),
    "GlobalMaxPool": _one(pool.global_max_pool),
    "MatMul": _one(arith.matmul),
    "MaxPool": lambda call, evaluate: pool.max_pool(call),
    "Mul": _one(arith.multiply),
    "Pad": moves.pad,
    "QuantizeLinear": _one(codes.quantize),
    "ReduceMean": _one(pool.reduce_mean),
    "ReduceSum": _one(pool.reduce_sum),
    "Relu": _one(arith.relu),
    "Sub": _one(arith.subtract),
    **dict.fromkeys(sorted(moves.ONE_SOURCE), moves.move),
}

SELECTING: Final = frozenset(
    {"Abs", "Clip", "Constant", "ConstantOfShape", "Max", "MaxPool", "Min", "Neg", "Relu", "Shape", "Where"}
)
"""Operators that give the same float32 on every host: they choose or negate their operands, and never round."""
