"""ResNet-20 by the peers, post-training, from at most 1,000 calibration images: run under the peers' interpreter."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from peer_side import CHUNK, Made, main, packed_bytes
from places import example

IMAGES = 1000

cifar10_images = example("real_data").cifar10_images
cifar10_test = example("real_data").cifar10_test
resnet = example("resnet20_cifar10")


class Pooled(resnet.ResNet):
    """The same network with a pooling whose size is not computed, which brevitas cannot trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def float_model() -> nn.Module:
    """Return the float model."""
    model = Pooled(3)
    model.load_state_dict(resnet.float_model().state_dict())
    return model.eval()


def calibration() -> torch.Tensor:
    """Return the calibration images."""
    return torch.from_numpy(cifar10_images(IMAGES))


def loader() -> list[tuple[torch.Tensor, int]]:
    """Return the calibration images in batches, as brevitas wants them."""
    return [(part, 0) for part in calibration().split(100)]


def module_run(module: nn.Module) -> Any:
    """Return what runs a torch module on arrays."""

    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy()

    return run


def folded() -> nn.Module:
    """Return the float model without BatchNorm."""
    model = float_model()
    for parent in [model, *(block for stage in (model.layer1, model.layer2, model.layer3) for block in stage)]:
        for index in (1, 2) if hasattr(parent, "bn2") else (1,):
            conv, norm = getattr(parent, f"conv{index}"), getattr(parent, f"bn{index}")
            setattr(parent, f"conv{index}", fuse_conv_bn_eval(conv, norm))
            setattr(parent, f"bn{index}", nn.Identity())
    return model


def narrow(width: int, first: int) -> Any:
    """Return the width of each parameter of the folded model: weights in codes, biases in float."""
    return lambda name, value: None if value.dim() == 1 else first if value.shape[1] == 3 else width


def brevitas(weights: int, activations: int, _folder: Path, *, rounding: str = "gptq") -> Made:
    """Do as brevitas' own example does: range by statistics, GPTQ or learned rounding, bias correction."""
    from brevitas.graph.quantize import preprocess_for_quantize
    from brevitas_examples.imagenet_classification.ptq import ptq_common

    torch.manual_seed(0)
    model = preprocess_for_quantize(float_model(), equalize_iters=20)
    model = ptq_common.quantize_model(
        model,
        backend="layerwise",
        weight_bit_width=weights,
        act_bit_width=activations,
        bias_bit_width=None,
        weight_quant_granularity="per_channel",
        act_quant_percentile=99.999,
        act_quant_type="sym",
        scale_factor_type="float_scale",
        quant_format="int",
        weight_param_method="mse",
        act_param_method="mse" if activations < 8 else "stats",
    )
    module_run(model.eval())(loader()[0][0].numpy())  # lets the weights' quantizers find their scales
    ptq_common.calibrate(loader(), model)
    if rounding == "gptq":
        ptq_common.apply_gptq(loader(), model, act_order=True)
    ptq_common.apply_bias_correction(loader(), model)
    model.eval()
    size = packed_bytes(folded(), narrow(weights, 8))
    return Made(run=module_run(model), size_bytes=size, packages=("brevitas",))


def quanto(weights: str, activations: str | None, _folder: Path) -> Made:
    """Quantize with optimum-quanto: weights and activations simulated, ranges by calibration."""
    from optimum import quanto as q

    model = folded()
    q.quantize(model, weights=getattr(q, weights), activations=getattr(q, activations) if activations else None)
    with q.Calibration(), torch.no_grad():
        for images, _ in loader():
            model(images)
    q.freeze(model)
    width = {"qint8": 8, "qint4": 4}[weights]
    size = packed_bytes(folded(), narrow(width, width), group=None if width == 8 else 128)
    return Made(run=module_run(model), size_bytes=size, packages=("optimum-quanto",))


