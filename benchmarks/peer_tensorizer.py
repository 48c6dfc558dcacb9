"""Encrypted loads by tensorizer, on request: run by `sealed_open.py` under the interpreter that has it.

Usage: peer_tensorizer.py FILE BYTES PIECES. Writes FILE once, then times one load for every line it reads.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from tensorizer import DecryptionParams, EncryptionParams, TensorDeserializer, TensorSerializer


def main(path: Path, size: int, pieces: int) -> None:
    """Write, then load again and again; memory of the load before is freed outside of the time."""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": torch.from_numpy(rng.integers(-128, 128, size // pieces, dtype=np.int8)) for i in range(pieces)}
    encryption = EncryptionParams.random()
    serializer = TensorSerializer(str(path), encryption=encryption)
    serializer.write_state_dict(weights)
    serializer.close()
    wanted = {name: int(value[-1]) for name, value in weights.items()}
    del weights
    key = DecryptionParams.from_key(encryption.key)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        found = TensorDeserializer(str(path), device="cpu", encryption=key, num_readers=2)
        tensors = dict(found.items())
        spent = time.perf_counter() - start
        assert {name: int(value[-1]) for name, value in tensors.items()} == wanted
        found.close()
        del found, tensors
        print(spent * 1e3, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
