"""all-MiniLM-L6-v2 by the peers: run under the peers' interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from torch import nn

import peer_weights as peers
from peer_side import Made, main
from places import example

GROUP = 32

minilm = example("minilm")


def build() -> nn.Module:
    """Return the float model."""
    return minilm.SentenceEncoder().eval()


@cache
def pieces() -> list[dict[str, np.ndarray]]:
    """Return the calibration sentences in batches."""
    return minilm.calibration_sentences()


def one_by_one() -> Iterator[dict[str, np.ndarray]]:
    """Return every calibration sentence as a batch of its own."""
    for piece in pieces():
        for row in range(len(piece["input_ids"])):
            yield {name: value[row : row + 1] for name, value in piece.items()}


def nncf_weights(folder: Path, **methods: bool) -> Made:
    """Compress the products in groups; embeddings stay at 8 bits."""
    model = peers.imported(build, pieces()[0])
    return peers.nncf(model, folder / "nncf.xml", "INT4_SYM", GROUP, one_by_one(), **methods)


def nncf_int8(folder: Path) -> Made:
    """Quantize weights and activations for transformers."""
    import nncf
    import openvino

    data = list(one_by_one())
    quantized = nncf.quantize(
        openvino.Core().read_model(folder.parent / "float.onnx"),
        nncf.Dataset(data),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(data),
    )
    openvino.save_model(quantized, folder / "nncf.xml", compress_to_fp16=False)
    return Made(file=folder / "nncf.xml", packages=("nncf", "openvino"))


def onnxruntime(folder: Path, **options: object) -> Made:
    """Quantize the ONNX file in blocks."""
    source = folder.parent / "float.onnx"
    return peers.onnxruntime(source, folder / "onnxruntime.onnx", 4, GROUP, **options)  # type: ignore[arg-type]


def onnxruntime_dynamic(folder: Path) -> Made:
    """Quantize with activations at run time, everything by default."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, target = folder / "prepared.onnx", folder / "onnxruntime.onnx"
    quant_pre_process(folder.parent / "float.onnx", prepared, skip_symbolic_shape=True)
    quantization.quantize_dynamic(prepared, target)
    return Made(file=target, packages=("onnxruntime",))


def onnxruntime_static(folder: Path) -> Made:
    """Quantize with ranges by min-max, per channel, QDQ."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        rest = iter(pieces())

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.rest, None)

    prepared, target = folder / "prepared.onnx", folder / "onnxruntime.onnx"
    quant_pre_process(folder.parent / "float.onnx", prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared, target, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True
    )
    return Made(file=target, packages=("onnxruntime",))


def outputs(made: Made) -> np.ndarray:
    """Return the embeddings of all sentences of STS-B test, first sides first."""
    assert made.run is not None
    pairs = minilm.pairs("test")
    return minilm.embed(made.run, [pair[side] for side in (0, 1) for pair in pairs])


METHODS = {
    "onnxruntime dynamic": onnxruntime_dynamic,
    "onnxruntime static": onnxruntime_static,
    "NNCF W8A8": nncf_int8,
    "torchao W8A8 per token": lambda _: peers.torchao_dynamic(build),
    "optimum-quanto W8A8": lambda _: peers.quanto(build, "qint8", "qint8", pieces()),
    "onnxruntime W4": onnxruntime,
    "onnxruntime HQQ W4": lambda folder: onnxruntime(folder, method="hqq"),
    "onnxruntime W4, embeddings too": lambda folder: onnxruntime(folder, tables=True),
    "NNCF W4": nncf_weights,
    "NNCF GPTQ W4": lambda folder: nncf_weights(folder, gptq=True),
    "NNCF AWQ + scale estimation W4": lambda folder: nncf_weights(folder, awq=True, scale_estimation=True),
    "hqq W4": lambda _: peers.hqq(build, 4, GROUP),
    "hqq W3": lambda _: peers.hqq(build, 3, GROUP),
    "optimum-quanto W4": lambda _: peers.quanto(build, "qint4", None, ()),
    "torchao W4": lambda _: peers.torchao_weights(build, 4, GROUP),
    "torchao W3": lambda _: peers.torchao_weights(build, 3, GROUP),
    "neural-compressor GPTQ W4": lambda _: peers.neural_compressor(build, 4, GROUP, pieces()),
}

if __name__ == "__main__":
    main(METHODS, outputs)
