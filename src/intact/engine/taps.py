"""Values inside a program, given beside its outputs: any engine can, for to it they are outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from intact.engine.backend import Backend, EngineError, Options, Session
from intact.engine.spec import TensorSpec
from intact.graph.program import Program


def load_session(backend: Backend, program: Program, options: Options, variant: str) -> Session:
    """Load a program on an engine, with the taps that the options ask for.

    Raises:
        EngineError: The engine cannot, or the program has no such value.
    """
    if not options.taps:
        return backend.load(program, options, variant)
    names = [tap.name for tap in options.taps]
    session = backend.load(with_outputs(program, options.taps), options, variant)
    return replace(
        session, outputs=tuple(spec for spec in session.outputs if spec.name not in names), taps=options.taps
    )


def with_outputs(program: Program, taps: tuple[TensorSpec, ...]) -> Program:
    """Return the program with more outputs; its tensors are the same memory.

    Raises:
        EngineError: A node makes no value of that name, or it is an output already.
    """
    proto = onnx.load_from_string(program.model)
    made = {name for node in proto.graph.node for name in node.output}
    taken = {value.name for value in proto.graph.output}
    for tap in taps:
        if tap.name not in made or tap.name in taken:
            raise EngineError(f"the program has no value {tap.name!a:.70} inside to be given beside its outputs")
        element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tap.dtype))
        proto.graph.output.append(onnx.helper.make_tensor_value_info(tap.name, element, None))
    return Program(model=proto.SerializeToString(deterministic=True), tensors=program.tensors)
