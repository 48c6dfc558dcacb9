"""Weights of a matrix product as rows of output channels, however the operator lays them out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.graph.change import constant_operand
from intact.graph.view import Graph, Node

Array = NDArray[Any]


def rows_of(graph: Graph, node: Node) -> Array:
    """The weights of a Conv, Gemm (transB = 1) or MatMul, float32, shape (rows, columns)."""
    weight = graph.constants[node.inputs[1]]
    rows = weight.T if node.op == "MatMul" else weight.reshape(len(weight), -1)
    return np.ascontiguousarray(rows, np.float32)


def stored(rows: Array, node: Node, shape: tuple[int, ...]) -> Array:
    """Rows of output channels in the layout of `node`, whose float weight has `shape`."""
    return np.ascontiguousarray(rows.T) if node.op == "MatMul" else rows.reshape(shape)


def channel_axis(node: Node) -> int:
    """The axis of the output channels in the operator's own layout."""
    return 1 if node.op == "MatMul" else 0


def bias_of(graph: Graph, nodes: tuple[Node, ...]) -> Array | None:
    """The bias of a product and, after a MatMul, of the Add behind it: float32, shape (rows,); None without one."""
    product = nodes[0]
    if len(product.inputs) > 2 and product.inputs[2]:
        return graph.constants[product.inputs[2]].reshape(-1)
    if len(nodes) > 1 and nodes[1].op == "Add":
        columns = graph.constants[product.inputs[1]].shape[1]
        return np.broadcast_to(graph.constants[str(constant_operand(graph, nodes[1]))].reshape(-1), (columns,))
    return None
