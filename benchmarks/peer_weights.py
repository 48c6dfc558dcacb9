"""Weight-only methods of the peers, each over a torch module or an ONNX file; run under the peers' interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from peer_side import Made, packed_bytes

Feeds = Mapping[str, np.ndarray]
Build = Callable[[], nn.Module]


def module_run(module: nn.Module) -> Callable[[Feeds], np.ndarray]:
    """Return what runs a torch module on arrays by name."""

    def run(feeds: Feeds) -> np.ndarray:
        with torch.no_grad():
            return module(**{name: torch.from_numpy(value) for name, value in feeds.items()}).float().numpy()

    return run


def linears(module: nn.Module) -> dict[str, nn.Linear]:
    """Return the layers that are products, by name."""
    return {name: each for name, each in module.named_modules() if isinstance(each, nn.Linear)}


def divides(layer: nn.Linear, group: int) -> bool:
    """Say whether a layer's inputs fall into whole groups."""
    return layer.in_features % group == 0


def simulated(module: nn.Module, original: nn.Module, bits: int, group: int, package: str, *, rest: int = 8) -> Made:
    """Return what a toolkit made of `original` in float simulation; layers that no group divides are at `rest` bits."""
    widths = {f"{name}.weight": bits if divides(layer, group) else rest for name, layer in linears(original).items()}
    size = packed_bytes(original, lambda name, _: widths.get(name), group=group)
    return Made(run=module_run(module.eval()), size_bytes=size, packages=(package,))


def hqq(build: Build, bits: int, group: int) -> Made:
    """Half-quadratic quantization, without data: Badri and Shaji 2023."""
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    module = build()
    for name, layer in linears(module).items():
        whole = divides(layer, group)
        config = BaseQuantizeConfig(nbits=bits if whole else 8, group_size=group if whole else None)
        parent, _, leaf = name.rpartition(".")
        replaced = HQQLinear(layer, config, compute_dtype=torch.float32, device="cpu", del_orig=False)
        setattr(module.get_submodule(parent), leaf, replaced)
    return simulated(module, build(), bits, group, "hqq")


def quanto(build: Build, weights: str, activations: str | None, pieces: Iterable[Feeds]) -> Made:
    """optimum-quanto; it chooses its own groups below 8 bits."""
    from optimum import quanto as tool

    module = build()
    tool.quantize(
        module,
        weights=getattr(tool, weights),
        activations=getattr(tool, activations) if activations else None,
        exclude=[] if weights == "qint8" else [n for n, layer in linears(module).items() if not divides(layer, 32)],
    )
    if activations:
        run = module_run(module)
        with tool.Calibration():
            for feeds in pieces:
                run(feeds)
    tool.freeze(module)
    bits = int(weights.removeprefix("qint"))
    group = 10**9 if bits == 8 else 128
    return simulated(module, build(), bits, group, "optimum-quanto", rest=bits if bits == 8 else 32)


def torchao_weights(build: Build, bits: int, group: int) -> Made:
    """torchao's weight-only widths, half-quadratic scales; what no group divides is per channel at 8 bits."""
    from torchao.quantization import IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerAxis, PerGroup
    from torchao.quantization.quantize_.workflows import IntxChooseQParamsAlgorithm

    module = build()
    scales = IntxChooseQParamsAlgorithm.HQQ_SCALE_ONLY if bits < 8 else IntxChooseQParamsAlgorithm.AFFINE
    narrow = IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, f"int{bits}"), granularity=PerGroup(group), intx_choose_qparams_algorithm=scales
    )
    wide = IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=PerAxis(0))
    quantize_(module, narrow, lambda layer, _: isinstance(layer, nn.Linear) and divides(layer, group))
    quantize_(module, wide, lambda layer, _: isinstance(layer, nn.Linear) and not divides(layer, group))
    return simulated(module, build(), bits, group, "torchao")


def torchao_dynamic(build: Build) -> Made:
    """torchao's int8 weights per channel and int8 activations per token at run time, eager."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    module = build()
    quantize_(module, Int8DynamicActivationInt8WeightConfig())
    return simulated(module, build(), 8, 10**9, "torchao", rest=8)


def neural_compressor(build: Build, bits: int, group: int, pieces: Iterable[Feeds]) -> Made:
    """GPTQ of Intel Neural Compressor, symmetric, all layers."""
    from neural_compressor.torch.quantization import GPTQConfig, convert, prepare

    module = build()
    config = GPTQConfig(bits=bits, group_size=group, act_order=True, quant_lm_head=True, model_path=str(Path.cwd()))
    module = prepare(module, config)
    for feeds in pieces:
        module(**{name: torch.from_numpy(value) for name, value in feeds.items()})
    module = convert(module)
    return simulated(module, build(), bits, group, "neural_compressor_pt", rest=bits)


def imported(build: Build, feeds: Feeds) -> Any:
    """Return the torch module as an OpenVINO model: NNCF's GPTQ refuses the ONNX import, its AWQ makes noise of it."""
    import openvino

    example = {name: torch.from_numpy(value) for name, value in feeds.items()}
    return openvino.convert_model(build(), example_input=example)


def nncf(
    source: Any, target: Path, mode: str, group: int | None, pieces: Iterable[Feeds] | None, **methods: bool
) -> Made:
    """NNCF's weight compression into an OpenVINO file; embedding and last layer stay at its 8 bits by default."""
    import nncf as tool
    import openvino

    options: dict[str, Any] = {} if group is None else {"group_size": group, "ratio": 1.0, **methods}
    if group is not None:  # a layer that no group divides
        fallback = tool.GroupSizeFallbackMode.ADJUST
        options["advanced_parameters"] = tool.AdvancedCompressionParameters(group_size_fallback_mode=fallback)
    if pieces is not None:
        data = list(pieces)
        options |= {"dataset": tool.Dataset(data), "subset_size": len(data)}
    compressed = tool.compress_weights(source, mode=getattr(tool.CompressWeightsMode, mode), **options)
    openvino.save_model(compressed, target, compress_to_fp16=False)
    return Made(file=target, packages=("nncf", "openvino"))


def onnxruntime(source: Path, target: Path, bits: int, group: int, *, tables: bool = False, method: str = "") -> Made:
    """onnxruntime's block-wise products; `tables`: embeddings too; `method`: hqq or k_quant instead of the default."""
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as tool

    operators = ("MatMul", "Gather") if tables else ("MatMul",)
    config: Any = {
        "": lambda: tool.DefaultWeightOnlyQuantConfig(
            block_size=group, bits=bits, is_symmetric=False, op_types_to_quantize=operators
        ),
        "hqq": lambda: tool.HQQWeightOnlyQuantConfig(block_size=group, bits=bits, op_types_to_quantize=operators),
    }[method]()
    quantizer = tool.MatMulNBitsQuantizer(
        onnx.load(source), bits=bits, block_size=group, op_types_to_quantize=operators, algo_config=config
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(target))
    return Made(file=target, packages=("onnxruntime",))
