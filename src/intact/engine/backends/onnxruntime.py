"""ONNX Runtime on the CPU: the default engine.

Three ways of running, the fastest first:

- default: integer kernels. On x86 hosts without VNNI they saturate at 16 bits.
- wide: the same kernels with weights as uint8, which need no 16-bit sums. For those hosts.
- float: no integer kernels at all; exact too, as the specification shows, and slow. But it comes first where only
  weights are codes: they are then expanded once, for kernels that read narrow weights are slower than float32's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.engine.backend import DEFAULT, Arrays, Backend, EngineError, Options, Session
from intact.engine.spec import graph_of, specs_of
from intact.engine.surgery import own_zero_points
from intact.graph.program import Program, memory_of

SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    DEFAULT: {},
    "wide": {"session.x64quantprecision": "1"},
    "float": {"session.disable_quant_qdq": "1"},
}

ALWAYS: Final[Mapping[str, str]] = {
    # A weight that meets an activation through a layout operator becomes MatMulNBits, whose level 4 (the default)
    # rounds activations to 8 bits on the way; level 1 keeps them in float32.
    "session.qdq_matmulnbits_accuracy_level": "1",
    "session.use_external_initializer_file_buffers_directly": "1",  # weights are read where they lie, never copied
}

UNPACKED: Final[Mapping[str, str]] = {"session.disable_prepacking": "1"}
"""Weights are packed for the kernels call by call, from where they lie."""

FATAL: Final = 4
"""The only level logged: every lesser failure comes back as an exception."""


def _why_unavailable() -> str | None:
    return None if find_spec("onnxruntime") else "onnxruntime is not installed"


def _load(program: Program, options: Options, variant: str) -> Session:
    onnxruntime = _library()
    inputs, outputs = specs_of(graph_of(program).graph)
    program = own_zero_points(program) if variant == "wide" else program
    names = [output.name for output in outputs]
    buffers = {name: memory_of(tensor) for name, tensor in program.tensors.items()}
    try:
        session = onnxruntime.InferenceSession(
            program.model, _options(options, variant, buffers), providers=["CPUExecutionProvider"]
        )
    except _failures() as failure:
        raise EngineError(f"onnxruntime cannot load the model: {_first_line(failure)}") from failure

    def run(values: Arrays, _keep: object = buffers) -> dict[str, NDArray[Any]]:  # the session reads them in place
        try:
            return dict(zip(names, session.run(names, dict(values)), strict=True))
        except _failures() as failure:
            raise EngineError(f"onnxruntime cannot run the model: {_first_line(failure)}") from failure

    return Session(engine="onnxruntime", variant=variant, inputs=inputs, outputs=outputs, execute=run, weights=buffers)


def _library() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"onnxruntime cannot be imported: {error}") from error
    return onnxruntime


def _options(options: Options, variant: str, buffers: Mapping[str, NDArray[np.uint8]]) -> Any:
    onnxruntime = _library()
    onnxruntime.disable_telemetry_events()
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = FATAL
    settings.use_deterministic_compute = True
    settings.intra_op_num_threads = options.threads or 0
    settings.inter_op_num_threads = 1
    packing = UNPACKED if options.in_place else {}
    for key, value in {**ALWAYS, **SETTINGS[variant], **packing}.items():
        settings.add_session_config_entry(key, value)
    sizes = [buffer.nbytes for buffer in buffers.values()]  # each is a file of its initializer's name
    settings.add_external_initializers_from_files_in_memory(list(buffers), list(buffers.values()), sizes)
    return settings


def _prefers(program: Program) -> tuple[str, ...]:
    """Without codes of activations there is nothing for integer kernels to do."""
    operators = {node.op_type for node in graph_of(program).graph.node}
    return ("float",) if "DequantizeLinear" in operators and "QuantizeLinear" not in operators else ()


@lru_cache(maxsize=1)
def _failures() -> tuple[type[BaseException], ...]:
    """Return what the library raises: classes of its own that share no parent but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception))
    return (*own, RuntimeError, ValueError)


def _first_line(failure: BaseException) -> str:
    return (str(failure).strip().splitlines() or [type(failure).__name__])[0]


BACKEND = Backend(
    name="onnxruntime",
    why_unavailable=_why_unavailable,
    load=_load,
    variants=tuple(SETTINGS),
    prefers=_prefers,
    package="onnxruntime",
)
