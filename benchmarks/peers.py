"""The peers, as their own documentation says to use them: quantizers and sessions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from places import ROOT

Array = NDArray[Any]
Feeds = Mapping[str, Array]
Run = Callable[[Feeds], Array]

NNCF_PYTHON = Path(os.environ.get("INTACT_NNCF_PYTHON", ROOT / "build" / "nncf" / "bin" / "python"))
"""An interpreter with nncf, which the project must not depend on; `make bench-peers` makes one."""


def onnxruntime_session(path: Path, threads: int) -> Run:
    """Return the first output of the model at `path` under onnxruntime, as it is by default."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)[0]


def openvino_session(path: Path, threads: int, **more: str) -> Run:
    """Return the first output of the model at `path` under OpenVINO, as it is by default for single calls."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **more}
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    return lambda feeds: request.infer(feeds, share_inputs=True)[0]


def torch_session(module: Any, threads: int) -> Run:
    """Return a torch module in eager mode; arguments go in by name."""
    import torch

    torch.set_num_threads(threads)
    module.eval()

    def run(feeds: Feeds) -> Array:
        with torch.inference_mode():
            return module(**{name: torch.from_numpy(value) for name, value in feeds.items()}).numpy()

    return run


def prepare_onnxruntime(source: Path, target: Path) -> Path:
    """Do what onnxruntime asks for before quantization; its symbolic shapes fail on graphs from torch's exporter."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(source, target, skip_symbolic_shape=True)
    return target


def quantize_static(source: Path, target: Path, feeds: Iterable[Feeds]) -> Path:
    """Quantize with onnxruntime: uint8 activations, int8 weights per channel, QDQ, ranges from `feeds`."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        rest = iter(list(feeds))

        def get_next(self) -> Feeds | None:
            return next(self.rest, None)

    quantization.quantize_static(
        prepare_onnxruntime(source, target.with_suffix(".prepared.onnx")),
        target,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return target


def quantize_dynamic(source: Path, target: Path) -> Path:
    """Quantize with onnxruntime, activations at run time, everything by default."""
    from onnxruntime import quantization

    quantization.quantize_dynamic(prepare_onnxruntime(source, target.with_suffix(".prepared.onnx")), target)
    return target


def quantize_nncf(source: Path, target: Path, feeds: Sequence[Feeds]) -> Path | None:
    """Quantize with NNCF for transformers into an OpenVINO file; None where there is no interpreter with nncf."""
    if not NNCF_PYTHON.exists():
        return None
    data = target.with_suffix(".npz")
    np.savez(data, **{f"{index}/{name}": value for index, feed in enumerate(feeds) for name, value in feed.items()})
    script = ROOT / "benchmarks" / "nncf_quantize.py"
    subprocess.run([NNCF_PYTHON, script, source, data, target], check=True, capture_output=True)
    return target


def file_bytes(path: Path) -> int:
    """Size of a model file, with the weights that OpenVINO puts beside its own."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)
