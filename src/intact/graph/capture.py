"""Capture a torch module as an ONNX model. The only module of this package that imports torch, and only when called."""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from intact.errors import ModelError, UsageError
from intact.graph.view import OPSET

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
DynamicAxes = Mapping[str, Mapping[int, str]]

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter says in which modules a node came about: a list of their paths, the operator last."""


def capture(
    module: torch.nn.Module,
    inputs: Mapping[str, Array],
    *,
    dynamic_axes: DynamicAxes | None = None,
    output_names: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """Export `module` in evaluation mode, with a batch axis that may vary.

    Args:
        module: Any module that `torch.export` can trace.
        inputs: One example array for each argument of `forward`, by its name; the first axis is the batch.
        dynamic_axes: Axes that may vary, as {input: {axis: name}}. Default: axis 0 of every input, named "batch".
        output_names: Names for the outputs; torch's own where empty.

    Returns:
        A standard ONNX model of opset 21. The module is left as it was.

    Raises:
        UsageError: torch is not installed.
        ModelError: torch cannot trace the module, or an axis that should vary turned out fixed.
    """
    try:
        import torch
    except ImportError as error:
        raise UsageError("torch is not installed", hint="pip install 'intact[torch]'") from error
    axes = dynamic_axes if dynamic_axes is not None else {name: {0: "batch"} for name in inputs}
    examples = {name: torch.from_numpy(_at_least_two_rows(value, axes.get(name, {}))) for name, value in inputs.items()}
    try:
        with _quiet(), _evaluating(module), torch.no_grad():
            program = torch.onnx.export(
                module,
                kwargs=examples,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes={name: dict(axes.get(name, {})) or None for name in inputs},
                input_names=list(inputs),
                output_names=list(output_names) or None,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"torch cannot capture the module: {_first_line(error)}",
            hint="check that the example inputs fit forward()'s arguments, or export to ONNX yourself",
        ) from error
    proto: onnx.ModelProto = program.model_proto
    _check_axes(proto, axes)
    _name_weights(proto)
    return proto


def _name_weights(proto: onnx.ModelProto) -> None:
    """Call a weight that the exporter transposed, and so renamed, after its module: recipes name layers by it."""
    nodes, tensors = proto.graph.node, {tensor.name: tensor for tensor in proto.graph.initializer}
    if any(attribute.type == onnx.AttributeProto.GRAPH for node in nodes for attribute in node.attribute):
        return  # a branch may use it too
    uses = Counter(name for node in nodes for name in node.input)
    for node in nodes:
        weight = tensors.get(node.input[1]) if node.op_type == "MatMul" else None
        name = f"{_module_path(node)}.weight"
        if weight is None or name == ".weight" or name in tensors or uses[weight.name] > 1:
            continue
        for info in proto.graph.value_info:
            if info.name == weight.name:
                info.name = name
        tensors[name] = weight
        weight.name = node.input[1] = name


def _module_path(node: onnx.NodeProto) -> str:
    """Return the path of the innermost module that a node came from, "" where torch does not say."""
    told = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
    scopes = ast.literal_eval(told)
    return str(scopes[-2]) if len(scopes) > 1 else ""


def _at_least_two_rows(value: Array, axes: Mapping[int, str]) -> Array:
    """torch.export takes a size of one for a constant: repeat such axes."""
    for axis in axes:
        if value.shape[axis] == 1:
            value = np.repeat(value, 2, axis=axis)
    return np.array(value)  # a writable copy: torch warns about read-only memory


def _check_axes(proto: onnx.ModelProto, axes: DynamicAxes) -> None:
    for item in proto.graph.input:
        for axis, name in axes.get(item.name, {}).items():
            dim = item.type.tensor_type.shape.dim[axis]
            if dim.HasField("dim_value"):
                raise ModelError(
                    f"axis {axis} of input '{item.name}' ({name}) was traced as the fixed size {dim.dim_value}",
                    hint="write forward() without sizes taken from the example, such as x.view(8, -1)",
                )


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and every part of it back as it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on packages we do not use away from the user's terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
