"""stories260K by the peers, weight-only: run under the peers' interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

import peer_weights as peers
from peer_side import Made, main
from places import example

GROUP = 32

stories260k = example("stories260k")


def build() -> nn.Module:
    """Return the float model."""
    return stories260k.float_model()


def pieces() -> list[dict[str, np.ndarray]]:
    """Return the calibration stories in batches."""
    return stories260k.calibration_stories()


def nncf(folder: Path, mode: str, group: int | None = GROUP, **methods: bool) -> Made:
    """Compress the products in groups; embedding and classifier stay at 8 bits."""
    data = pieces() if methods else None
    model = peers.imported(build, pieces()[0])
    return peers.nncf(model, folder / "nncf.xml", mode, group, data, **methods)


def onnxruntime(folder: Path, bits: int, method: str = "") -> Made:
    """Quantize the ONNX file in blocks."""
    return peers.onnxruntime(folder.parent / "float.onnx", folder / "onnxruntime.onnx", bits, GROUP, method=method)


def outputs(made: Made) -> np.ndarray:
    """Return the surprise at each test story and its number of tokens."""
    return np.stack(stories260k.surprise(made.run))


METHODS = {
    "NNCF W8": lambda folder: nncf(folder, "INT8_ASYM", None),
    "hqq W8": lambda _: peers.hqq(build, 8, GROUP),
    "onnxruntime W8": lambda folder: onnxruntime(folder, 8),
    "optimum-quanto W8": lambda _: peers.quanto(build, "qint8", None, ()),
    "neural-compressor GPTQ W8": lambda _: peers.neural_compressor(build, 8, GROUP, pieces()),
    "NNCF W4": lambda folder: nncf(folder, "INT4_SYM"),
    "NNCF GPTQ W4": lambda folder: nncf(folder, "INT4_SYM", gptq=True),
    "NNCF AWQ + scale estimation W4": lambda folder: nncf(folder, "INT4_SYM", awq=True, scale_estimation=True),
    "onnxruntime W4": lambda folder: onnxruntime(folder, 4),
    "onnxruntime HQQ W4": lambda folder: onnxruntime(folder, 4, "hqq"),
    "hqq W4": lambda _: peers.hqq(build, 4, GROUP),
    "optimum-quanto W4": lambda _: peers.quanto(build, "qint4", None, ()),
    "torchao W4": lambda _: peers.torchao_weights(build, 4, GROUP),
    "neural-compressor GPTQ W4": lambda _: peers.neural_compressor(build, 4, GROUP, pieces()),
    "hqq W3": lambda _: peers.hqq(build, 3, GROUP),
    "torchao W3": lambda _: peers.torchao_weights(build, 3, GROUP),
    "neural-compressor GPTQ W3": lambda _: peers.neural_compressor(build, 3, GROUP, pieces()),
}

if __name__ == "__main__":
    main(METHODS, outputs)