def torchao(weights: int, activations: int, _folder: Path) -> Made:
    """Quantize with torchao's export flow (PT2E): weights per channel, histogram or min-max ranges."""
    from torchao.quantization.pt2e import HistogramObserver, PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import QuantizationSpec
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    config = copy.copy(get_default_x86_inductor_quantization_config())
    config = type(config)(
        QuantizationSpec(
            dtype=torch.uint8,
            quant_min=0,
            quant_max=2**activations - 1,
            qscheme=torch.per_tensor_affine,
            observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=2**-12),
        ),
        config.output_activation,
        QuantizationSpec(
            dtype=torch.int8,
            quant_min=-(2 ** (weights - 1)) + (weights == 8),
            quant_max=2 ** (weights - 1) - 1,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
            observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=2**-12),
        ),
        config.bias,
    )
    quantizer = X86InductorQuantizer().set_global(config)
    images = calibration()
    batch = torch.export.Dim("batch", min=2, max=4096)
    program = torch.export.export(folded(), (images[:CHUNK],), dynamic_shapes=({0: batch},))
    model = prepare_pt2e(program.module(), quantizer)
    with torch.no_grad():
        for part in images.split(CHUNK):
            model(part)
    model = convert_pt2e(model)
    size = packed_bytes(folded(), narrow(weights, weights))
    return Made(run=module_run(model), size_bytes=size, packages=("torchao",))


def nncf(weights: int, activations: int, folder: Path, *, fast: bool = True) -> Made:
    """Quantize with NNCF into an OpenVINO file; below 8 bits by its advanced parameters."""
    import nncf as tool
    import openvino
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

    advanced = AdvancedQuantizationParameters(
        weights_quantization_params=QuantizationParameters(num_bits=weights),
        activations_quantization_params=QuantizationParameters(num_bits=activations),
    )
    model = openvino.Core().read_model(folder.parent / "float.onnx")
    name = model.inputs[0].get_any_name()
    data = tool.Dataset([{name: part} for part in np.split(cifar10_images(IMAGES), IMAGES)])
    quantized = tool.quantize(
        model,
        data,
        subset_size=IMAGES,
        fast_bias_correction=fast,
        advanced_parameters=advanced,
        target_device=tool.TargetDevice.ANY if weights == 8 else tool.TargetDevice.NPU,  # CPUs are offered 8 bits only
    )
    target = folder / "nncf.xml"
    openvino.save_model(quantized, target, compress_to_fp16=False)
    size = packed_bytes(folded(), narrow(weights, weights)) if weights < 8 else None
    return Made(file=target, size_bytes=size, packages=("nncf", "openvino"))


def onnxruntime(weights: int, activations: int, folder: Path) -> Made:
    """Quantize with onnxruntime: static, QDQ, per channel; 4-bit types where the widths are narrow."""
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(q.CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self.rest = iter([{name: part} for part in np.split(cifar10_images(IMAGES), 4)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.rest, None)

    import onnx

    source = folder.parent / "float.onnx"
    prepared, target = folder / "prepared.onnx", folder / "onnxruntime.onnx"
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    q.quantize_static(
        prepared,
        target,
        Reader(onnx.load(source).graph.input[0].name),
        quant_format=q.QuantFormat.QDQ,
        per_channel=True,
        activation_type={8: q.QuantType.QUInt8, 4: q.QuantType.QUInt4}[activations],
        weight_type={8: q.QuantType.QInt8, 4: q.QuantType.QInt4}[weights],
    )
    return Made(file=target, packages=("onnxruntime",))


def outputs(made: Made) -> np.ndarray:
    """Return the scores of all test images."""
    assert made.run is not None
    images, _ = cifar10_test()
    return np.concatenate([made.run(images[at : at + CHUNK]) for at in range(0, len(images), CHUNK)])


METHODS = {
    "onnxruntime W8A8": partial(onnxruntime, 8, 8),
    "onnxruntime W4A8": partial(onnxruntime, 4, 8),
    "onnxruntime W4A4": partial(onnxruntime, 4, 4),
    "NNCF W8A8": partial(nncf, 8, 8),
    "NNCF W8A8, bias correction": partial(nncf, 8, 8, fast=False),
    "NNCF W4A8": partial(nncf, 4, 8),
    "NNCF W4A4": partial(nncf, 4, 4),
    "torchao PT2E W8A8": partial(torchao, 8, 8),
    "torchao PT2E W4A8": partial(torchao, 4, 8),
    "torchao PT2E W4A4": partial(torchao, 4, 4),
    "optimum-quanto W8A8": partial(quanto, "qint8", "qint8"),
    "optimum-quanto W4A8": partial(quanto, "qint4", "qint8"),
    **{f"brevitas GPTQ W{bits}A8": partial(brevitas, bits, 8) for bits in (8, 6, 5, 4, 3, 2)},
    "brevitas GPTQ W4A4": partial(brevitas, 4, 4),
}

if __name__ == "__main__":
    main(METHODS, outputs)
