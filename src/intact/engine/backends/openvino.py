"""OpenVINO on the CPU: an optional engine, faster than the default on some hosts and models.

It needs help to keep the integers of the definition, so the graph it is given is spelled differently:

- its input quantizer rounds near ties in its own way, so codes are computed in numpy and it starts from those;
- between a convolution and an addition it leaves out the rounding, so that rounding becomes a node of its own.

It crashes on some hosts and on some models, so it is fragile: new models are tried in a child process first.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from threading import local
from typing import Any, Final

from numpy.typing import NDArray

from intact.engine.backend import DEFAULT, Arrays, Backend, EngineError, Options, Session
from intact.engine.spec import graph_of, specs_of
from intact.engine.surgery import InputQuantizer, peel_inputs, spell_out_rounding
from intact.graph.program import Program

SETTINGS: Final[Mapping[str, Any]] = {
    "INFERENCE_PRECISION_HINT": "f32",  # no bfloat16 on hosts that have it
    "EXECUTION_MODE_HINT": "ACCURACY",
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # no rounding of activations that the graph does not ask for
}

VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    DEFAULT: {},
    "float": {"LP_TRANSFORMS_MODE": "NO"},  # no integer kernels
}


def _why_unavailable() -> str | None:
    return None if find_spec("openvino") else "openvino is not installed"


def _load(program: Program, options: Options, variant: str) -> Session:
    openvino = _library()
    inputs, outputs = specs_of(graph_of(program).graph)
    model = program.to_proto()
    quantizers = peel_inputs(model)
    spell_out_rounding(model)
    settings = {**SETTINGS, **VARIANTS[variant], "INFERENCE_NUM_THREADS": options.threads or 0}
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    except RuntimeError as failure:
        raise EngineError(f"openvino cannot load the model: {_last_line(failure)}") from failure
    requests = local()  # a request serves one thread at a time

    def run(values: Arrays) -> dict[str, NDArray[Any]]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        try:
            results = requests.own.infer(_codes(values, quantizers), share_inputs=True)
        except RuntimeError as failure:
            raise EngineError(f"openvino cannot run the model: {_last_line(failure)}") from failure
        return {spec.name: results[index].copy() for index, spec in enumerate(outputs)}

    return Session(engine="openvino", variant=variant, inputs=inputs, outputs=outputs, execute=run)


def _library() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise EngineError(f"openvino cannot be imported: {error}") from error
    return openvino


def _codes(values: Arrays, quantizers: Mapping[str, InputQuantizer]) -> dict[str, NDArray[Any]]:
    codes = {}
    for name, value in values.items():
        quantizer = quantizers.get(name)
        codes[name if quantizer is None else quantizer.codes] = value if quantizer is None else quantizer.apply(value)
    return codes


def _last_line(failure: RuntimeError) -> str:
    return (str(failure).strip().splitlines() or [type(failure).__name__])[-1]


BACKEND = Backend(
    name="openvino",
    why_unavailable=_why_unavailable,
    load=_load,
    variants=tuple(VARIANTS),
    package="openvino",
    fragile=True,
    copies=True,
)
