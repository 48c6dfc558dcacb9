"""One spelling for attention and embeddings, whichever of the exporter's spellings came in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from intact.graph.change import Change, Rule, Shapes, as_bias, constant_operand, only_consumer
from intact.graph.view import Graph, Node

MAX_DEPTH = 12
"""How far back a value is traced."""


def key_transpose(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """Reshape(Transpose(Reshape(x, [-1, S, D]), (0, 2, 1)), [.., D, S]): one Transpose of the last two axes.

    Only where the sizes prove it: an image flattened to (rows, H * W, C) is spelled alike and means something else.
    """
    if node.op != "Reshape":
        return None
    swap = graph.producers.get(node.inputs[0])
    if swap is None or swap.op != "Transpose" or list(swap.attributes.get("perm", ())) != [0, 2, 1]:
        return None
    fold = graph.producers.get(swap.inputs[0])
    if fold is None or fold.op != "Reshape":
        return None
    source = fold.inputs[0]
    shape, folded, made = (shapes.get(name, ()) for name in (source, fold.output, node.output))
    if len(shape) != 4 or None in shape[1:] or folded[1:] != shape[2:] or made[1:] != (shape[1], shape[3], shape[2]):
        return None
    before = graph.producers.get(source)
    perm = [0, 1, 3, 2]
    if before is not None and before.op == "Transpose":
        first = list(before.attributes["perm"])
        source, perm = before.inputs[0], [first[index] for index in perm]
    put = Node(op="Transpose", inputs=(source,), outputs=node.outputs, attributes={"perm": perm})
    return Change(drop=(node,), put=(put,))


def scalar_into_product(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """MatMul + Add, then only Reshape and Transpose, then Mul by a constant: the constant goes into weight and bias."""
    name = constant_operand(graph, node) if node.op == "Mul" else None
    if name is None or graph.constants[name].size != 1:
        return None
    moved = next(other for other in node.inputs if other != name)
    source = _behind_moves(graph, moved)
    add = graph.producers.get(source)
    if add is None or add.op != "Add" or only_consumer(graph, source) is None:
        return None
    bias = constant_operand(graph, add)
    product = graph.producers.get(next((other for other in add.inputs if other != bias), ""))
    weight = graph.constant(product.inputs[1]) if product is not None and product.op == "MatMul" else None
    if bias is None or product is None or weight is None or only_consumer(graph, product.output) is not add:
        return None
    factor = np.float32(graph.constants[name].reshape(()))
    names = (f"{node.output}.weight", f"{node.output}.bias")
    constants = {names[0]: weight * factor, names[1]: graph.constants[bias] * factor}
    scaled = replace(product, inputs=(product.inputs[0], names[0]))
    shifted = replace(add, inputs=(product.output, names[1]))
    same = Node(op="Identity", inputs=(moved,), outputs=node.outputs)
    return Change(drop=(product, add, node), put=(scaled, shifted, same), constants=constants, in_place=True)


def _behind_moves(graph: Graph, name: str) -> str:
    while (node := graph.producers.get(name)) is not None and node.op in ("Reshape", "Transpose"):
        if only_consumer(graph, name) is None:
            break
        name = node.inputs[0]
    return name


def identity(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """Identity inside the graph: its readers read its source."""
    if node.op != "Identity" or node.output in graph.output_names:
        return None
    readers = graph.consumers.get(node.output, ())
    put = tuple(
        replace(reader, inputs=tuple(node.inputs[0] if name == node.output else name for name in reader.inputs))
        for reader in readers
    )
    return Change(drop=(node, *readers), put=(None, *put), in_place=True)


def nan_guard(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """Where(IsNaN(softmax), 0, softmax): the softmax, if its mask is finite, for then no row is all minus infinity."""
    if node.op != "Where" or node.output in graph.output_names:
        return None
    check, softmax = graph.producers.get(node.inputs[0]), graph.producers.get(node.inputs[2])
    if check is None or check.op != "IsNaN" or softmax is None or softmax.op != "Softmax":
        return None
    add = graph.producers.get(softmax.inputs[0])
    if check.inputs[0] != softmax.output or (add is not None and add.op == "Add" and not _has_finite_mask(graph, add)):
        return None
    return Change(drop=(node,), put=(Node(op="Identity", inputs=(softmax.output,), outputs=node.outputs),))


def _has_finite_mask(graph: Graph, add: Node) -> bool:
    """Whether every operand but a MatMul of computed values is finite whatever the input."""
    masks = [name for name in add.inputs if getattr(graph.producers.get(name), "op", "") != "MatMul"]
    return all(_is_finite(graph, name, 0) for name in masks)


def _is_finite(graph: Graph, name: str, depth: int) -> bool:
    value = graph.constant(name)
    if value is not None:
        return bool(np.isfinite(value).all()) if value.dtype.kind == "f" else True
    node = graph.producers.get(name)
    if node is None or depth > MAX_DEPTH:
        return False
    if node.op == "Cast":
        return _is_whole(graph, node.inputs[0])
    if node.op == "Where":
        return all(_is_finite(graph, operand, depth + 1) for operand in node.inputs[1:])
    if node.op in ("Add", "Sub", "Mul"):
        return all(_is_finite(graph, operand, depth + 1) for operand in node.inputs)
    if node.op in ("Unsqueeze", "Squeeze", "Reshape", "Expand", "Slice", "Transpose"):
        return _is_finite(graph, node.inputs[0], depth + 1)
    return False


def _is_whole(graph: Graph, name: str) -> bool:
    """Whether a value traces back to an integer or boolean input by moves alone."""
    while (node := graph.producers.get(name)) is not None:
        if node.op not in ("Unsqueeze", "Squeeze", "Reshape", "Expand", "Slice", "Transpose"):
            return False
        name = node.inputs[0]
    return any(port.name == name and port.dtype.kind in "iub" for port in graph.inputs)


def uniform_gather(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """Gather of a table row that is the same everywhere, added to something of full shape: the constant row."""
    if node.op != "Gather" or node.attributes.get("axis", 0):
        return None
    table, index = graph.constant(node.inputs[0]), _uniform(graph, node.inputs[1])
    add = only_consumer(graph, node.output)
    if table is None or table.ndim != 2 or index is None or add is None or add.op != "Add":
        return None
    other = next(name for name in add.inputs if name != node.output)
    if len(shapes.get(other, ())) != len(shapes.get(node.output, (None,))):
        return None
    name = f"{node.output}.row"
    inputs = tuple(name if operand == node.output else operand for operand in add.inputs)
    return Change(drop=(node, add), put=(replace(add, inputs=inputs),), constants={name: table[index]})


def _uniform(graph: Graph, name: str) -> int | None:
    """The one whole number that `name` holds everywhere, or None."""
    for _ in range(MAX_DEPTH):
        value = graph.constant(name)
        if value is not None:
            same = value.size > 0 and value.dtype.kind == "i" and bool((value == value.flat[0]).all())
            return int(value.flat[0]) if same else None
        node = graph.producers.get(name)
        if node is None or node.op not in (
            "Expand",
            "GatherElements",
            "Slice",
            "Reshape",
            "Unsqueeze",
            "Squeeze",
            "Transpose",
        ):
            return None
        name = node.inputs[0]
    return None


def expand_before_arithmetic(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """x / Expand(y, shape of x): x / y, for arithmetic broadcasts already."""
    if node.op not in ("Div", "Mul", "Add", "Sub"):
        return None
    for place, name in enumerate(node.inputs):
        expand, other = graph.producers.get(name), node.inputs[1 - place]
        if expand is None or expand.op != "Expand" or other not in shapes or shapes.get(name) != shapes[other]:
            continue
        inputs = tuple(expand.inputs[0] if index == place else operand for index, operand in enumerate(node.inputs))
        return Change(drop=(node,), put=(replace(node, inputs=inputs),))
    return None


def merge_products(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """Several MatMul + Add that read one tensor (queries, keys, values): one MatMul + Add, and a Split."""
    if node.op != "MatMul" or graph.constant(node.inputs[1]) is None:
        return None
    rank = len(shapes.get(node.inputs[0], ()))
    pairs = [(product, add) for product in graph.consumers[node.inputs[0]] if (add := _bias_add(graph, product, rank))]
    if len(pairs) < 2 or pairs[0][0] is not node:
        return None
    weights = [graph.constants[product.inputs[1]] for product, _ in pairs]
    names = [str(constant_operand(graph, add)) for _, add in pairs]
    stem = f"{_common_stem(names) or node.inputs[0]}.merged"
    sizes = np.asarray([weight.shape[1] for weight in weights], np.int64)
    constants = {
        f"{stem}.weight": np.concatenate(weights, axis=1),
        f"{stem}.bias": np.concatenate([graph.constants[name].reshape(-1) for name in names]),
        f"{stem}.sizes": sizes,
    }
    product = Node(op="MatMul", inputs=(node.inputs[0], f"{stem}.weight"), outputs=(f"{stem}.product",))
    add = Node(op="Add", inputs=(f"{stem}.product", f"{stem}.bias"), outputs=(stem,))
    outputs = tuple(add.output for _, add in pairs)
    split = Node(op="Split", inputs=(stem, f"{stem}.sizes"), outputs=outputs, attributes={"axis": -1})
    drop = tuple(member for pair in pairs for member in pair)
    return Change(drop=drop, put=(product, add, split), constants=constants, at_first=True)


def _common_stem(names: list[str]) -> str:
    """The dotted parts that all names begin with."""
    shared = []
    for parts in zip(*(name.split(".") for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def _bias_add(graph: Graph, product: Node, rank: int) -> Node | None:
    """The Add of a constant vector that alone reads a MatMul, of `rank` axes, with a constant matrix."""
    weight = graph.constant(product.inputs[1]) if product.op == "MatMul" else None
    add = only_consumer(graph, product.output) if weight is not None and weight.ndim == 2 else None
    if add is None or weight is None or add.op != "Add":
        return None
    bias = graph.constant(constant_operand(graph, add) or "")
    return add if bias is not None and bias.size > 1 and as_bias(bias, weight.shape[1], rank) is not None else None


RULES: tuple[Rule, ...] = (
    nan_guard,
    key_transpose,
    identity,
    scalar_into_product,
    uniform_gather,
    expand_before_arithmetic,
    merge_products,
)
