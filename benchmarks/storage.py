"""Storage forms: how small do codes of every width become, and how fast are they decoded?

Run `python benchmarks/storage.py`. Twelve million weights of a normal distribution, rounded to codes as recipes do, and
other tensors that models have; every one is checked to come back bit for bit before it is timed. Rates are of decoded
bytes, on one thread and on two, over memory that is there already.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from intact.numbers.storage import RAW, Decoder, Stored, encode
from results import Results
from timing import Plan, clocked, race

ROWS, COLUMNS = 4096, 3072
THREADS = 2
TARGET_GB_S = 1.0
ENCODE_TARGET_S = 3.0
PLAN = Plan(warm=1, burst=2, rounds=12, budget_s=12)
NORMAL_FLOAT = (-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127)
POWERS = tuple(sorted({sign * power for power in (0, 1, 2, 4, 8, 16, 32, 64) for sign in (1, -1)}))


def main() -> None:
    """Store, check, time, write."""
    results = Results("storage", THREADS)
    for name, array in tensors().items():
        start = time.perf_counter()
        stored = encode(array)
        encode_s = time.perf_counter() - start
        out = np.empty(array.nbytes, np.uint8)
        work = {threads: partial(decode, stored, array, out, threads) for threads in (1, THREADS)}
        for call in work.values():
            out.fill(7)
            call()
            assert out.tobytes() == array.tobytes(), name
        times = race({str(threads): clocked(call) for threads, call in work.items()}, PLAN)
        rates = {threads: array.nbytes / times.median(str(threads)) / 1e6 for threads in work}
        results.add(
            "form",
            tensor=name,
            form=stored.form,
            parameters=dict(stored.parameters),
            elements=array.size,
            plain_bytes=array.nbytes,
            stored_bytes=len(stored.data),
            bits=8 * len(stored.data) / array.size,
            encode_s=encode_s,
            decode_gb_s=rates[1],
            decode_two_threads_gb_s=rates[THREADS],
            target_gb_s=TARGET_GB_S,
            others=times.others,
        )
    results.write()


def decode(stored: Stored, array: NDArray[np.generic], out: NDArray[np.uint8], threads: int) -> None:
    """Decode `stored` to `out`, as opening an artifact does."""
    if stored.form == RAW:
        np.copyto(out, np.frombuffer(stored.data, np.uint8))
        return
    decoder = Decoder(stored.form, stored.parameters, array.shape, array.itemsize, stored.data)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda chunk: decoder.decode(chunk, out), range(decoder.chunks)))


def tensors() -> dict[str, NDArray[np.generic]]:
    """Return what is stored, by name."""
    rng = np.random.default_rng(0)
    floats = rng.standard_normal((ROWS, COLUMNS), np.float32)
    found: dict[str, NDArray[np.generic]] = {
        "8 bits, per channel": rounded(floats, uniform(8), COLUMNS),
        "8 bits, noise": rng.integers(-128, 128, (ROWS, COLUMNS), dtype=np.int8),
    }
    for bits in range(2, 8):
        found[f"{bits} bits, groups of 32"] = grouped(rng, rounded(floats, uniform(bits), 32), 32)
    found |= {
        "4 bits, per channel": rounded(floats, uniform(4), COLUMNS),
        "4 bits, groups of 32 of inputs": np.ascontiguousarray(found["4 bits, groups of 32"].T),
        "4 bits, groups of 16": grouped(rng, rounded(floats, uniform(4), 16), 16),
        "4 bits, groups of 128": grouped(rng, rounded(floats, uniform(4), 128), 128),
        "normal float": rounded(floats, np.array(NORMAL_FLOAT), 32),
        "powers of two": rounded(floats, np.array(POWERS), COLUMNS),
    }
    for share in (50, 80, 95):
        kept = rng.random((ROWS, COLUMNS)) >= share / 100
        for name in ("8 bits, per channel", "4 bits, groups of 32"):
            found[f"{name}, {share} % zeros"] = np.where(kept, found[name], 0).astype(np.int8)
    part = floats[: ROWS // 4]
    book = np.sort(rng.standard_normal(16)).astype(np.float32)
    return found | {
        "float32": part,
        "float16": part.astype(np.float16),
        "float32, 16 values": book[np.searchsorted(book[1:], part)],
    }


def uniform(bits: int) -> NDArray[np.int64]:
    """Return the levels of `bits` bits, as many below zero as above."""
    top = 2 ** (bits - 1) - 1
    return np.arange(-top, top + 1)


def rounded(floats: NDArray[np.float32], levels: NDArray[np.int64], group: int) -> NDArray[np.int8]:
    """Return the nearest of `levels` for groups of columns, each scaled to its largest weight."""
    groups = floats.reshape(-1, group)
    steps = groups / (np.abs(groups).max(axis=1, keepdims=True) / np.abs(levels).max())
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, steps)].astype(np.int8).reshape(floats.shape)


def grouped(rng: np.random.Generator, codes: NDArray[np.int8], group: int) -> NDArray[np.int8]:
    """Return `codes` times a whole multiplier of each group, as large as int8 lets it be, about the same for all."""
    most = 127 // int(np.abs(codes).max())
    shared = rng.integers(max(1, most // 2), most + 1, (codes.size // group, 1))
    return (codes.reshape(-1, group) * shared).astype(np.int8).reshape(codes.shape)


if __name__ == "__main__":
    main()
