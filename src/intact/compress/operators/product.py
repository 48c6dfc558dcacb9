"""Matrix products with constant weights: Conv, Gemm and MatMul."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.encodings import narrow
from intact.compress.operators import MOST_LEFT, Claim, Context, Exponents, Operator, Refusal
from intact.compress.space import LARGEST, SMALLEST
from intact.compress.weights import channel_axis, rows_of, stored
from intact.graph.change import as_bias, constant_operand, only_consumer
from intact.graph.view import Graph, Node
from intact.numbers import budget, dyadic

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.encodings import Encoding
    from intact.compress.plan import Step
    from intact.compress.solve import Solution

Array = NDArray[Any]

ROW_SCALE = np.float32(1 / 127)
"""Dynamic rows are divided by their reach about their middle, and then have this scale and the zero point 128."""
LEAST_ROW = np.float32(1e-12)


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
    bias = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None and bias.shape != (len(weight),):
        return Refusal(reason=f"{node.op} with a bias of shape {bias.shape}, not one number for each output")
    nodes = _with_bias_add(graph, node, len(context.shapes.get(node.inputs[0], ())))
    relu = only_consumer(graph, nodes[-1].output)
    if relu is not None and relu.op == "Relu":
        nodes = (*nodes, relu)
    name = _name(graph, nodes)
    recipe = context.recipe.layer(name)
    if recipe.weights == "float":
        return Refusal(reason="the recipe leaves it in float", nodes=nodes)
    return Claim(nodes=nodes, layer=name, recipe=recipe)


def _with_bias_add(graph: Graph, node: Node, rank: int) -> tuple[Node, ...]:
    add = only_consumer(graph, node.output) if node.op == "MatMul" else None
    if add is None or add.op != "Add":
        return (node,)
    value = graph.constant(constant_operand(graph, add) or "")
    bias = as_bias(value, graph.constants[node.inputs[1]].shape[1], rank)
    return (node,) if bias is None else (node, add)


def _name(graph: Graph, nodes: tuple[Node, ...]) -> str:
    """The name a person knows the layer by: its weight's or its bias's, without the ending."""
    names = [name for node in nodes[:2] for name in node.present() if graph.constant(name) is not None]
    for ending in (".weight", ".bias"):
        for name in names:
            if name.endswith(ending):
                return name.removesuffix(ending)
    return nodes[0].name or nodes[0].output


def reads(graph: Graph, step: Step) -> tuple[str, ...]:
    """The input, where it has a static code."""
    assert step.recipe is not None  # every product step has settings
    return (step.nodes[0].inputs[0],) if step.recipe.activations == "static" else ()


def emit(emitter: Emitter, step: Step) -> None:
    """Write the product in the form that its activations ask for."""
    assert step.recipe is not None
    {"static": _emit_static, "dynamic": _emit_dynamic, "none": _emit_weight_only}[step.recipe.activations](
        emitter, step
    )


def _emit_static(emitter: Emitter, step: Step) -> None:
    """DequantizeLinear of input, weight and bias, the product, and QuantizeLinear of the output."""
    assert step.recipe is not None
    node, output = step.nodes[0], step.outputs[0]
    target = emitter.encodings.get(output) if output in emitter.plan.coded else None
    relu = step.nodes[-1].op == "Relu" and target is None
    apart = node.op == "MatMul"  # which takes no bias itself
    solution = emitter.solutions[step.layer]
    bits = step.recipe.activation_bits
    inputs = [emitter.quantized(node.inputs[0], bits=bits), _weight(emitter, step, solution, as_matmul=apart)]
    offset = _bias(emitter, step, solution, coded=emitter.plan.power_of_two or not apart)
    op, attributes = ("MatMul", {}) if apart else (node.op, dict(node.attributes))
    if offset and not apart:
        inputs.append(offset)
    chain = [(op, tuple(inputs), attributes)]
    if offset and apart:
        chain.append(("Add", (offset,), {}))
    if relu:
        chain.append(("Relu", (), {}))
    _write_chain(emitter, step, chain)


def _bias(emitter: Emitter, step: Step, solution: Solution, *, coded: bool) -> str:
    """Write the bias: in whole steps of the accumulator where it is coded, so that adding it is exact; else float."""
    if solution.real_bias is None:
        return ""
    name = f"{step.layer}.b"
    if not coded or solution.bias is None:
        return emitter.constant(name, solution.real_bias)
    assert step.recipe is not None
    source = emitter.encodings[narrow(step.nodes[0].inputs[0], step.recipe.activation_bits)]
    scales = np.float32(source.scale) * solution.codes.encoding.scale
    inputs = (emitter.constant(name, solution.bias), emitter.constant(f"{step.layer}.t", scales))
    return emitter.node("DequantizeLinear", inputs, f"{step.layer}.bf", axis=0)


def _emit_dynamic(emitter: Emitter, step: Step) -> None:
    """Write each row as its middle plus half its span times codes, multiply the codes, and put middle and span back.

    x W = half (c / 127) W + middle sum(W): the sums of W's columns are constants. A convolution's rows are coded about
    zero, for at its borders it meets zeros that are in no row. The code of a row depends on that row alone, so a batch
    cannot reveal or disturb another's.
    """
    node, layer = step.nodes[0], step.layer
    source = emitter.real(node.inputs[0])
    as_matmul = node.op != "Conv"
    ending = _float_ending(emitter, step)
    if as_matmul:
        source, row, middle = _centred(emitter, layer, source)
        solution = emitter.solutions[layer]
        sums = solution.codes.q.sum(axis=1, dtype=np.int64) * np.asarray(solution.codes.encoding.scale, np.float64)
        column_sums = emitter.constant(f"{layer}.sums", sums.astype(np.float32))
        ending.insert(0, ("Add", (emitter.node("Mul", (middle, column_sums), f"{layer}.middles"),), {}))
    else:
        axes = np.arange(1, emitter.graph.constants[node.inputs[1]].ndim)
        row = _row(
            emitter, layer, _extreme(emitter, "Max", emitter.node("Abs", (source,), f"{layer}.abs"), layer, axes)
        )
    unit = emitter.node("Div", (source, row), f"{layer}.unit")
    scale, zero = emitter.scalar(ROW_SCALE, np.float32), emitter.scalar(128, np.uint8)
    codes = emitter.node("QuantizeLinear", (unit, scale, zero), f"{layer}.q")
    back = emitter.node("DequantizeLinear", (codes, scale, zero), f"{layer}.r")
    weight = _weight(emitter, step, emitter.solutions[layer], as_matmul=as_matmul)
    attributes = {} if as_matmul else dict(node.attributes)
    chain = [("MatMul" if as_matmul else "Conv", (back, weight), attributes), ("Mul", (row,), {})]
    _write_chain(emitter, step, chain + ending)


def _centred(emitter: Emitter, layer: str, source: str) -> tuple[str, str, str]:
    """Take the middle of each row off it; return what is left, half of its span, and the middle."""
    high, low = (_extreme(emitter, kind, source, layer, np.array([-1])) for kind in ("Max", "Min"))
    one_half = emitter.scalar(0.5, np.float32)
    middle = emitter.node("Mul", (emitter.node("Add", (high, low), f"{layer}.ends"), one_half), f"{layer}.middle")
    span = emitter.node("Sub", (high, low), f"{layer}.span")
    half = _row(emitter, layer, emitter.node("Mul", (span, one_half), f"{layer}.half"))
    return emitter.node("Sub", (source, middle), f"{layer}.centred"), half, middle


def _extreme(emitter: Emitter, kind: str, source: str, layer: str, axes: Array) -> str:
    over = emitter.constant(f"{layer}.axes", axes.astype(np.int64))
    return emitter.node(f"Reduce{kind}", (source, over), f"{layer}.{kind.lower()}", keepdims=1)


def _row(emitter: Emitter, layer: str, reach: str) -> str:
    """What a row is divided by: its reach, but never zero."""
    return emitter.node("Max", (reach, emitter.scalar(LEAST_ROW, np.float32)), f"{layer}.row")


def _emit_weight_only(emitter: Emitter, step: Step) -> None:
    """The float product of a DequantizeLinear of the weight."""
    node = step.nodes[0]
    solution = emitter.solutions[step.layer]
    as_matmul = node.op != "Conv"
    weight = _weight(emitter, step, solution, as_matmul=as_matmul)
    attributes = {} if as_matmul else dict(node.attributes)
    first = ("MatMul" if as_matmul else "Conv", (emitter.real(node.inputs[0]), weight), attributes)
    _write_chain(emitter, step, [first, *_float_ending(emitter, step)])


def _float_ending(emitter: Emitter, step: Step) -> list[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """The bias and the Relu of a step, in float."""
    chain: list[tuple[str, tuple[str, ...], dict[str, Any]]] = []
    bias = emitter.solutions[step.layer].real_bias
    if bias is not None:
        trailing = emitter.graph.constants[step.nodes[0].inputs[1]].ndim - 2 if step.nodes[0].op == "Conv" else 0
        shaped = bias.reshape(-1, *([1] * trailing))
        chain.append(("Add", (emitter.constant(f"{step.layer}.b", shaped),), {}))
    if step.nodes[-1].op == "Relu":
        chain.append(("Relu", (), {}))
    return chain


def _weight(emitter: Emitter, step: Step, solution: Solution, *, as_matmul: bool) -> str:
    """Write DequantizeLinear of the weight codes, in the operator's own layout or as a MatMul's."""
    node = step.nodes[0]
    shape = emitter.graph.constants[node.inputs[1]].shape
    codes = np.ascontiguousarray(solution.codes.q.T) if as_matmul else stored(solution.codes.q, node, shape)
    scales = np.asarray(solution.codes.encoding.scale, np.float32)
    inputs: tuple[str, ...] = (emitter.constant(f"{step.layer}.w", codes), emitter.constant(f"{step.layer}.s", scales))
    if node.op == "Gemm" and not as_matmul:  # onnxruntime takes a Gemm for integer only if its weight has a zero point
        zeros = np.zeros(len(scales), np.int8)
        inputs = (*inputs, emitter.constant(f"zeros{len(scales)}", zeros))
    axis = 1 if as_matmul else channel_axis(node)
    return emitter.node("DequantizeLinear", inputs, f"{step.layer}.wf", axis=axis)


def _write_chain(emitter: Emitter, step: Step, chain: list[tuple[str, tuple[str, ...], dict[str, Any]]]) -> None:
    """Write operators one after the other; each but the first reads the one before as its first input."""
    before: tuple[str, ...] = ()
    for number, (op, inputs, attributes) in enumerate(chain[:-1]):
        before = (emitter.node(op, (*before, *inputs), f"{step.layer}.{number}", **attributes),)
    op, inputs, attributes = chain[-1]
    emitter.put(op, (*before, *inputs), step.outputs[0], **attributes)


def allowed(graph: Graph, step: Step, encodings: Mapping[str, Encoding]) -> Exponents:
    """An accumulator's unit is the input's scale times that of the weights, which may have to be coarse to fit."""
    assert step.recipe is not None
    if step.recipe.activations != "static":
        return Exponents()
    source = encodings[step.nodes[0].inputs[0]]
    rows = np.abs(rows_of(graph, step.nodes[0]) * source.factor).astype(np.float64)
    widest = rows.max(axis=1) / (LARGEST if int(step.recipe.weights) == 8 else LARGEST / 2.2)
    fullest = rows.sum(axis=1) * 255 * 2.0 ** (1 - budget.FLOAT32_BITS)
    unit = int(dyadic.exponent_ceil(np.maximum(np.maximum(widest, fullest), SMALLEST)).max())
    return Exponents(least=source.exponent + unit - MOST_LEFT)


OPERATOR = Operator(
    name="product",
    claim=claim,
    reads=reads,
    emit=emit,
    layouts=frozenset({"codes", "islands"}),
    makes_codes=False,
    allowed=allowed,
)
