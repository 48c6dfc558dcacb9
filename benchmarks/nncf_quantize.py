"""Quantize a transformer with NNCF: run by `peers.quantize_nncf` under an interpreter that has nncf and openvino.

Usage: nncf_quantize.py MODEL.onnx FEEDS.npz OUT.xml
"""

import sys
from collections import defaultdict

import nncf
import numpy as np
import openvino


def main(source: str, data: str, target: str) -> None:
    feeds: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    with np.load(data) as archive:
        for key in archive.files:
            index, name = key.split("/", 1)
            feeds[index][name] = archive[key]
    quantized = nncf.quantize(
        openvino.Core().read_model(source),
        nncf.Dataset(list(feeds.values())),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(feeds),
    )
    openvino.save_model(quantized, target, compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:4])
