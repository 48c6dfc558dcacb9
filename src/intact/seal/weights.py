"""The tensors of an artifact: one pass from disk through digest and decryption, then decoded into the engine's buffers.

Every segment is read once into private memory, its digest is checked there, and the same bytes are then decrypted, so
that nothing is decrypted which the signature does not cover, and changing the file meanwhile gains nothing. Tensors,
and segments of large ones, are spread over threads; reading, digest and decryption all release the GIL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any, Final

from numpy.typing import NDArray

from intact.crypto import Hasher, Secret, blake3
from intact.crypto.chunked import (
    CHUNK_BYTES,
    PREFIX_BYTES,
    WIRE_CHUNK_BYTES,
    Opener,
    Stream,
    plain_size,
    refusal,
    seal,
    sealed_size,
)
from intact.errors import IntegrityError
from intact.seal import layout
from intact.seal.folder import Folder
from intact.seal.header import TensorSpec
from intact.seal.manifest import Entry, Manifest
from intact.seal.staging import write_file
from intact.seal.tensors import StoredTensor, allocate, restore
from intact.seal.threads import spread

PARTS: Final = 8
"""A tensor that is more than one such part of all is decrypted by several threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of one tensor's bytes that has a digest of its own.

    Args:
        tensor: Number of the tensor.
        offset: Where the stretch begins in weights.safetensors.
        start: Where it begins in the tensor's bytes.
        end: Where it ends there.
        blake3: What it must digest to.
    """

    tensor: int
    offset: int
    start: int
    end: int
    blake3: str


def write(
    path: Path, tensors: Sequence[StoredTensor], keys: Sequence[Secret], whole: Hasher | None = None
) -> list[Entry]:
    """Write weights.safetensors.

    Args:
        path: The new file.
        tensors: The tensors, in file order.
        keys: Key of each; empty for a plain artifact.
        whole: Takes the bytes of the file as they are written.

    Returns:
        The manifest's entry for each tensor.
    """
    kinds = [
        ("U8", (sealed_size(len(each.data)),)) if keys else each.spec.file_kind(len(each.data)) for each in tensors
    ]
    entries: list[Entry] = []

    def pieces() -> Iterator[bytes | memoryview]:
        yield layout.index(kinds)
        for number, (dtype, shape) in enumerate(kinds):
            plain = tensors[number].data
            data = memoryview(seal(keys[number], plain)) if keys else plain
            digests = [blake3(data[start:end]) for start, end in layout.segments(len(data), sealed=bool(keys))]
            entries.append(Entry(dtype=dtype, shape=shape, segments=tuple(digests)))
            yield data

    def noted() -> Iterator[bytes | memoryview]:
        for piece in pieces():
            if whole is not None:
                whole.update(piece)
            yield piece

    write_file(path, noted())
    return entries


def pieces(folder: Folder, manifest: Manifest) -> Iterator[memoryview]:
    """Yield weights.safetensors in order, each piece once its digest is right, in a buffer that is used again.

    Raises:
        IntegrityError: It is not, byte for byte, what the manifest describes.
    """
    plan = _plan(manifest, _check_index(folder, manifest))
    yield memoryview(manifest.index)
    scratch = memoryview(bytearray(max((segment.end - segment.start for segment in plan), default=0)))
    for segment in plan:
        yield _fetch(folder, segment, scratch)


def read(
    folder: Folder,
    manifest: Manifest,
    specs: Sequence[TensorSpec],
    keys: Sequence[Secret],
    numbers: Sequence[int] | None = None,
) -> list[NDArray[Any]]:
    """Read, check, decrypt and decode tensors, and no byte of any other.

    Args:
        folder: The open artifact.
        manifest: Its manifest, accepted.
        specs: What the tensors are, from the header; `check_kinds` accepted them.
        keys: Key of each; empty for a plain artifact.
        numbers: Which tensors; all of them where it is None.

    Returns:
        Read-only arrays in the order of `numbers`, each aligned to 64 bytes, in fresh memory.

    Raises:
        IntegrityError: The file is not what the manifest describes, does not open under `keys`, or holds something else
            than the header says.
    """
    numbers = range(len(specs)) if numbers is None else numbers
    blocks = allocate([_stored_size(manifest, manifest.tensors[number]) for number in numbers])
    views = {number: block.data for number, block in zip(numbers, blocks, strict=True)}
    plan = [each for each in _plan(manifest, _check_index(folder, manifest)) if each.tensor in views]
    specs = [specs[number] for number in numbers]
    if not manifest.sealed:

        def take(run: Sequence[Segment], scratch: memoryview) -> None:
            for each in run:
                _fetch(folder, each, views[each.tensor][each.start : each.end])

        _spread([[each] for each in plan], take)
        return restore(specs, blocks)
    _decrypt(folder, manifest, plan, keys, views)
    try:
        return restore(specs, blocks)
    except IntegrityError:
        raise refusal() from None  # what is wrong with the plaintext is nobody's business


def _decrypt(
    folder: Folder,
    manifest: Manifest,
    plan: Sequence[Segment],
    keys: Sequence[Secret],
    views: Mapping[int, memoryview],
) -> None:
    """Fill `views`, by tensor, with the plaintext of the segments of `plan`.

    A tensor is decrypted by one thread from its beginning to its end, but one that is a good part of all the work: its
    segments go to whichever thread is free.
    """
    runs = [tuple(run) for _, run in groupby(plan, key=lambda each: each.tensor)]
    most = max(sum(map(_bytes, runs)) // PARTS, layout.SEGMENT_BYTES)
    openers: dict[int, Opener] = {}
    turn = Lock()  # two decrypting by chunks at once would fight for the GIL, which that gives up for microseconds

    def whole(run: Sequence[Segment], scratch: memoryview) -> None:
        stream = Stream(keys[run[0].tensor], views[run[0].tensor])
        for each in run:
            stream.take(_fetch(folder, each, scratch))
        stream.finish()

    def part(run: Sequence[Segment], scratch: memoryview) -> None:
        (segment,) = run
        wire, number = _fetch(folder, segment, scratch), segment.tensor
        if segment.start == 0:
            openers[number] = Opener.start(keys[number], wire[:PREFIX_BYTES], manifest.tensors[number].shape[0])
            wire = wire[PREFIX_BYTES:]
        first = max(segment.start - PREFIX_BYTES, 0) // WIRE_CHUNK_BYTES
        plain = views[number][first * CHUNK_BYTES : (first + layout.SEGMENT_CHUNKS) * CHUNK_BYTES]
        with turn:
            openers[number].open_run(first, wire, plain)

    large = [run for run in runs if _bytes(run) > most]
    _spread([run[:1] for run in large], part)  # these hold the prefixes
    rest = [run[place : place + 1] for run in large for place in range(1, len(run))]
    small = sorted((run for run in runs if _bytes(run) <= most), key=_bytes, reverse=True)
    _spread([*small, *rest], lambda run, scratch: (whole if run[0].start == 0 else part)(run, scratch))


def check_kinds(manifest: Manifest, specs: Sequence[TensorSpec]) -> None:
    """Raise IntegrityError unless the manifest and the header speak of the same tensors, of sizes that go together."""
    if len(specs) != len(manifest.tensors):
        raise IntegrityError("header and manifest.json do not have the same tensors")
    for spec, entry in zip(specs, manifest.tensors, strict=True):
        size = _stored_size(manifest, entry)
        spec.check(size)
        if not manifest.sealed and spec.file_kind(size) != (entry.dtype, entry.shape):
            raise IntegrityError("header and manifest.json do not have the same tensors")


def _stored_size(manifest: Manifest, entry: Entry) -> int:
    """Return the bytes of a tensor as stored, before encryption."""
    return plain_size(entry.shape[0]) if manifest.sealed else entry.nbytes


def _check_index(folder: Folder, manifest: Manifest) -> int:
    """Return the size of the head, once file size and head are what the manifest's tensors call for.

    The head is not parsed: there is one right head, and it is compared.
    """
    wanted = manifest.index
    body = sum(entry.nbytes for entry in manifest.tensors)
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
        size = entry.nbytes
        spans = layout.segments(size, sealed=manifest.sealed)
        for (start, end), digest in zip(spans, entry.segments, strict=True):
            plan.append(Segment(tensor=number, offset=offset + start, start=start, end=end, blake3=digest))
        offset += size
    return plan


def _fetch(folder: Folder, segment: Segment, out: memoryview) -> memoryview:
    """Read `segment` to the front of `out`, check its digest, and return the part filled."""
    data = out[: segment.end - segment.start]
    folder.read_into(layout.WEIGHTS, segment.offset, data)
    if blake3(data) != segment.blake3:
        raise IntegrityError(f"tensor {segment.tensor} in {layout.WEIGHTS} does not match its digest")
    return data


def _bytes(run: Sequence[Segment]) -> int:
    """Return the size of consecutive segments."""
    return run[-1].end - run[0].start


def _spread(runs: Sequence[Sequence[Segment]], work: Callable[[Sequence[Segment], memoryview], None]) -> None:
    """Do `work` for every one of `runs`, each thread with a scratch of its own that holds any segment."""
    most = max((each.end - each.start for run in runs for each in run), default=0)
    spread(runs, work, lambda: memoryview(bytearray(most)), size_bytes=sum(map(_bytes, runs)))
