"""Matrix products with constant weights: Conv, Gemm and MatMul."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.operators import Claim, Context, Operator, Refusal, first_input, layer_name, only_consumer
from intact.compress.solve import Layer, solve
from intact.graph.view import Graph, Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.plan import Step

Array = NDArray[Any]


def claim(context: Context, node: Node) -> Claim | Refusal | None:
    """Take a product whose weight (and bias) is constant, with the bias Add and the Relu after it."""
    if node.op not in ("Conv", "Gemm", "MatMul"):
        return None
    graph = context.graph
    weight = graph.constant(node.inputs[1])
    if weight is None:
        return Refusal(reason=f"{node.op} of two computed tensors")
    if node.op == "Gemm" and (node.attributes.get("transA", 0) or not node.attributes.get("transB", 0)):
        return Refusal(reason="Gemm with a transposed input or a computed bias")
    if node.op == "MatMul" and weight.ndim != 2:
        return Refusal(reason=f"MatMul with a constant of {weight.ndim} axes")
    if len(node.inputs) > 2 and node.inputs[2] and graph.constant(node.inputs[2]) is None:
        return Refusal(reason=f"{node.op} with a computed bias")
    name = layer_name(node)
    recipe = context.recipe.layer(name)
    nodes = _with_bias_add(graph, node)
    relu = only_consumer(graph, nodes[-1].output)
    if relu is not None and relu.op == "Relu":
        nodes = (*nodes, relu)
    if recipe.weights == "float":
        return Refusal(reason="the recipe leaves it in float", nodes=nodes)
    return Claim(nodes=nodes, layer=name, recipe=recipe)


def _with_bias_add(graph: Graph, node: Node) -> tuple[Node, ...]:
    add = only_consumer(graph, node.output) if node.op == "MatMul" else None
    if add is None or add.op != "Add":
        return (node,)
    bias = next((graph.constants[name] for name in add.inputs if name in graph.constants), None)
    columns = graph.constants[node.inputs[1]].shape[1]
    return (node, add) if bias is not None and bias.shape in ((columns,), (1, columns), (1, 1, columns)) else (node,)


def emit(emitter: Emitter, step: Step) -> None:
    """Write DequantizeLinear of input, weight and bias, the product, and QuantizeLinear of the output."""
    node = step.nodes[0]
    rows, bias = weights_of(emitter.graph, step)
    source = emitter.encodings[node.inputs[0]]
    target = emitter.encodings.get(step.outputs[0]) if step.outputs[0] in emitter.plan.coded else None
    layer = Layer(
        name=step.layer,
        weights=(rows * np.float32(source.factor)).astype(np.float32),
        bias=bias,
        source=source,
        target=target,
        power_of_two=emitter.plan.power_of_two,
    )
    assert step.recipe is not None  # every product step has settings
    solution = solve(layer, step.recipe, emitter.generator)
    emitter.solutions[step.layer] = solution
    _write(emitter, step, solution, relu=step.nodes[-1].op == "Relu" and target is None)


def weights_of(graph: Graph, step: Step) -> tuple[Array, Array | None]:
    """The layer's weights as rows of output channels, and its bias."""
    node = step.nodes[0]
    weight = graph.constants[node.inputs[1]]
    rows = weight.T if node.op == "MatMul" else weight.reshape(len(weight), -1)
    bias = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if len(step.nodes) > 1 and step.nodes[1].op == "Add":
        name = next(name for name in step.nodes[1].inputs if name in graph.constants)
        bias = graph.constants[name].reshape(-1)
    return np.ascontiguousarray(rows, np.float32), bias


def _write(emitter: Emitter, step: Step, solution: Any, *, relu: bool) -> None:
    node = step.nodes[0]
    shape = emitter.graph.constants[node.inputs[1]].shape
    codes = solution.codes.q
    axis = 1 if node.op == "MatMul" else 0
    stored = np.ascontiguousarray(codes.T) if node.op == "MatMul" else codes.reshape(shape)
    scales = np.asarray(solution.codes.encoding.scale, np.float32)
    name = step.layer
    weight = emitter.node(
        "DequantizeLinear",
        (emitter.constant(f"{name}.w", stored), emitter.constant(f"{name}.s", scales)),
        f"{name}.wf",
        axis=axis,
    )
    inputs = [emitter.quantized(node.inputs[0]), weight]
    if solution.bias is not None:
        bias_scales = np.float32(emitter.encodings[node.inputs[0]].scale) * scales
        source = (emitter.constant(f"{name}.b", solution.bias), emitter.constant(f"{name}.t", bias_scales))
        inputs.append(emitter.node("DequantizeLinear", source, f"{name}.bf", axis=0))
    op, attributes = node.op, dict(node.attributes)
    if node.op == "MatMul" and solution.bias is not None:
        middle = emitter.node("MatMul", tuple(inputs[:2]), f"{name}.m")
        inputs, op, attributes = [middle, inputs[2]], "Add", {}
    if relu:
        inner = emitter.node(op, tuple(inputs), f"{name}.a", **attributes)
        inputs, op, attributes = [inner], "Relu", {}
    emitter.put(op, tuple(inputs), step.outputs[0], **attributes)


OPERATOR = Operator(
    name="product",
    claim=claim,
    reads=first_input,
    emit=emit,
    layouts=frozenset({"codes", "islands"}),
    makes_codes=False,
)
