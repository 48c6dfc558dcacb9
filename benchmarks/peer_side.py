"""What runs in the peers' interpreter: one method of one peer, its outputs and what it cost.

`peer_resnet20.py`, `peer_minilm.py` and `peer_stories.py` hand their methods to `main`. `contenders.py` starts them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from memory import peak_bytes

THREADS = 2
CHUNK = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a peer made of the model.

    Args:
        run: Model inputs to its output, as arrays; None where `file` is to be run by an engine.
        file: A model file that onnxruntime or OpenVINO runs.
        size_bytes: Bytes that the codes, scales and what stayed float need, where no file says so.
        packages: Packages whose versions belong to the result.
    """

    run: Callable[..., np.ndarray] | None = None
    file: Path | None = None
    size_bytes: int | None = None
    packages: tuple[str, ...] = field(default=())


Method = Callable[[Path], Made]


def main(methods: Mapping[str, Method], outputs: Callable[[Made], np.ndarray]) -> None:
    """Run the method named on the command line; leave `made.json` and `outputs.npy` in the folder named there.

    Usage: SCRIPT METHOD FOLDER
    """
    method, folder = sys.argv[1], Path(sys.argv[2])
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    start, cpu = time.perf_counter(), time.process_time()
    made = methods[method](folder)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    peak = peak_bytes()
    if made.run is not None:
        found = outputs(made)
        if not np.ptp(found, axis=-1).any():
            sys.exit("error: all outputs are alike: this toolkit does not work here, or not as it is used here")
        np.save(folder / "outputs.npy", found)
    told: dict[str, Any] = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": peak,
        "size_bytes": made.size_bytes,
        "file": None if made.file is None else made.file.name,
        "packages": {name: version(name) for name in made.packages},
    }
    (folder / "made.json").write_text(json.dumps(told), encoding="utf-8")


def packed_bytes(model: Any, bits: Callable[[str, Any], int | None], *, group: int | None = None) -> int:
    """Return the bytes of a model whose toolkit only simulates narrow codes.

    Args:
        model: The float torch module.
        bits: Width of a parameter by name and value; None where it stays in float.
        group: Columns that share a scale; a row does where it is None. Scales count 4 bytes.
    """
    total = 0
    for name, value in model.named_parameters():
        width = bits(name, value)
        if width is None:
            total += 4 * value.numel()
            continue
        columns = value[0].numel()
        scales = len(value) * (1 if group is None else -(-columns // group))
        total += -(-value.numel() * width // 8) + 4 * scales
    return total
