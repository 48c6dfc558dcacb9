"""Bring a float graph into the form the compressor reads: constants folded, BatchNorm folded, one spelling per idea."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from intact.errors import ModelError
from intact.graph.program import Program
from intact.graph.rewrite import rewrite
from intact.graph.run import ORT_ERRORS, WRONG_OPTIMIZERS, as_program, memory, session_options
from intact.graph.sharing import unshare
from intact.graph.view import OPSET, Graph, read

UNWANTED_OPTIMIZERS = ("ReshapeFusion", "FreeDimensionOverrideTransformer", "QDQPropagationTransformer")


def normalise(model: onnx.ModelProto | Program) -> Graph:
    """Return the same function as a simpler graph of standard operators, at opset 21.

    Weights that stay as they are share the memory of those of a program.

    onnxruntime's basic level folds constants, inlines functions and fuses BatchNorm, Mul and Add into convolutions;
    it stays within standard ONNX. `rewrite` then settles on one spelling for what is left.

    Raises:
        ModelError: The model does not run in float, is not of float32, or cannot be written in opset 21.
    """
    program = as_program(model)
    slim = onnx.load_from_string(program.model)
    graph = _shared(read(_optimise(_raise_opset(slim), program)), program)
    unknown = {node.domain for node in graph.nodes} - {"", "ai.onnx"} - {each.domain for each in slim.opset_import}
    if unknown:
        raise ModelError(f"normalising brought in the operator domains {sorted(unknown)}")
    _refuse_other_floats(graph)
    _refuse_newer(graph)
    return unshare(rewrite(graph))


def _shared(graph: Graph, program: Program) -> Graph:
    """The graph with a program's own tensors in place of equal constants."""
    constants = dict(graph.constants)
    for name, tensor in program.tensors.items():
        found = constants.get(name)
        if found is not None and found.dtype == tensor.dtype and np.array_equal(found, tensor):
            constants[name] = tensor
    return replace(graph, constants=constants)


def _refuse_newer(graph: Graph) -> None:
    """Only what opset 21 can write: an operator or an attribute that came later has no place in the integer graph."""
    for node in graph.nodes:
        if node.domain:
            continue
        known = onnx.defs.has(node.op, max_inclusive_version=OPSET)
        if not known or not set(node.attributes) <= set(onnx.defs.get_schema(node.op, OPSET).attributes):
            raise ModelError(
                f"operator '{node.op}' is written in a form newer than opset {OPSET}",
                hint=f"export the model with opset {OPSET}",
            )


def _refuse_other_floats(graph: Graph) -> None:
    """Only float32 models are quantized: another width would meet codes whose scales are float32."""
    named = {port.name: port.dtype for port in (*graph.inputs, *graph.outputs)}
    named |= {name: value.dtype for name, value in graph.constants.items() if value.size > 1}
    for name, dtype in named.items():
        if dtype.kind not in "iub" and dtype != "float32":
            raise ModelError(f"'{name}' is {dtype}, and only float32 models are quantized", hint="export model.float()")


def _raise_opset(proto: onnx.ModelProto) -> onnx.ModelProto:
    opset = {entry.domain: entry.version for entry in proto.opset_import}.get("", 0)
    if opset >= OPSET:
        return proto
    try:
        return onnx.version_converter.convert_version(proto, OPSET)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise ModelError(
            f"the model of opset {opset} cannot be raised to {OPSET}: {str(error).strip()[:200]}",
            hint=f"export it again with opset {OPSET}",
        ) from error


def _optimise(slim: onnx.ModelProto, program: Program) -> onnx.ModelProto:
    """What onnxruntime makes of the graph `slim` with the tensors of `program`, all of them inside."""
    buffers = memory(program)  # read by the session as long as it is there
    options = session_options(buffers)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="intact-") as folder:
        target = Path(folder) / "basic.onnx"
        options.optimized_model_filepath = str(target)
        try:
            ort.InferenceSession(
                slim.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=[*UNWANTED_OPTIMIZERS, *WRONG_OPTIMIZERS],
            )
        except ORT_ERRORS as error:
            raise ModelError(f"the float model does not run: {str(error).strip()[:300]}") from error
        return onnx.load(target)
