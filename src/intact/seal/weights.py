"""The tensors of an artifact: one pass from disk through digest and decryption into the engine's buffers.

Every segment is read once into private memory, its digest is checked there, and the same bytes are then decrypted, so
that nothing is decrypted which the signature does not cover, and changing the file meanwhile gains nothing. Segments
are spread over threads; reading, digest and decryption all release the GIL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.crypto import Secret, sha256
from intact.crypto.chunked import CHUNK_BYTES, PREFIX_BYTES, WIRE_CHUNK_BYTES, Opener, plain_size, seal, sealed_size
from intact.errors import IntegrityError
from intact.seal import layout
from intact.seal.folder import Folder
from intact.seal.header import TensorSpec
from intact.seal.manifest import Entry, Manifest
from intact.seal.staging import write_file

ALIGNMENT_BYTES = 64
MAX_WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of one tensor's bytes that has a digest of its own.

    Args:
        tensor: Number of the tensor.
        offset: Where the stretch begins in weights.safetensors.
        start: Where it begins in the tensor's bytes.
        end: Where it ends there.
        sha256: What it must digest to.
    """

    tensor: int
    offset: int
    start: int
    end: int
    sha256: str


def as_bytes(array: NDArray[Any]) -> memoryview:
    """Return the bytes of `array`, little-endian and in C order, without a copy when it lies so already."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def write(
    path: Path, tensors: Sequence[memoryview], specs: Sequence[TensorSpec], keys: Sequence[Secret]
) -> list[Entry]:
    """Write weights.safetensors.

    Args:
        path: The new file.
        tensors: Bytes of each tensor, in file order.
        specs: What they are.
        keys: Key of each; empty for a plain artifact.

    Returns:
        The manifest's entry for each tensor.
    """
    kinds = [
        ("U8", (sealed_size(len(data)),)) if keys else (spec.dtype, spec.shape)
        for spec, data in zip(specs, tensors, strict=True)
    ]
    entries: list[Entry] = []

    def pieces() -> Iterator[bytes | memoryview]:
        yield layout.index(kinds)
        for number, (dtype, shape) in enumerate(kinds):
            data = memoryview(seal(keys[number], tensors[number])) if keys else tensors[number]
            digests = [sha256(data[start:end]) for start, end in layout.segments(len(data), sealed=bool(keys))]
            entries.append(Entry(dtype=dtype, shape=tuple(shape), segments=tuple(digests)))
            yield data

    write_file(path, pieces())
    return entries


def check(folder: Folder, manifest: Manifest) -> None:
    """Check weights.safetensors against its digests, without any key.

    Raises:
        IntegrityError: It is not, byte for byte, what the manifest describes.
    """

    def work(segment: Segment, scratch: memoryview) -> None:
        _fetch(folder, segment, scratch)

    _spread(_plan(manifest, _check_index(folder, manifest)), work)


def read(folder: Folder, manifest: Manifest, specs: Sequence[TensorSpec], keys: Sequence[Secret]) -> list[NDArray[Any]]:
    """Read, check and decrypt every tensor.

    Args:
        folder: The open artifact.
        manifest: Its manifest, accepted.
        specs: What the tensors are, from the header.
        keys: Key of each; empty for a plain artifact.

    Returns:
        Read-only arrays in file order, each aligned to 64 bytes, all in one fresh allocation.

    Raises:
        IntegrityError: The file is not what the manifest describes, or does not open under `keys`.
    """
    plan = _plan(manifest, _check_index(folder, manifest))
    blocks = _allocate(specs)
    views = [block.data for block in blocks]
    openers: dict[int, Opener] = {}

    def take(segment: Segment, scratch: memoryview) -> None:
        _fetch(folder, segment, views[segment.tensor][segment.start : segment.end])

    def decrypt(segment: Segment, scratch: memoryview) -> None:
        wire, number = _fetch(folder, segment, scratch), segment.tensor
        if segment.start == 0:
            size = manifest.tensors[number].shape[0]
            openers[number] = Opener.start(keys[number], wire[:PREFIX_BYTES], size)
            wire = wire[PREFIX_BYTES:]
        first = max(segment.start - PREFIX_BYTES, 0) // WIRE_CHUNK_BYTES
        plain = views[number][first * CHUNK_BYTES : (first + layout.SEGMENT_CHUNKS) * CHUNK_BYTES]
        openers[number].open_run(first, wire, plain)

    if manifest.sealed:
        _spread([segment for segment in plan if segment.start == 0], decrypt)  # these hold the prefixes
        _spread([segment for segment in plan if segment.start > 0], decrypt)
    else:
        _spread(plan, take)
    for block in blocks:
        block.flags.writeable = False
    return [
        block.view(layout.DTYPES[spec.dtype]).reshape(spec.shape) for block, spec in zip(blocks, specs, strict=True)
    ]


def check_kinds(manifest: Manifest, specs: Sequence[TensorSpec]) -> None:
    """Raise IntegrityError unless the manifest and the header speak of the same tensors."""
    if len(specs) != len(manifest.tensors):
        raise IntegrityError("header and manifest.json do not have the same tensors")
    for spec, entry in zip(specs, manifest.tensors, strict=True):
        size = layout.nbytes(spec.dtype, spec.shape, "tensor in the header")
        same = plain_size(entry.shape[0]) == size if manifest.sealed else spec.shape == entry.shape
        if not same or (not manifest.sealed and spec.dtype != entry.dtype):
            raise IntegrityError("header and manifest.json do not have the same tensors")


def _check_index(folder: Folder, manifest: Manifest) -> int:
    """Return the size of the head, once file size and head are what the manifest's tensors call for.

    The head is not parsed: there is one right head, and it is compared.
    """
    wanted = manifest.index
    body = sum(layout.nbytes(entry.dtype, entry.shape, "tensor") for entry in manifest.tensors)
    if folder.sizes[layout.WEIGHTS] != len(wanted) + body:
        raise IntegrityError(
            f"{layout.WEIGHTS} has {folder.sizes[layout.WEIGHTS]} bytes, manifest.json calls for {len(wanted) + body}"
        )
    found = bytearray(len(wanted))
    folder.read_into(layout.WEIGHTS, 0, memoryview(found))
    if found != wanted:
        raise IntegrityError(f"{layout.WEIGHTS} has another index than manifest.json calls for")
    return len(wanted)


def _plan(manifest: Manifest, offset: int) -> list[Segment]:
    """Return every segment of the file, in order; the first tensor begins at `offset`."""
    plan = []
    for number, entry in enumerate(manifest.tensors):
        size = layout.nbytes(entry.dtype, entry.shape, "tensor")
        spans = layout.segments(size, sealed=manifest.sealed)
        for (start, end), digest in zip(spans, entry.segments, strict=True):
            plan.append(Segment(tensor=number, offset=offset + start, start=start, end=end, sha256=digest))
        offset += size
    return plan


def _fetch(folder: Folder, segment: Segment, out: memoryview) -> memoryview:
    """Read `segment` to the front of `out`, check its digest, and return the part filled."""
    data = out[: segment.end - segment.start]
    folder.read_into(layout.WEIGHTS, segment.offset, data)
    if sha256(data) != segment.sha256:
        raise IntegrityError(f"tensor {segment.tensor} in {layout.WEIGHTS} does not match its digest")
    return data


def _allocate(specs: Sequence[TensorSpec]) -> list[NDArray[np.uint8]]:
    """Return the uninitialised bytes of each of `specs`, aligned, all in one allocation."""
    sizes = [layout.nbytes(spec.dtype, spec.shape, "tensor in the header") for spec in specs]
    steps = [-(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for size in sizes]
    memory = np.empty(sum(steps) + ALIGNMENT_BYTES, np.uint8)
    start, blocks = -memory.ctypes.data % ALIGNMENT_BYTES, []
    for size, step in zip(sizes, steps, strict=True):
        blocks.append(memory[start : start + size])
        start += step
    return blocks


def _spread(plan: Sequence[Segment], work: Callable[[Segment, memoryview], None]) -> None:
    """Do `work` for every segment of `plan`, on a few threads when there is enough of it, each with its own scratch."""
    queue: SimpleQueue[Segment] = SimpleQueue()
    for segment in plan:
        queue.put(segment)
    scratch_bytes = max((segment.end - segment.start for segment in plan), default=0)

    def drain(_: int) -> None:
        scratch = memoryview(bytearray(scratch_bytes))
        try:
            while True:
                work(queue.get_nowait(), scratch)
        except Empty:
            return

    enough = sum(segment.end - segment.start for segment in plan) >= layout.SEGMENT_BYTES
    workers = min(len(plan), len(os.sched_getaffinity(0)), MAX_WORKERS) if enough else 1
    if workers == 1:
        drain(0)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(drain, range(workers)))
